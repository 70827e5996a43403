"""Calibration from held-out spectra, and the scores that the card tells."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.oscillators.calibration import FEATURES, ModeCalibration, features_of
from streamproc.models.excitations.oscillators.judge import SIGNALS, Judged
from streamproc.models.excitations.oscillators.parameters import PER_MODE
from streamproc.models.networks.conformal import conformal_quantile
from streamproc.models.networks.pulls import measured_pulls, uniformity

from streamproc.inference.card import Calibration

__all__ = ["FALSE_ALARMS", "LEAST_LIMITS", "calibrate", "figures", "limits_of"]

FALSE_ALARMS = 0.003
"""Share of usual spectra beyond each limit."""

LEAST_LIMITS = {"distance": 1.5, "misfit": 4.0, "leftover": 5.0, "surprise": 8.0}
"""Limits are not set tighter: measured lines are never quite as simulated."""

_SHARP = 1.0


def limits_of(held: Judged) -> dict[str, float]:
    """Return the limits of the signals from spectra whose number of modes was found right."""
    usual = np.array([c.right_number for c in held.cases])
    signals = held.signals()[usual] if usual.any() else held.signals()
    return {
        s: round(max(LEAST_LIMITS[s], float(np.quantile(signals[:, k], 1 - FALSE_ALARMS))), 4)
        for k, s in enumerate(SIGNALS)
    }


def calibrate(held: Judged, limits: dict[str, float]) -> Calibration:
    """Measure how far answers in domain are off.

    Parameters
    ----------
    held : Judged
        Spectra that had no part in the training, answered.
    limits : dict of str to float
        Out-of-domain limits by signal.
    """
    truth, value, sigma, _ = held.sound(limits).matched()
    pulls = (truth - value) / np.maximum(sigma, 1e-12)

    def factors(level: float) -> dict[str, float]:
        if not len(pulls):
            return dict.fromkeys(PER_MODE, 9.0)
        off = np.abs(pulls)
        return {n: round(conformal_quantile(off[:, k], level), 4) for k, n in enumerate(PER_MODE)}

    return Calibration(
        floor=0.0,
        q68=factors(0.68),
        q90=factors(0.90),
        limits=limits,
        pulls=measured_pulls(features_of(value, sigma), pulls, PER_MODE, FEATURES),
    )


def figures(judged: Judged, calibration: Calibration) -> dict[str, Any]:
    """Return what the card says about held-out simulations; energies in resolution widths."""
    sound, number = judged.sound(calibration.limits), np.mean([c.right_number for c in judged.cases])
    truth, value, _, peak = judged.matched()
    off = np.abs(value - truth)
    sharp = (truth[:, 1] < _SHARP) & (peak >= 50)
    near = sharp & (off[:, 0] <= 1)
    truth, value, sigma, _ = sound.matched()
    calibrated = ModeCalibration(calibration)
    covered, one = calibrated.covers(truth, value, sigma), sound.one_of_each()
    return {
        "spectra": len(judged.cases),
        "number_right": round(float(number), 3),
        "energy_error_over_fwhm_median": _rounded(np.median(off[:, 0])),
        "sharp_modes_of_50_counts": {
            "energy_error_over_fwhm_median": _rounded(np.median(off[sharp, 0])),
            "energy_error_over_fwhm_rms_below_1": _rounded(np.sqrt(np.mean(off[near, 0] ** 2))),
            "further_off_than_1_fwhm": _rounded(1 - near.sum() / max(1, sharp.sum())),
        },
        "coverage90": {n: _rounded(np.mean(covered[:, k])) for k, n in enumerate(PER_MODE)},
        "ranks": uniformity(calibrated.ranks(truth, value, sigma)[one], PER_MODE) if len(one) else {},
        "flagged": _rounded(1 - len(sound.cases) / len(judged.cases)),
    }


def _rounded(value: npt.ArrayLike) -> float | None:
    """Four digits; None where there was nothing to take a figure of."""
    number = float(np.asarray(value))
    return round(number, 4) if np.isfinite(number) else None
