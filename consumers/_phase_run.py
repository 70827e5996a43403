"""One run of the phase map of known phases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from streamproc.consumers._data_flags import flags_said
from streamproc.consumers._judging import READING, FrameJudge, RunJudge
from streamproc.consumers._patterns import MeasuredPattern, wavelength_doubt
from streamproc.consumers._phase_said import change_said, cluster_said, map_said, refined_said
from streamproc.consumers._refining import Asked, Refining
from streamproc.models.mapping.so_far import PhaseMapSoFar
from streamproc.models.phase_map.check import Checked
from streamproc.models.phase_map.excess import counting_variance
from streamproc.models.phase_map.interpret import STATES, Answer, interpret
from streamproc.models.powder.fit import Refined
from streamproc.models.powder.pattern import prepare
from streamproc.models.powder.unexplained import UnexplainedClusters, hint_for, unexplained
from streamproc.models.series.watch import SeriesWatch
from streamproc.models.unmixing.rows import Rows

from streamproc.analysis import Estimate, Frame, FrameFailure, FrameResult, Provenance, RunResult
from streamproc.errors import FrameFailed
from streamproc.reduction.flags.reader import FrameReader
from streamproc.reduction.flags.reading import Reading
from streamproc.reduction.flags.watch import judged_alone

if TYPE_CHECKING:
    from streamproc.consumers.phase_map import PhaseMap

__all__ = ["PhaseMapRun"]

_PATTERN, _FIT = "phase-map: pattern", "phase-map: fit"
"""Keys under which pattern and fit go from the per-frame to the per-run half; no data key has a colon."""

_LEAST_FRACTION = 0.01
_LIKELY = 0.2
_FIRST_MAP = 8


class PhaseMapRun:
    """Phase map of one run.

    Parameters
    ----------
    analysis : PhaseMap
        Model, settings and calibration.
    reader : FrameReader or None
        Reads images; None where frames are patterns.
    axes : sequence of str
        Motors that the map is keyed by; none: the map is keyed by the number of the reading.
    series_key : str or None
        Motor or reading that change points are sought over.
    provenance : Provenance
        Hashes of all that.
    """

    def __init__(
        self, analysis: PhaseMap, reader: FrameReader | None, axes: Sequence[str], series_key: str | None,
        provenance: Provenance,
    ) -> None:  # fmt: skip
        self.provenance = provenance
        self._analysis = analysis
        self._model, self._settings = analysis.model, analysis.settings
        flags, run_dark = self._settings.data_flags, self._settings.reduction.from_run.dark
        if reader is None:  # long runs of zeros in a pattern were not measured, and the model knows it
            flags = flags.model_copy(update={"off": (*flags.off, "dead")})
        self._flags = flags
        self._frames, self._judge = FrameJudge(analysis.source, flags, reader, run_dark), RunJudge(flags)
        self._axes, self._series_key = tuple(axes), series_key
        labels, reference = self._model.card.labels, self._model.card.reference
        self._map = PhaseMapSoFar(self._axes or ("seq_num",), len(labels))
        self._mapped = Rows(1, "<f8")
        self._clusters = UnexplainedClusters(
            float(reference["wavelength_A"]),
            reference.get("wavelength2_A"),
            most=max(1, self._settings.clusters),
        )
        quantities = [n for p in labels for n in (p, f"{p}_strain")]
        self._watch = SeriesWatch(series_key, quantities) if series_key else None
        self._refining = Refining(analysis.refiner)
        self._points = self._in_domain = self._refined = self._differ = self._bad = 0
        self._sums = [0.0] * len(labels)

    # -- per frame ----------------------------------------------------------------------------------------

    def process(self, frames: Sequence[Frame]) -> Sequence[FrameResult | FrameFailure]:
        """Reduce, infer, cross-check and judge each frame."""
        answers: dict[int, FrameResult | FrameFailure] = {}
        prepared: list[tuple[int, Frame, Reading, MeasuredPattern, npt.NDArray[np.float32], float]] = []
        for place, frame in enumerate(frames):
            try:
                reading, pattern_of = self._frames.read(frame)
                pattern = pattern_of()
                x, coverage = prepare(
                    pattern.axis, pattern.intensity, self._model.card.axis, pattern.kind, pattern.wavelength_A
                )
                prepared.append((place, frame, reading, pattern, x, coverage))
            except FrameFailed as error:
                answers[place] = FrameFailure(frame.seq_num, error.message)
        if prepared:
            outputs = self._model.run(np.stack([x for *_, x, _ in prepared]))
            for row, (place, frame, reading, pattern, x, coverage) in enumerate(prepared):
                checked = self._cross_check(frame, x, outputs["presence"][row])
                answer = interpret(outputs, self._model.card, row, coverage, checked)
                answers[place] = self._result(frame, reading, pattern, x, coverage, answer, checked)
        return [answers[place] for place in range(len(frames))]

    def _cross_check(
        self, frame: Frame, x: npt.NDArray[np.float32], presence: npt.NDArray[np.float32]
    ) -> Checked | None:
        if (frame.seq_num - 1) % self._settings.cross_check_every:
            return None
        return self._analysis.checker.check(x, presence)

    def _result(
        self, frame: Frame, reading: Reading, pattern: MeasuredPattern, x: npt.NDArray[np.float32],
        coverage: float, answer: Answer, checked: Checked | None,
    ) -> FrameResult:  # fmt: skip
        bad = judged_alone(reading, self._flags).bad_reasons
        reasons = (*bad, *wavelength_doubt(pattern, self._model.card), *answer.reasons)
        values = self._values(answer, checked, not reasons)
        values["coverage"] = coverage
        if self._settings.publish_pattern:
            values["pattern"] = x.astype(np.float64)
        handed: dict[str, Any] = {_FIT: checked, READING: reading}
        if self._to_be_refined(frame):
            handed[_PATTERN] = pattern
        readings = {**frame.readings, **handed}
        return FrameResult(frame.seq_num, values, not reasons, reasons, self._model.model_id, readings)

    def _to_be_refined(self, frame: Frame) -> bool:
        every, key = self._settings.refine_every, self._settings.refine_key
        asked = key is not None and bool(np.any(np.asarray(frame.readings.get(key, False), dtype=bool)))
        return asked or bool(every and (frame.seq_num - 1) % every == 0)

    def _values(self, answer: Answer, checked: Checked | None, in_domain: bool) -> dict[str, Any]:
        model_id, nan = self._model.model_id, float("nan")

        def estimate(value: float, sigma: float, interval: tuple[float, float]) -> Estimate:
            if not in_domain:
                # Out of domain the model makes no claim: any share is as good, so sigma is that of [0, 1].
                sigma, interval = 12**-0.5, (0.0, 1.0)
            return Estimate(value, sigma, in_domain, model_id, interval)

        shares = {**answer.phases, "amorphous": answer.amorphous, "unknown": answer.unknown}
        values: dict[str, Any] = {n: estimate(s.value, s.sigma, s.interval90) for n, s in shares.items()}
        nothing = Estimate(nan, nan, False, model_id)
        for p, states in answer.states.items():
            values[f"{p}_presence"] = answer.presence[p]
            for state in STATES:
                found = states[state] if in_domain else None
                values[f"{p}_{state}"] = (
                    Estimate(found.value, found.sigma, True, model_id) if found is not None else nothing
                )
            values[f"{p}_classical"] = checked.fit.fractions[p] if checked is not None else nan
        values["foreign"] = answer.foreign
        values["rwp"] = checked.fit.r_wp if checked is not None else nan
        values["unexplained"] = checked.fit.unexplained if checked is not None else nan
        return values

    # -- per run ------------------------------------------------------------------------------------------

    def update(self, results: Sequence[FrameResult | FrameFailure]) -> Sequence[RunResult]:
        """Count, place each point on the map, and say what has become known about the run."""
        said: list[RunResult] = []
        for result in results:
            if isinstance(result, FrameResult):
                said += self._take(result)
        return said

    def _take(self, result: FrameResult) -> list[RunResult]:
        self._points += 1
        judgement = self._judge.take(result)
        said = [flags_said(result.seq_num, judgement)] if judgement.reasons else []
        if judgement.bad:
            self._bad += 1
        else:
            said += self._believe(result)
        # at 8, 16, 32, ... points: a long scan says its map often enough and not with every point
        if self._points >= _FIRST_MAP and self._points & (self._points - 1) == 0:
            said += [self._map_so_far(), *self._kinds()]
        return said

    def _believe(self, result: FrameResult) -> list[RunResult]:
        """Take in a reading that is not bad."""
        said = self._refine(result)
        self._place(result)
        self._sort_unexplained(result)
        if result.in_domain:
            self._in_domain += 1
            for place, label in enumerate(self._model.card.labels):
                self._sums[place] += result.values[label].value  # type: ignore[union-attr]
            said += self._series(result)
        return said

    def _refine(self, result: FrameResult) -> list[RunResult]:
        pattern = result.readings.get(_PATTERN)
        if pattern is None:
            return []
        labels, values = self._model.card.labels, result.values
        shares = {p: e for p in labels if isinstance(e := values[p], Estimate)}
        presence = {p: float(np.asarray(values[f"{p}_presence"])) for p in labels}
        likely = [p for p, e in shares.items() if presence[p] > _LIKELY or e.value > _LEAST_FRACTION]
        asked = Asked(
            result.seq_num, pattern.axis, pattern.intensity, pattern.kind, pattern.wavelength_A,
            tuple(likely or labels[:1]), {p: e.value for p, e in shares.items()},
            {p: e.sigma for p, e in shares.items()},
        )  # fmt: skip
        return self._said_of(self._refining.ask(asked))

    def _said_of(self, found: tuple[Asked, Refined | FrameFailed] | None) -> list[RunResult]:
        if found is None:
            return []
        said = refined_said(*found, self._model.card.labels, self._model.model_id)
        self._refined += isinstance(found[1], Refined)
        self._differ += bool(said.values["differs"])
        return [said]

    def _place(self, result: FrameResult) -> None:
        if not result.in_domain:
            return
        found = [result.values[p] for p in self._model.card.labels]
        values = [e.value for e in found]  # type: ignore[union-attr]
        sigmas = [e.sigma for e in found]  # type: ignore[union-attr]
        if self._map.add(self._coordinates(result), values, sigmas):
            self._mapped.append([result.seq_num])

    def _coordinates(self, result: FrameResult) -> dict[str, float]:
        if not self._axes:
            return {"seq_num": float(result.seq_num)}
        return {axis: _number(result.readings.get(axis)) for axis in self._axes}

    def _sort_unexplained(self, result: FrameResult) -> None:
        """Patterns with foreign material go to the clusters, by what the fit leaves over."""
        checked = result.readings.get(_FIT)
        if not self._settings.clusters or checked is None or not _foreign(result.reasons):
            return
        fit = checked.fit
        try:
            left = unexplained(fit.two_theta_deg, fit.observed, fit.calculated, counting_variance(fit))
            self._clusters.update(
                result.seq_num, fit.two_theta_deg, left.residual, left.variance, self._coordinates(result)
            )
        except FrameFailed:
            return  # hardly any point: nothing is left over that could be told

    def _series(self, result: FrameResult) -> list[RunResult]:
        if self._watch is None:
            return []
        found = {
            name: (e.value, e.sigma) for name in self._watch.quantities
            if isinstance(e := result.values[name], Estimate)
        }  # fmt: skip
        value = _number(result.readings.get(self._series_key or ""))
        return [change_said(c, self._model.model_id) for c in self._watch.update(value, found)]

    def _map_so_far(self) -> RunResult:
        return map_said(self._map, self._mapped.array[:, 0], self._points, self._settings.map_points)

    def _kinds(self, hint_s: float = 0.0) -> list[RunResult]:
        said = []
        for cluster in self._clusters.clusters():
            hint = None
            if hint_s > 0:
                beam = self._clusters.beam
                hint = hint_for(cluster, beam.wavelength_A, hint_s, beam.wavelength2_A)
            said.append(cluster_said(cluster, hint, self._map.axes))
        return said

    def end(self) -> Sequence[RunResult]:
        """Say the last refinement, the map, what is unexplained, and a summary."""
        if not self._points:
            return []
        said = self._said_of(self._refining.rest())
        last = self._map_so_far()
        kinds = self._kinds(self._settings.hint_s)
        n, labels = self._in_domain, self._model.card.labels
        means = {f"{p}_mean": t / n if n else float("nan") for p, t in zip(labels, self._sums, strict=True)}
        counts = {
            "points": self._points, "points_in_domain": n, "points_bad": self._bad,
            "points_refined": self._refined,
            "points_differ": self._differ, "regions": last.values["regions"], "unexplained_kinds": len(kinds),
            "change_points": len(self._watch.change_points) if self._watch is not None else 0,
        }  # fmt: skip
        summary = {k: float(v) for k, v in counts.items()} | means
        return [*said, last, *kinds, RunResult("summary", summary)]

    # -- stored state -------------------------------------------------------------------------------------

    def snapshot(self) -> Mapping[str, Any]:
        """Return the state of the per-run half."""
        return {
            "counts": [self._points, self._in_domain, self._refined, self._differ, self._bad],
            "judge": self._judge.snapshot(),
            "sums": list(self._sums),
            "map": self._map.snapshot(),
            "mapped": self._mapped.snapshot(),
            "clusters": self._clusters.snapshot(),
            "watch": None if self._watch is None else self._watch.snapshot(),
            "refining": self._refining.snapshot(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`snapshot` gave."""
        self._points, self._in_domain, self._refined, self._differ, self._bad = (
            int(v) for v in state["counts"]
        )
        self._judge.restore(state["judge"])
        self._sums = [float(v) for v in state["sums"]]
        self._map.restore(state["map"])
        self._mapped.restore(state["mapped"])
        self._clusters.restore(state["clusters"])
        if self._watch is not None and state["watch"] is not None:
            self._watch.restore(state["watch"])
        self._refining.restore(state["refining"])


def _foreign(reasons: Sequence[str]) -> bool:
    return any(r.startswith("unknown-") or r == "residual" for r in reasons)


def _number(value: Any) -> float:
    try:
        return float(np.asarray(value, float).reshape(()))
    except (TypeError, ValueError):
        return float("nan")
