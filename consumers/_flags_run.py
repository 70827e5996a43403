"""One run of the data flags, and a small run to try them on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from streamproc.consumers._data_flags import MODEL, flag_values, flags_said
from streamproc.consumers._patterns import PatternSource

from streamproc.analysis import Frame, FrameFailure, FrameResult, Provenance, RunResult
from streamproc.documents import Position
from streamproc.errors import FrameFailed
from streamproc.reduction.flags.patterns import read_pattern
from streamproc.reduction.flags.reader import FrameReader
from streamproc.reduction.flags.reading import LEAST_CHANNELS, Reading
from streamproc.reduction.flags.watch import FlagWatch, judged_alone
from streamproc.runs import Run

if TYPE_CHECKING:
    from streamproc.consumers.defect_flags import DefectFlagsSettings

__all__ = ["FlagsRun", "example_run"]

_READING = "defect-flags: reading"
"""Key under which a reading goes from the per-frame to the per-run half; no data key has a colon."""


class FlagsRun:
    """Data flags of one run.

    Parameters
    ----------
    source : PatternSource
        Reads 1-D patterns.
    settings : DefectFlagsSettings
        The table.
    reader : FrameReader or None
        Reads images; None where frames are patterns.
    provenance : Provenance
        Hashes of all that.
    """

    def __init__(
        self, source: PatternSource, settings: DefectFlagsSettings, reader: FrameReader | None,
        provenance: Provenance,
    ) -> None:  # fmt: skip
        self.provenance = provenance
        self._source, self._settings, self._reader = source, settings, reader
        self._watch = FlagWatch(settings.data_flags)

    def process(self, frames: Sequence[Frame]) -> Sequence[FrameResult | FrameFailure]:
        """Say what each frame shows by itself."""
        return [self._answer(frame) for frame in frames]

    def _answer(self, frame: Frame) -> FrameResult | FrameFailure:
        try:
            reading = self._read(frame)
        except FrameFailed as error:
            return FrameFailure(frame.seq_num, f"bad-frame: {error.message}")
        judgement = judged_alone(reading, self._settings.data_flags)
        reasons = judgement.reasons
        if not reading.level > 0 or reading.constant:
            reasons = ("bad-frame: no counts, or the same everywhere", *reasons)
        bad = any(r.startswith("bad-frame") for r in reasons)
        readings = {**frame.readings, _READING: reading}
        return FrameResult(frame.seq_num, flag_values(judgement), not bad, reasons, MODEL, readings)

    def _read(self, frame: Frame) -> Reading:
        if self._reader is not None:
            dark = frame.dark if self._settings.reduction.from_run.dark else None
            return self._reader.read(frame.array, dark)[0]
        pattern = self._source.given(frame)
        if pattern.intensity.size < LEAST_CHANNELS:
            raise FrameFailed(f"a pattern of {pattern.intensity.size} channels, at least {LEAST_CHANNELS}")
        return read_pattern(
            pattern.axis,
            pattern.intensity,
            pattern.kind,
            pattern.wavelength_A,
            self._settings.data_flags,
        )

    def update(self, results: Sequence[FrameResult | FrameFailure]) -> Sequence[RunResult]:
        """Say what each reading shows within its run."""
        said = []
        for result in results:
            if isinstance(result, FrameResult):
                monitor = _number(result.readings.get(self._settings.data_flags.monitor_key or ""))
                judgement = self._watch.take(result.readings[_READING], monitor)
                said.append(flags_said(result.seq_num, judgement))
        return said

    def end(self) -> Sequence[RunResult]:
        """Nothing is left to be said."""
        return []

    def snapshot(self) -> Mapping[str, Any]:
        """Return the state of the per-run half."""
        return self._watch.snapshot()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`snapshot` gave."""
        self._watch.restore(state)


def _number(value: Any) -> float:
    try:
        return float(np.asarray(value, float).reshape(()))
    except (TypeError, ValueError):
        return float("nan")


_UID = "f2b7c1d4-7f5f-4c52-9a57-0f2f4f1f6a31"
_SIDE = 192


def example_run(folder: Path, points: int = 6) -> tuple[Run, list[Frame], Mapping[str, Any]]:
    """Return a short simulated run of powder rings, and the table to judge it with."""
    (folder / "example.poni").write_text(
        "poni_version: 2\nDetector: Detector\n"
        f'Detector_config: {{"pixel1": 2e-4, "pixel2": 2e-4, "max_shape": [{_SIDE}, {_SIDE}]}}\n'
        f"Distance: 0.1\nPoni1: {_SIDE * 1e-4}\nPoni2: {_SIDE * 1e-4}\n"
        "Rot1: 0.0\nRot2: 0.0\nRot3: 0.0\nWavelength: 5e-11\n"
    )
    random = np.random.default_rng(11)
    y, x = np.mgrid[:_SIDE, :_SIDE] - (_SIDE - 1) / 2
    radius = np.hypot(x, y)
    clean = 30.0 + 300.0 * sum(np.exp(-0.5 * ((radius - r) / 2.0) ** 2) for r in (30.0, 52.0, 71.0))
    frames = []
    for n in range(points):
        image = random.poisson(clean).astype(np.uint16)
        image.setflags(write=False)
        frames.append(Frame(_UID, "primary", n + 1, "image", image, 1.7e9 + n, {"i0": 1e5}))
    table = {"reduction": {"poni": "example.poni", "bins": 120}, "data_flags": {"monitor_key": "i0"}}
    return _run(), frames, table


def _run() -> Run:
    keys = {
        "image": {"dtype": "array", "dtype_numpy": "<u2", "shape": [_SIDE, _SIDE], "source": "simulation"},
        "i0": {"dtype": "number", "dtype_numpy": "<f8", "shape": [], "source": "simulation"},
    }
    start = {"uid": _UID, "time": 1.7e9, "scan_id": 3, "plan_name": "count", "plan_type": "generator"}
    descriptor = {
        "uid": f"{_UID}-d", "run_start": _UID, "name": "primary", "time": 1.7e9, "data_keys": keys,
        "configuration": {}, "hints": {}, "object_keys": {k: [k] for k in keys},
    }  # fmt: skip
    return Run(_UID, start, Position("example", 0, 0), descriptors={f"{_UID}-d": descriptor})
