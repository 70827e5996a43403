"""Joint fits: gather the maps of several runs, and fit one set of couplings to all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from streamproc.consumers._excitation_columns import MapKeys, MapSoFar, Piece, piece_of
from streamproc.models.excitations.maps.container import SqeMap
from streamproc.models.excitations.maps.inputs import window_end
from streamproc.models.excitations.maps.joint import Member, fit_jointly
from streamproc.models.excitations.maps.posterior import Number, derived_of
from streamproc.models.excitations.maps.posterior_draws import Posterior
from streamproc.models.excitations.maps.reader import MapReader, Read
from streamproc.models.excitations.maps.refine import Refinement

from streamproc.analysis import Frame, FrameFailure, FrameResult, Output, Provenance, RunResult
from streamproc.errors import ConfigurationError, FrameFailed
from streamproc.runs import Run

__all__ = ["Gathered", "MapCollector", "joint_report"]

_PIECE = "excitation-fit: piece"


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """The map of one run: what names the run, its map, its temperature (K; 0: no Bose factor)."""

    name: str
    measured: SqeMap = field(repr=False)
    temperature_K: float = 0.0


class MapCollector:
    """An analysis that answers nothing and keeps the map of each run; the rest is the analysis's own."""

    def __init__(self, analysis: Any, keys: MapKeys) -> None:
        self._analysis, self._keys = analysis, keys
        self.maps: dict[str, MapSoFar] = {}
        self.failed: dict[str, list[str]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._analysis, name)

    def outputs(self) -> Sequence[Output]:
        """Declare the one quantity of a result event."""
        return (Output("cells", "number", "", "values of this event that are measured"),)

    def run_outputs(self) -> Mapping[str, Sequence[Output]]:
        """Declare no streams."""
        return {}

    def gathered(self, name: str, measured: SqeMap, temperature_K: float) -> Gathered:
        """Return a map for :func:`joint_report`."""
        return Gathered(name, measured, temperature_K)

    def begin(self, run: Run) -> _Gathering:
        """Start on a run."""
        so_far = self.maps[run.uid] = MapSoFar()
        failed = self.failed[run.uid] = []
        return _Gathering(self._analysis.provenance(), self._keys, so_far, failed)


class _Gathering:
    """One run that is gathered."""

    def __init__(self, provenance: Provenance, keys: MapKeys, so_far: MapSoFar, failed: list[str]) -> None:
        self.provenance = provenance
        self._keys, self._so_far, self._failed = keys, so_far, failed

    def process(self, frames: Sequence[Frame]) -> Sequence[FrameResult | FrameFailure]:
        return [self._one(frame) for frame in frames]

    def _one(self, frame: Frame) -> FrameResult | FrameFailure:
        try:
            piece = piece_of(frame, self._keys)
        except FrameFailed as error:
            return FrameFailure(frame.seq_num, error.message)
        cells = float(np.isfinite(piece.intensity).sum())
        return FrameResult(frame.seq_num, {"cells": cells}, True, (), "", {**frame.readings, _PIECE: piece})

    def update(self, results: Sequence[FrameResult | FrameFailure]) -> Sequence[RunResult]:
        for result in results:
            if isinstance(result, FrameFailure):
                self._failed.append(result.reason)
            elif isinstance(result.readings.get(_PIECE), Piece):
                self._so_far.add(result.readings[_PIECE])
        return ()

    def end(self) -> Sequence[RunResult]:
        return ()

    def snapshot(self) -> Mapping[str, Any]:
        return {"so_far": self._so_far.snapshot()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._so_far.restore(state["so_far"])


def joint_report(reader: MapReader, runs: Sequence[Gathered], q_across: float = 0.0) -> dict[str, Any]:
    """Fit one set of couplings to the maps of several runs.

    Parameters
    ----------
    reader : MapReader
        The model at work.
    runs : sequence of Gathered
        At least two.
    q_across : float
        Full width of the cuts across their paths (r.l.u.).

    Returns
    -------
    dict
        JSON-able: ``joint`` (value, sigma, interval90, in ``units``) and ``derived`` (meV), ``covariance``
        (in the order of ``joint``), ``parameters`` (what they are called), ``excess_chi2``,
        ``tension_sigma``, and ``runs`` with what each says ``alone``, its ``share`` of the information,
        ``shares`` by parameter, ``apart_sigma`` by parameter, its ``tension_sigma``, ``chi2_reduced``,
        ``in_domain`` and ``reasons``.

    Raises
    ------
    ConfigurationError
        Fewer than two runs, or one of which no fit can be made.
    """
    if len(runs) < 2:
        raise ConfigurationError(f"a joint fit needs at least two runs, got {len(runs)}")
    free = reader.case.file.energy.scale_free
    unit = max(window_end(r.measured) for r in runs) / reader.case.file.energy.stop if free else 1.0
    fitted = [_fitted(reader, r, q_across, unit) for r in runs]
    try:
        joint = fit_jointly([f for _, f in fitted])
    except FrameFailed as error:
        raise ConfigurationError(f"the joint fit: {error.message}") from error
    derived = derived_of(reader.derived, joint.posterior.mean, joint.posterior.covariance, unit)
    told = [
        _told(reader, run, read, found, member, unit)
        for run, (read, found), member in zip(runs, fitted, joint.members, strict=True)
    ]
    return {
        "parameters": reader.case.words.many,
        "units": reader.case.words.units,
        "convention": reader.card.reference["convention"],
        "joint": _numbers(reader, joint.posterior, unit),
        "derived": {n: _number(v) for n, v in derived.items()},
        "covariance": (joint.posterior.covariance * unit**2).tolist(),
        "excess_chi2": joint.excess,
        "tension_sigma": joint.tension,
        "runs": told,
    }


def _fitted(reader: MapReader, run: Gathered, q_across: float, unit: float) -> tuple[Read, Refinement]:
    try:
        read = reader.read(run.measured)
    except FrameFailed as error:
        raise ConfigurationError(f"run {run.name}: {error.message}") from error
    found = reader.refinement(run.measured, read, run.temperature_K, q_across, unit)
    if found is None:
        raise ConfigurationError(f"run {run.name}: {reader.case.words.too_little}")
    return read, found


def _told(
    reader: MapReader, run: Gathered, read: Read, found: Refinement, member: Member, unit: float
) -> dict[str, Any]:
    names = [reader.case.key_of(n) for n in reader.names]
    reasons = reader.reasons(found, read)
    return {
        "run": run.name,
        "columns": len(run.measured.q_rlu),
        "cells": int(run.measured.measured.sum()),
        "temperature_K": run.temperature_K,
        "alone": _numbers(reader, member.alone, unit),
        "share": member.share,
        "shares": dict(zip(names, map(float, member.shares), strict=True)),
        "apart_sigma": dict(zip(names, map(float, member.apart), strict=True)),
        "tension_sigma": member.tension,
        "chi2_reduced": member.chi2_reduced,
        "in_domain": not reasons,
        "reasons": list(reasons),
    }


def _numbers(reader: MapReader, found: Posterior, unit: float) -> dict[str, Any]:
    sigma = np.sqrt(np.diag(found.covariance))
    return {
        reader.case.key_of(n): {
            "value": float(v) * unit,
            "sigma": float(s) * unit,
            "interval90": [float(e) * unit for e in ends],
        }
        for n, v, s, ends in zip(reader.names, found.mean, sigma, found.interval90, strict=True)
    }


def _number(found: Number) -> dict[str, Any]:
    return {"value": found.value, "sigma": found.sigma, "interval90": list(found.interval90)}
