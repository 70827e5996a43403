"""One run of the excitation fit of maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from streamproc.consumers._excitation_columns import MapSoFar, Piece, piece_of
from streamproc.consumers._excitation_refining import Asked, MapRefining
from streamproc.models.excitations.maps.band import BAND_POINTS, band_along, modes_of
from streamproc.models.excitations.maps.container import SqeMap
from streamproc.models.excitations.maps.plan import candidates_of, factor_to_target, where_next
from streamproc.models.excitations.maps.posterior import Number
from streamproc.models.excitations.maps.reader import MapReader, Read, Refined

from streamproc.analysis import Estimate, Frame, FrameFailure, FrameResult, Provenance, RunResult
from streamproc.errors import FrameFailed

if TYPE_CHECKING:
    from streamproc.consumers._excitation_map import MapSettings

__all__ = ["ExcitationMapRun"]

_PIECE = "excitation-fit: piece"
"""Key under which a piece goes from the per-frame to the per-run half; no data key has a colon."""

_DIFFERS = 3.0
_NAN = float("nan")


class ExcitationMapRun:
    """Excitation fit of one run.

    Parameters
    ----------
    reader : MapReader
        Model at work.
    settings : MapSettings
        The analysis's table.
    provenance : Provenance
        Hashes.
    """

    def __init__(self, reader: MapReader, settings: MapSettings, provenance: Provenance) -> None:
        self.provenance = provenance
        self._reader, self._settings = reader, settings
        self._model_id = str(provenance.details["model"])
        self._so_far = MapSoFar()
        self._refining = MapRefining(reader, settings.temperature_K, settings.q_across)
        self._seen = self._newest = 0

    # -- per frame ----------------------------------------------------------------------------------------

    def process(self, frames: Sequence[Frame]) -> Sequence[FrameResult | FrameFailure]:
        """Read each event by itself."""
        return [self._one(frame) for frame in frames]

    def _one(self, frame: Frame) -> FrameResult | FrameFailure:
        try:
            piece = piece_of(frame, self._settings.keys)
            read = self._reader.read(piece.map()) if len(piece.energy_meV) >= 4 else None
        except FrameFailed as error:
            return FrameFailure(frame.seq_num, error.message)
        # one point says nothing by itself, but is no fault
        reasons = read.reasons if read is not None else ()
        values: dict[str, Any] = self._network_values(read, not reasons)
        values["cells"] = float(np.isfinite(piece.intensity).sum())
        values["distance"] = read.answer.distance if read is not None else _NAN
        readings = {**frame.readings, _PIECE: piece}
        return FrameResult(frame.seq_num, values, not reasons, reasons, self._model_id, readings)

    def _network_values(self, read: Read | None, in_domain: bool) -> dict[str, Any]:
        if read is None:
            return self._values({}, {}, False)
        return self._values(read.answer.numbers, read.answer.derived, in_domain)

    def _values(
        self, numbers: Mapping[str, Number], derived: Mapping[str, Number], in_domain: bool
    ) -> dict[str, Any]:
        """Estimates of parameters and derived energies; NaN where out of domain."""
        nothing = Number(_NAN, _NAN, (_NAN, _NAN))
        key_of = self._reader.case.key_of
        found = {key_of(n): numbers.get(n, nothing) for n in self._reader.names}
        found |= {n: derived.get(n, nothing) for n in self._reader.derived.names}
        if not in_domain:
            found = dict.fromkeys(found, nothing)
        return {
            k: Estimate(v.value, v.sigma, in_domain and np.isfinite(v.value), self._model_id, v.interval90)
            for k, v in found.items()
        }

    # -- per run ------------------------------------------------------------------------------------------

    def update(self, results: Sequence[FrameResult | FrameFailure]) -> Sequence[RunResult]:
        """Take each event into the map so far, read that, and begin to fit it."""
        said: list[RunResult] = []
        for result in results:
            if isinstance(result, FrameResult) and isinstance(result.readings.get(_PIECE), Piece):
                said += self._take(result.readings[_PIECE])
        return said

    def _take(self, piece: Piece) -> list[RunResult]:
        self._so_far.add(piece)
        self._seen, self._newest = self._seen + 1, piece.seq_num
        s = self._settings
        asked_for_fit = s.refine_every and self._seen % s.refine_every == 0
        if self._seen % s.fit_every and not asked_for_fit:
            return []
        measured = self._so_far.map()
        if measured is None:
            return []
        said = []
        try:
            read = self._reader.read(measured)
        except FrameFailed:
            return []
        if self._seen % s.fit_every == 0:
            said.append(self._read_said(piece.seq_num, measured, read))
        if asked_for_fit:
            said += self._fit_said(self._refining.ask(self._asked(piece.seq_num, measured)))
        return said

    def _asked(self, seq_num: int, measured: SqeMap) -> Asked:
        return Asked(seq_num, measured, self._so_far.events, self._so_far.counts)

    def _read_said(self, seq_num: int, measured: SqeMap, read: Read) -> RunResult:
        in_domain = not read.reasons
        values = self._counts(seq_num, measured) | self._network_values(read, in_domain)
        values |= {
            "covariance": np.where(in_domain, read.answer.covariance, _NAN),
            "distance": read.answer.distance,
            "in_domain": in_domain,
            "reasons": "; ".join(read.reasons),
        }
        return RunResult("map", values)

    @staticmethod
    def _counts(seq_num: int, measured: SqeMap) -> dict[str, Any]:
        columns, cells = float(len(measured.q_rlu)), float(measured.measured.sum())
        return {"seq_num": float(seq_num), "columns": columns, "cells": cells}

    def _fit_said(self, found: tuple[Asked, Read, Refined | None] | None) -> list[RunResult]:
        if found is None:
            return []
        asked, read, refined = found
        values = self._counts(asked.seq_num, asked.measured)
        if refined is None:
            return [RunResult("fit", values | self._no_fit(self._reader.case.words.too_little))]
        in_domain = not refined.reasons
        p = len(self._reader.names)
        differs = {n: d for n, d in refined.differs.items() if d > _DIFFERS}
        values |= self._values(refined.numbers, refined.derived, in_domain)
        values |= {
            "covariance": refined.covariance if in_domain else np.full((p, p), _NAN),
            "chi2_reduced": refined.fit.chi2_reduced,
            "explained": refined.fit.explained,
            "significance": refined.fit.significance,
            "in_domain": in_domain,
            "reasons": "; ".join(refined.reasons),
            "differs": bool(differs),
            "said": "; ".join(
                f"{self._reader.case.key_of(n)} differs from the network's by {d:.1f} sigma"
                for n, d in differs.items()
            ),
        }
        values |= self._band(asked, refined, in_domain)
        return [RunResult("fit", values | self._ahead(asked, read, refined, in_domain))]

    def _band(self, asked: Asked, refined: Refined, in_domain: bool) -> dict[str, Any]:
        """Dispersion along the measured columns; NaN where the fit is not to be believed."""
        free = np.array([refined.numbers[n].value for n in self._reader.names])
        found = band_along(self._reader.case, asked.measured.q_rlu, free, refined.covariance)
        energy, sigma = (np.where(in_domain, v, _NAN) for v in (found.energy, found.sigma))
        return {"dispersion_q": found.q_rlu, "dispersion_energy": energy, "dispersion_sigma": sigma}

    def _no_fit(self, why: str) -> dict[str, Any]:
        p = len(self._reader.names)
        nothing = np.full((BAND_POINTS, modes_of(self._reader.case)), _NAN)
        numbers = dict.fromkeys(
            ("chi2_reduced", "explained", "significance", "time_factor", "events_to_target",
             "counts_to_target", "next_energy", "next_gain"), _NAN,
        )  # fmt: skip
        return (
            self._values({}, {}, False)
            | numbers
            | {"covariance": np.full((p, p), _NAN), "next_q": np.full(3, _NAN), "in_domain": True}
            | {"dispersion_q": np.full((BAND_POINTS, 3), _NAN), "dispersion_energy": nothing}
            | {"dispersion_sigma": nothing}
            | {"reasons": "", "differs": False, "said": why}
        )

    def _ahead(self, asked: Asked, read: Read, refined: Refined, in_domain: bool) -> dict[str, Any]:
        """How much longer to count, and where next."""
        sigma = {n: v.sigma for n, v in refined.numbers.items()}
        factor = factor_to_target(sigma, self._settings.targets) if in_domain else _NAN
        more = max(factor - 1, 0.0) if np.isfinite(factor) else _NAN
        said: dict[str, Any] = {
            "time_factor": factor, "events_to_target": more * asked.events,
            "counts_to_target": more * asked.counts,
            "next_q": np.full(3, _NAN), "next_energy": _NAN, "next_gain": _NAN,
        }  # fmt: skip
        if self._settings.plan_next and in_domain:
            unit = read.prepared.unit_meV
            scaled = self._reader.window(asked.measured).scaled(1 / unit)
            case = self._reader.case
            best = where_next(case, scaled, refined.fit, candidates_of(case, scaled))
            if best is not None:
                said |= {"next_q": best.q_rlu, "next_energy": best.energy * unit, "next_gain": best.gain}
        return said

    def end(self) -> Sequence[RunResult]:
        """Say the fit under way, then one of all that came since."""
        said = self._fit_said(self._refining.rest())
        every = self._settings.refine_every
        measured = self._so_far.map() if every and self._seen % every else None
        if measured is None:
            return said
        try:
            self._reader.read(measured)
        except FrameFailed:
            return said
        self._refining.ask(self._asked(self._newest, measured))
        return said + self._fit_said(self._refining.rest())

    # -- stored state -------------------------------------------------------------------------------------

    def snapshot(self) -> Mapping[str, Any]:
        """Return the state of the per-run half."""
        return {
            "seen": self._seen,
            "newest": self._newest,
            "so_far": self._so_far.snapshot(),
            "refining": self._refining.snapshot(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`snapshot` gave."""
        self._seen, self._newest = int(state["seen"]), int(state["newest"])
        self._so_far.restore(state["so_far"])
        self._refining.restore(state["refining"])
