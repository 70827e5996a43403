"""What the excitation fit says about one spectrum and about a dispersion, as results."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.consumers._excitation_settings import ExcitationFitSettings
from streamproc.models.excitations.oscillators.answer import Answer
from streamproc.models.excitations.oscillators.calibration import ModeCalibration
from streamproc.models.excitations.oscillators.dispersion import fit_dispersion
from streamproc.models.excitations.oscillators.fit import Fitted
from streamproc.models.excitations.oscillators.forward import Forward
from streamproc.models.excitations.oscillators.interpret import (
    Differences,
    best_next_energy,
    still_needed,
)
from streamproc.models.excitations.oscillators.parameters import MOST_MODES, PER_MODE
from streamproc.models.excitations.oscillators.spectrum import Spectrum

from streamproc.analysis import Estimate, RunResult

__all__ = ["dispersion_said", "frame_values"]

_NAN = float("nan")
_Z90 = 1.6449


def frame_values(
    said: Answer, forward: Forward, data: Spectrum, calibration: ModeCalibration, model_id: str,
    monitor: float, in_domain: bool, compared: Differences | None, other: Fitted | None,
    target: float | None, time_s: float,
) -> dict[str, Any]:  # fmt: skip
    """Return a value for every declared output.

    Parameters
    ----------
    said : Answer
        The fast answer.
    forward : Forward
        Model on the axis of the data.
    data : Spectrum
        What was measured.
    calibration : ModeCalibration
        Of the model's card.
    model_id : str
        Of the model.
    monitor : float
        Incident counts.
    in_domain : bool
        The answer may be believed.
    compared, other : Differences and Fitted, optional
        The independent fit; None where it was not asked.
    target : float, optional
        Wanted sigma of the energies.
    time_s : float
        Time counted so far (s); NaN: unknown.
    """
    fitted, counts = said.fitted, float(data.effective_counts.sum())
    sigma = calibration.sigma(fitted)
    number = fitted.composition.modes
    values: dict[str, Any] = {
        "modes": float(number),
        "modes_probability": float(said.probability[number]),
        "modes_classical": float(other.composition.modes) if other is not None else _NAN,
    }
    values |= _modes(said, forward, calibration, model_id, data.scale / monitor, in_domain, compared)
    values |= _rest(fitted, model_id, data.scale / monitor, in_domain)
    needed = _NAN if target is None else still_needed(sigma[:, 0], target, 1.0)
    signals = said.signals
    return values | {
        "differs": bool(compared is not None and compared.said), "searched": said.searched,
        "chi2_reduced": fitted.chi2_reduced, "distance": signals.distance, "misfit": signals.misfit,
        "leftover": signals.leftover, "counts": counts, "counts_needed": needed * counts,
        "time_needed_s": needed * time_s, "next_energy": best_next_energy(forward, fitted),
    }  # fmt: skip


def _modes(
    said: Answer, forward: Forward, calibration: ModeCalibration, model_id: str, scale: float,
    in_domain: bool, compared: Differences | None,
) -> dict[str, Any]:  # fmt: skip
    fitted, values = said.fitted, {}
    sigma, (low, high) = calibration.sigma(fitted), calibration.interval(fitted)
    found = fitted.vector[: 3 * fitted.composition.modes].reshape(-1, 3)
    other = compared.values if compared is not None else np.full_like(found, np.nan)
    top = float(max(abs(forward.energy[0]), abs(forward.energy[-1])))
    widest = {"energy": top, "width": 4 * forward.span, "amplitude": float("inf")}
    unit = np.array([1.0, 1.0, scale])
    for k in range(MOST_MODES):
        there = k < len(found)
        for j, name in enumerate(PER_MODE):
            key = f"{name}_{k + 1}"
            values[f"{key}_classical"] = float(other[k, j] * unit[j]) if there else _NAN
            if not there:
                values[key] = Estimate(_NAN, _NAN, False, model_id, (_NAN, _NAN))
                continue
            value, s, *ends = (float(v[k, j] * unit[j]) for v in (found, sigma, low, high))
            interval = (max(0.0, ends[0]), ends[1])
            if not in_domain:
                # Out of domain no claim is made: anything on the axis is as good.
                s, interval = max(s, widest[name] * 12**-0.5), (0.0, max(interval[1], widest[name]))
            values[key] = Estimate(value, s, in_domain, model_id, interval)
        values[f"overdamped_{k + 1}"] = bool(there and found[k, 1] > 2 * found[k, 0])
    values["covariance"] = _covariance(fitted, calibration.factor * unit)
    return values


def _covariance(fitted: Fitted, factor: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Fisher covariance with a factor for each of a mode's numbers, NaN beyond the modes there are."""
    k, out = 3 * fitted.composition.modes, np.full((3 * MOST_MODES, 3 * MOST_MODES), np.nan)
    every = np.tile(factor, fitted.composition.modes)
    out[:k, :k] = fitted.covariance[:k, :k] * np.outer(every, every)
    return out


def _rest(fitted: Fitted, model_id: str, scale: float, in_domain: bool) -> dict[str, Any]:
    c, values = fitted.composition, {}
    for name, unit in (("zero", 1.0), ("elastic", scale), ("background", scale)):
        if name not in c.names:
            values[name] = Estimate(_NAN, _NAN, False, model_id)
            continue
        place = c.place(name)
        value, sigma = float(fitted.vector[place] * unit), float(fitted.sigma[place] * unit)
        values[name] = Estimate(value, sigma, in_domain, model_id)
    return values


def dispersion_said(
    rows: npt.NDArray[np.float64], points: int, settings: ExcitationFitSettings, model_id: str
) -> RunResult:
    """Return the dispersion so far, and the branch through it.

    Parameters
    ----------
    rows : ndarray, shape (n, 2 + 16)
        seq_num, q, then energies, their sigmas, widths, their sigmas of four modes.
    points : int
        Readings so far, also those out of domain.
    settings : ExcitationFitSettings
        Form of the branch, points to hold.
    model_id : str
        Of the model.
    """
    k, m = MOST_MODES, settings.dispersion_points
    q, energy, sigma = rows[:, 1], rows[:, 2 : 2 + k], rows[:, 2 + k : 2 + 2 * k]
    found = None
    if settings.dispersion != "none" and len(rows):
        found = fit_dispersion(q, energy, sigma, settings.dispersion, settings.zone_boundary)
    chosen = (
        np.full(len(rows), np.nan)
        if found is None
        else np.where(found.chosen < 0, np.nan, found.chosen + 1.0)
    )
    branch = Estimate(_NAN, _NAN, False, model_id, (_NAN, _NAN))
    if found is not None:
        ends = (found.scale - _Z90 * found.sigma, found.scale + _Z90 * found.sigma)
        branch = Estimate(found.scale, found.sigma, True, model_id, ends)

    def padded(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        out = np.full((m, *values.shape[1:]), np.nan)
        newest = values[-m:]
        out[: len(newest)] = newest
        return out

    return RunResult("dispersion", {
        "points": float(points), "seq_nums": padded(rows[:, 0]), "q": padded(q), "energies": padded(energy),
        "energies_sigma": padded(sigma), "widths": padded(rows[:, 2 + 2 * k : 2 + 3 * k]),
        "widths_sigma": padded(rows[:, 2 + 3 * k :]), "branch_mode": padded(chosen), "branch": branch,
        "branch_chi2_reduced": _NAN if found is None else found.chi2_reduced,
    })  # fmt: skip
