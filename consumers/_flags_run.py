"""One run of data and defect flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from streamproc.consumers._cake_reader import PATTERNS_ONLY, CakeEye, CakeLook
from streamproc.consumers._data_flags import MODEL, flag_values, flags_said
from streamproc.consumers._defect_checking import DefectChecker
from streamproc.consumers._defect_outputs import cake_values, estimate_values
from streamproc.consumers._defect_reader import DefectReader, Look
from streamproc.consumers._defect_run import DefectRun
from streamproc.consumers._judging import READING, FrameJudge, RunJudge
from streamproc.consumers._patterns import MeasuredPattern, PatternSource

from streamproc.analysis import Frame, FrameFailure, FrameResult, Provenance, RunResult
from streamproc.errors import FrameFailed
from streamproc.reduction.flags.reader import FrameReader
from streamproc.reduction.flags.reading import Reading
from streamproc.reduction.flags.watch import judged_alone

if TYPE_CHECKING:
    from streamproc.consumers.defect_flags import DefectFlagsSettings

__all__ = ["FlagsRun"]

_LOOK = "defect-flags: look"
"""Key under which what the defect model says goes to the per-run half."""


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
    defects, checker : DefectReader and DefectChecker, or None
        Where the settings name a defect model.
    eye : CakeEye or None
        Where it has a pair, and frames are images.
    """

    def __init__(
        self, source: PatternSource, settings: DefectFlagsSettings, reader: FrameReader | None,
        provenance: Provenance, defects: DefectReader | None = None, checker: DefectChecker | None = None,
        eye: CakeEye | None = None,
    ) -> None:  # fmt: skip
        self.provenance = provenance
        self._settings = settings
        self._frames = FrameJudge(source, settings.data_flags, reader, settings.reduction.from_run.dark)
        self._watch = RunJudge(settings.data_flags)
        self._defects, self._eye = defects, eye
        self._defect_run = (
            DefectRun(defects, checker) if defects is not None and checker is not None else None
        )

    def process(self, frames: Sequence[Frame]) -> Sequence[FrameResult | FrameFailure]:
        """Say what each frame shows by itself, and what the defect model reads from it."""
        answers: list[FrameResult | FrameFailure] = []
        patterns: list[MeasuredPattern | None] = []
        for frame in frames:
            answer, pattern = self._answer(frame)
            answers.append(answer)
            patterns.append(pattern)
        if self._defects is None:
            return answers
        looks = self._with_rings(frames, self._defects.look(patterns))
        return [
            self._with_defects(a, look) if isinstance(a, FrameResult) else a
            for a, look in zip(answers, looks, strict=True)
        ]

    def _with_rings(self, frames: Sequence[Frame], looks: Sequence[Look]) -> Sequence[Look]:
        """Add what the model's pair says of the rings, where it has one."""
        if self._defects is None or self._defects.cake is None:
            return looks
        if self._eye is None:
            return [replace(look, cake=CakeLook(None, absent=PATTERNS_ONLY)) for look in looks]
        cakes = self._eye.look(frames, self._settings.reduction.from_run.dark)
        return [replace(look, cake=cake) for look, cake in zip(looks, cakes, strict=True)]

    def _answer(self, frame: Frame) -> tuple[FrameResult | FrameFailure, MeasuredPattern | None]:
        try:
            reading, pattern = self._read(frame)
        except FrameFailed as error:
            return FrameFailure(frame.seq_num, f"bad-frame: {error.message}"), None
        judgement = judged_alone(reading, self._settings.data_flags)
        readings = {**frame.readings, READING: reading}
        values, reasons = flag_values(judgement), judgement.reasons
        answer = FrameResult(frame.seq_num, values, not judgement.bad, reasons, MODEL, readings)
        return answer, pattern

    def _read(self, frame: Frame) -> tuple[Reading, MeasuredPattern | None]:
        """Read a frame; its pattern only where a defect model wants it, None where it holds none."""
        reading, pattern = self._frames.read(frame)
        if self._defects is None:
            return reading, None
        try:
            return reading, pattern()
        except FrameFailed:
            return reading, None

    def _with_defects(self, answer: FrameResult, look: Look) -> FrameResult:
        """Add the estimates; a bad reading has none, and one out of domain says why."""
        if self._defects is None:
            return answer
        model_id, bad, cake = self._defects.model.model_id, not answer.in_domain, self._defects.cake
        estimates, reasons = estimate_values(self._defects.names, look, bad, model_id), look.reasons
        if cake is not None and look.cake is not None:
            estimates |= cake_values(cake.names, look.cake, bad, cake.model.model_id)
            reasons = (*reasons, *look.cake.reasons)
        return replace(
            answer,
            values={**answer.values, **estimates},
            in_domain=answer.in_domain and not reasons,
            reasons=(*answer.reasons, *reasons),
            model_id=model_id,
            readings={**answer.readings, _LOOK: look},
        )

    def update(self, results: Sequence[FrameResult | FrameFailure]) -> Sequence[RunResult]:
        """Say what each reading shows within its run."""
        said: list[RunResult] = []
        for result in results:
            if not isinstance(result, FrameResult):
                continue
            judgement = self._watch.take(result)
            said.append(flags_said(result.seq_num, judgement))
            if self._defect_run is not None:
                look = result.readings[_LOOK]
                said += self._defect_run.take(result.seq_num, look, judgement.bad, judgement.reasons)
        return said

    def end(self) -> Sequence[RunResult]:
        """Say what is left about defects; of the data nothing is."""
        return [] if self._defect_run is None else self._defect_run.end()

    def snapshot(self) -> Mapping[str, Any]:
        """Return the state of the per-run half."""
        state = self._watch.snapshot()
        return state if self._defect_run is None else {**state, "defects": self._defect_run.snapshot()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`snapshot` gave."""
        self._watch.restore(state)
        if self._defect_run is not None and "defects" in state:
            self._defect_run.restore(state["defects"])
