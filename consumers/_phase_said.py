"""What the phase map says about a run, as results of its streams."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.consumers._phase_outputs import LINES
from streamproc.consumers._refining import Asked
from streamproc.models.mapping.so_far import PhaseMapSoFar
from streamproc.models.powder.fit import PhaseResult, Refined, Value
from streamproc.models.powder.indexing import StructureHint
from streamproc.models.powder.unexplained import ClusterReport
from streamproc.models.series.watch import ChangePoint

from streamproc.analysis import Estimate, RunResult
from streamproc.errors import FrameFailed

__all__ = ["change_said", "cluster_said", "map_said", "refined_said", "textured"]

_NAN = float("nan")
_APART = 3.0
"""Sigmas between fast and refined beyond which a point is flagged."""

_Z90 = 1.6449
_TEXTURE = 0.1
_FLOOR = 0.003
"""Both leave out errors of this size (0.3 wt%) that no sigma holds."""


def refined_said(
    asked: Asked, found: Refined | FrameFailed, labels: Sequence[str], model_id: str
) -> RunResult:
    """Return a refinement, or why there is none."""
    values: dict[str, Any] = {"seq_num": float(asked.seq_num)}
    if isinstance(found, FrameFailed):
        for p in labels:
            values |= _phase_values(p, None, False, model_id)
        figures = dict.fromkeys(("rwp", "rexp", "chi2_reduced", "unexplained"), _NAN)
        values |= figures | {"converged": False, "differs": False, "said": found.message}
        return RunResult("refined", values)
    for p in labels:
        values |= _phase_values(p, found.phases.get(p), found.converged, model_id)
    apart = _differences(asked, found)
    values |= {
        "rwp": found.r_wp, "rexp": found.r_exp, "chi2_reduced": found.chi2_reduced,
        "unexplained": found.unexplained, "converged": found.converged, "differs": bool(apart),
        "said": "; ".join(apart) if apart else "" if found.converged else found.message,
    }  # fmt: skip
    return RunResult("refined", values)


def _phase_values(p: str, phase: PhaseResult | None, sound: bool, model_id: str) -> dict[str, Any]:
    def estimate(value: Value | None, interval: bool = False) -> Estimate:
        if value is None or not np.isfinite(value.value):
            return Estimate(_NAN, _NAN, False, model_id, (_NAN, _NAN) if interval else None)
        ends = (value.value - _Z90 * value.esd, value.value + _Z90 * value.esd)
        ends = (max(0.0, ends[0]), min(1.0, ends[1]))
        return Estimate(value.value, value.esd, sound, model_id, ends if interval else None)

    unknown = np.full(6, np.nan)
    return {
        p: estimate(Value(0.0, 0.0) if phase is None else phase.fraction, True),
        f"{p}_strain": estimate(None if phase is None else phase.strain),
        f"{p}_cell": unknown if phase is None else np.asarray(phase.cell, float),
        f"{p}_cell_esd": unknown if phase is None else np.asarray(phase.cell_esd, float),
        f"{p}_size_nm": estimate(None if phase is None else phase.size_nm),
        f"{p}_march_r": estimate(None if phase is None else phase.march_r),
        f"{p}_textured": sound and phase is not None and textured(phase.march_r),
    }


def textured(march_r: Value) -> bool:
    """Return whether March-Dollase r lies more than 10 % from 1, with 95 % confidence."""
    if not (np.isfinite(march_r.value) and march_r.value > 0 and np.isfinite(march_r.esd)):
        return False
    return bool(abs(np.log(march_r.value)) - _Z90 * march_r.esd / march_r.value > _TEXTURE)


def _differences(asked: Asked, found: Refined) -> list[str]:
    """Fractions that fast and refined answer put more than three joint sigmas apart."""
    said = []
    for p, fast in asked.fractions.items():
        phase = found.phases.get(p)
        value, esd = (phase.fraction.value, phase.fraction.esd) if phase is not None else (0.0, 0.0)
        sigma = float(np.sqrt(asked.sigmas[p] ** 2 + esd**2 + _FLOOR**2))
        if np.isfinite(value) and abs(value - fast) > _APART * sigma:
            said.append(
                f"{p}: fast {100 * fast:.2f}, refined {100 * value:.2f} wt%, "
                f"{abs(value - fast) / sigma:.1f} sigma"
            )
    return said


def map_said(so_far: PhaseMapSoFar, seq_nums: npt.NDArray[np.float64], points: int, rows: int) -> RunResult:
    """Return the map with the region of each point."""
    regions = so_far.regions()
    newest = slice(max(len(so_far) - rows, 0), None)
    label = regions.label[newest].astype(float)
    count, axes = label.size, len(so_far.axes)

    def padded(values: npt.NDArray[Any], *width: int) -> npt.NDArray[np.float64]:
        out = np.full((rows, *width), np.nan)
        out[:count] = values
        return out

    places = np.full((count, 3), np.nan)
    places[:, :axes] = so_far.places[newest]
    return RunResult("map", {
        "points": float(points), "regions": float(regions.count), "seq_nums": padded(seq_nums[newest]),
        "places": padded(places, 3), "labels": padded(np.where(label < 0, np.nan, label)),
        "confidence": padded(regions.confidence[newest]),
        "shares": padded(so_far.shares[newest], so_far.shares.shape[1]),
    })  # fmt: skip


def cluster_said(cluster: ClusterReport, hint: StructureHint | None, axes: Sequence[str]) -> RunResult:
    """Return one kind of unexplained patterns."""
    where, spacing, area = np.full(3, np.nan), np.full(LINES, np.nan), np.full(LINES, np.nan)
    for k, axis in enumerate(axes):
        where[k] = cluster.where.get(axis, {}).get("centroid", _NAN)
    for k, line in enumerate(cluster.lines[:LINES]):
        spacing[k], area[k] = line.d_A, line.relative_area
    said = "" if hint is None else json.dumps(hint.as_dict(), sort_keys=True)
    return RunResult("unexplained", {
        "number": float(cluster.number), "points": float(cluster.points),
        "first_seq_num": float(cluster.first_seq_num), "last_seq_num": float(cluster.last_seq_num),
        "where": where, "lines_A": spacing, "lines_area": area, "hint": said,
    })  # fmt: skip


def change_said(c: ChangePoint, model_id: str) -> RunResult:
    """Return a change point, new, moved or withdrawn."""
    position = Estimate(c.value, c.sigma, c.significant, model_id, c.interval90)
    return RunResult("change_points", {
        "number": float(c.number), "series_key": c.series_key, "quantity": c.quantity, "position": position,
        "log10_bayes_factor": c.log10_bayes_factor, "kind": c.kind, "branch": float(c.branch),
        "significant": c.significant, "points": float(c.points),
        "begin": c.span[0] if c.span else float("nan"), "end": c.span[1] if c.span else float("nan"),
    })  # fmt: skip
