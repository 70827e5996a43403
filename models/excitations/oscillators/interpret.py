"""From the fast answer and the model's card to what is published: reasons, differences, predictions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.oscillators.answer import Answer
from streamproc.models.excitations.oscillators.fit import Fitted
from streamproc.models.excitations.oscillators.forward import Forward
from streamproc.models.excitations.oscillators.parameters import PER_MODE
from streamproc.models.excitations.oscillators.spectrum import Spectrum

from streamproc.inference.card import ModelCard

__all__ = ["Differences", "best_next_energy", "differences", "reasons_of", "still_needed"]

Array = npt.NDArray[np.float64]

_APART = 3.0
_SEEN = 5.0


def reasons_of(said: Answer, forward: Forward, data: Spectrum, card: ModelCard) -> tuple[str, ...]:
    """Return why an answer may not be believed; empty when all is well."""
    limits, signals = card.calibration.limits, said.signals
    reasons = list(_outside(forward, card))
    if signals.distance > limits["distance"]:
        reasons.append("unlike-training")
    if signals.misfit > limits["misfit"]:
        reasons.append("residual")
    if signals.leftover > limits["leftover"]:
        reasons.append("unexplained-line")
    if signals.surprise > limits["surprise"]:
        reasons.append("disagrees-with-network")
    if not said.fitted.converged:
        reasons.append("not-converged")
    if not said.fitted.composition.modes and not _elastic_seen(said.fitted):
        reasons.append("no-signal")
    return tuple(reasons)


def _elastic_seen(fitted: Fitted) -> bool:
    if not fitted.composition.elastic:
        return False
    k = fitted.composition.place("elastic")
    return bool(fitted.vector[k] > _SEEN * fitted.sigma[k])


def _outside(forward: Forward, card: ModelCard) -> list[str]:
    fwhm = forward.resolution.fwhm
    seen = {
        "window_over_fwhm": forward.span / fwhm,
        "points": float(forward.points),
        "points_per_fwhm": (forward.points - 1) * fwhm / forward.span,
        "lorentzian_share": forward.resolution.lorentzian,
    }
    said = []
    for name, value in seen.items():
        low, high = card.valid_domain[name]  # type: ignore[misc]
        if not 0.98 * low <= value <= 1.02 * high + 0.02:  # type: ignore[has-type]
            said.append(f"outside-training-range: {name} {value:.3g}, trained for {low:g} to {high:g}")
    if forward.energy[-1] <= 0:
        said.append("outside-training-range: no energy loss on the axis")
    return said


@dataclass(frozen=True, slots=True)
class Differences:
    """The independent fit beside the fast answer.

    Attributes
    ----------
    values : ndarray, shape (modes, 3)
        Of the independent fit, beside the answered modes; NaN where it has none near.
    said : tuple of str
        What differs by more than three sigma.
    """

    values: Array
    said: tuple[str, ...]


def differences(fitted: Fitted, other: Fitted, sigma: Array) -> Differences:
    """Compare the answer with an independent fit.

    Parameters
    ----------
    fitted : Fitted
        The answer.
    other : Fitted
        The independent fit.
    sigma : ndarray, shape (modes, 3)
        Published sigmas of the answer.
    """
    k, m = fitted.composition.modes, other.composition.modes
    mine, theirs = fitted.vector[: 3 * k].reshape(-1, 3), other.vector[: 3 * m].reshape(-1, 3)
    values, said = np.full((k, 3), np.nan), []
    if k != m:
        said.append(f"modes: {k} against {m}")
    for i in range(min(k, m)) if k == m else []:
        values[i] = theirs[i]
        for j, name in enumerate(PER_MODE):
            apart = abs(mine[i, j] - theirs[i, j]) / max(sigma[i, j], 1e-300)
            if apart > _APART:
                said.append(f"{name}_{i + 1}: {mine[i, j]:.4g} against {theirs[i, j]:.4g}, {apart:.1f} sigma")
    return Differences(values, tuple(said))


def still_needed(sigma: Array, target: float, so_far: float) -> float:
    """Return how much more of what was spent so far (counts, seconds) brings every sigma down to the target.

    Sigmas fall with the root of the counts. 0 where they are there already; NaN without modes.
    """
    if not sigma.size:
        return float("nan")
    return max(0.0, so_far * (float(sigma.max()) ** 2 / target**2 - 1))


def best_next_energy(forward: Forward, fitted: Fitted) -> float:
    """Return the energy at which one more second tells most about energies, widths and amplitudes.

    The expected gain of information of a short count at a point is half its leverage, ``J C J / mu``
    (D-optimal design, Fedorov 1972), with the nuisances (elastic line, zero, background) profiled out.
    """
    k = 3 * fitted.composition.modes
    if not k:
        return float("nan")
    _, derivatives = forward(fitted.composition, fitted.vector)
    nuisance = np.linalg.inv(_information(fitted)[k:, k:])
    whole = np.einsum("ip,ij,jp->p", derivatives, fitted.covariance, derivatives)
    rest = np.einsum("ip,ij,jp->p", derivatives[k:], nuisance, derivatives[k:])
    gain = (whole - rest) / np.maximum(fitted.spectrum, 1e-3)
    return float(forward.energy[int(np.argmax(gain))])


def _information(fitted: Fitted) -> Array:
    scale = np.maximum(fitted.sigma, 1e-300)
    unit = fitted.covariance / np.outer(scale, scale)
    return np.asarray(np.linalg.pinv(unit, hermitian=True) / np.outer(scale, scale))
