"""From a measured pattern to the network's input, and from raw outputs to an answer that knows its limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from streamproc.models.phase_qpa.classical import ClassicalFit

from streamproc.errors import FrameFailed
from streamproc.inference.card import ModelCard

__all__ = ["Answer", "Quantity", "disagreement", "interpret", "prepare"]

Array = npt.NDArray[np.float64]

_MAX_NEGATIVE = 0.2
"""Patterns whose negative part exceeds this share of the positive part are refused."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value with its calibrated uncertainty.

    Attributes
    ----------
    value : float
        Share, 0 to 1.
    sigma : float
        Half-width of the calibrated 68 % interval.
    interval90 : tuple of float
        Calibrated 90 % interval, within 0 and 1.
    """

    value: float
    sigma: float
    interval90: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Answer:
    """What is in the pattern, as far as the model may say.

    Attributes
    ----------
    phases : dict of str to Quantity
        Weight fractions among the known crystalline phases (sum 1).
    amorphous : Quantity
        Weight share of glass (silica equivalent) in glass and known phases.
    unknown : Quantity
        Share of unknown material in the crystalline intensity.
    in_domain : bool
        Whether the fractions may be used.
    reasons : tuple of str
        Why not; empty when ``in_domain``. ``axis coverage C < L``, ``unknown material``, ``amorphous only``,
        ``feature distance``, ``member spread``, ``residual``, ``disagrees with classical fit``.
    residual : dict of str to float
        Figures of the classical fit (empty without one): ``r_wp``, ``chi2_reduced``, ``unexplained``,
        ``crystalline``, ``difference`` (largest difference of a fraction from the network's) and
        ``disagreement`` (the same in units of :func:`disagreement`).
    """

    phases: dict[str, Quantity]
    amorphous: Quantity
    unknown: Quantity
    in_domain: bool
    reasons: tuple[str, ...]
    residual: dict[str, float]


def prepare(
    axis: npt.ArrayLike,
    intensity: npt.ArrayLike,
    card: ModelCard,
    kind: Literal["two_theta_deg", "q_invA"] = "two_theta_deg",
    wavelength_A: float | None = None,
) -> tuple[npt.NDArray[np.float32], float]:
    """Bring a pattern onto the model's axis.

    A source finer than the model's grid is averaged over the grid's bins (area is kept), a coarser one is
    interpolated linearly; what was not measured stays zero.

    Parameters
    ----------
    axis : array_like, shape (m,)
        Strictly rising or falling 2theta (degrees) or Q (1/angstrom).
    intensity : array_like, shape (m,)
        Intensity per bin of equal exposure (counts, or the mean of an azimuthal average).
    card : ModelCard
        The model's card.
    kind : {'two_theta_deg', 'q_invA'}
        What ``axis`` is.
    wavelength_A : float, optional
        Wavelength of a 2theta axis where it is not the model's; the axis is converted through Q.

    Returns
    -------
    x : ndarray of float32, shape (n,)
        ``sqrt_max``: square roots over their maximum.
    coverage : float
        Share of the model's axis that was measured.

    Raises
    ------
    FrameFailed
        When the pattern is empty, not finite, mostly negative, or does not meet the axis.
    """
    source, y = _checked(axis, intensity)
    source = _to_model_axis(source, card, kind, wavelength_A)
    grid = np.linspace(card.axis.start, card.axis.stop, card.axis.n)
    values, measured = _rebin(source, np.maximum(y, 0.0), grid)
    root = np.sqrt(np.where(measured, values, 0.0))
    highest = float(root.max(initial=0.0))
    if not measured.any():
        raise FrameFailed(
            f"the pattern (2theta {source[0]:.2f} to {source[-1]:.2f} deg) does not meet the model's axis "
            f"({card.axis.start:g} to {card.axis.stop:g}); check the geometry and the wavelength"
        )
    if highest <= 0:
        raise FrameFailed("the pattern is empty on the model's axis: no intensity above zero")
    return np.asarray(root / highest, np.float32), float(measured.mean())


def _checked(axis: npt.ArrayLike, intensity: npt.ArrayLike) -> tuple[Array, Array]:
    """Refuse what is not a pattern; turn a falling axis round."""
    x, y = np.asarray(axis, float), np.asarray(intensity, float)
    if x.ndim != 1 or x.shape != y.shape or x.size < 16:
        raise FrameFailed(
            f"a pattern needs axis and intensity of one length >= 16, got {x.shape} and {y.shape}"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        bad = int((~np.isfinite(x) | ~np.isfinite(y)).sum())
        raise FrameFailed(f"{bad} of {x.size} points of the pattern are not finite; mask or drop them first")
    if x[0] > x[-1]:
        x, y = x[::-1], y[::-1]
    if not (np.diff(x) > 0).all():
        raise FrameFailed("the pattern's axis is not strictly rising or falling")
    peak = float(np.abs(y).max())
    y = y / peak if peak > 0 else y  # sums of saturated counters stay finite
    positive, negative = float(y[y > 0].sum()), float(-y[y < 0].sum())
    if negative > _MAX_NEGATIVE * positive or positive == 0:
        raise FrameFailed(
            f"the pattern is empty or mostly negative (negative points sum to "
            f"{negative / max(positive, 1e-300):.3g} of the positive ones, at most {_MAX_NEGATIVE:g}); "
            "check the dark and background subtraction"
        )
    return x, y


def _to_model_axis(source: Array, card: ModelCard, kind: str, wavelength_A: float | None) -> Array:
    """2theta (degrees) at the model's wavelength; points beyond 180 degrees are left outside the axis."""
    own = card.axis.wavelength_A
    if kind == "q_invA":
        sine = source * (own or 0.0) / (4 * np.pi)
    elif wavelength_A is None or own is None or abs(wavelength_A / own - 1) < 1e-6:
        return source
    else:
        sine = np.sin(np.deg2rad(source) / 2) * own / wavelength_A
    beyond = np.abs(sine) >= 1
    angle = np.rad2deg(2 * np.arcsin(np.clip(sine, -1, 1)))
    return np.where(beyond, 180 + np.abs(sine), angle)


def _rebin(source: Array, y: Array, grid: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Mean intensity in each grid bin, and whether the bin was measured."""
    step = float(grid[1] - grid[0])
    spacing = np.diff(source)
    typical = float(np.median(spacing))
    middle = (source[1:] + source[:-1]) / 2
    edges = np.concatenate([[source[0] - spacing[0] / 2], middle, [source[-1] + spacing[-1] / 2]])
    measured = (grid >= edges[0]) & (grid <= edges[-1])
    after = np.clip(np.searchsorted(source, grid), 1, source.size - 1)
    # a hole in the source (masked bins that were dropped) is not bridged
    measured &= spacing[after - 1] <= 2.5 * max(typical, step)
    if typical >= step:
        return np.interp(grid, source, y), measured
    total = np.concatenate([[0.0], np.cumsum(y * np.diff(edges))])
    low = np.clip(grid - step / 2, edges[0], edges[-1])
    high = np.clip(grid + step / 2, edges[0], edges[-1])
    width = np.maximum(high - low, 1e-12)
    return (np.interp(high, edges, total) - np.interp(low, edges, total)) / width, measured


def interpret(
    outputs: Mapping[str, npt.NDArray[Any]],
    card: ModelCard,
    index: int,
    coverage: float,
    classical: ClassicalFit | None = None,
) -> Answer:
    """Turn one row of the model's raw outputs into an answer.

    Parameters
    ----------
    outputs : mapping of str to ndarray
        Output tensors by name, batch first.
    card : ModelCard
        The model's card (calibration and limits).
    index : int
        Row in the batch.
    coverage : float
        Measured share of the axis, from :func:`prepare`.
    classical : ClassicalFit, optional
        Fit of the same pattern; adds the residual and the comparison to the judgement.

    Returns
    -------
    Answer
        Values are given also where ``in_domain`` is false, for the record.
    """
    width = _widths(outputs, card, index)
    names = (*card.labels, "unknown", "amorphous")
    fractions = outputs["fractions"][index]
    values = [*map(float, fractions), float(outputs["unknown"][index]), float(outputs["amorphous"][index])]
    quantities = {
        name: _quantity(value, float(w), card, name)
        for name, value, w in zip(names, values, width, strict=True)
    }
    residual = _residual(quantities, card, classical)
    reasons = (
        *_network_reasons(quantities, outputs, card, index, coverage),
        *_classical_reasons(residual, card),
    )
    return Answer(
        phases={name: quantities[name] for name in card.labels},
        amorphous=quantities["amorphous"],
        unknown=quantities["unknown"],
        in_domain=not reasons,
        reasons=reasons,
        residual=residual,
    )


def _widths(outputs: Mapping[str, npt.NDArray[Any]], card: ModelCard, index: int) -> Array:
    """Aleatoric plus epistemic width plus floor of the six quantities."""
    return np.asarray(outputs["scale"][index] + outputs["spread"][index] + card.calibration.floor, float)


def _quantity(value: float, width: float, card: ModelCard, name: str) -> Quantity:
    half = card.calibration.q90[name] * width
    interval = (max(0.0, value - half), min(1.0, value + half))
    return Quantity(value, card.calibration.q68[name] * width, interval)


def _residual(
    quantities: Mapping[str, Quantity], card: ModelCard, classical: ClassicalFit | None
) -> dict[str, float]:
    if classical is None:
        return {}
    differences = np.array([abs(classical.fractions[n] - quantities[n].value) for n in card.labels])
    sigmas = [quantities[n].sigma for n in card.labels]
    esds = [classical.esd[n] for n in card.labels]
    return {
        "r_wp": classical.r_wp,
        "chi2_reduced": classical.chi2_reduced,
        "unexplained": classical.unexplained,
        "crystalline": classical.crystalline,
        "difference": float(np.max(differences)),
        "disagreement": float(np.max(disagreement(differences, np.array(sigmas), np.array(esds)))),
    }


def disagreement(difference: Array, sigma: Array, esd: Array) -> Array:
    """Return differences between network and classical fit over their joint uncertainty.

    Parameters
    ----------
    difference, sigma, esd : ndarray
        Absolute difference, network's sigma and fit's standard deviation (shares); two weight per cent
        are added for what both leave out (texture, microabsorption).
    """
    return np.asarray(difference / np.sqrt(0.02**2 + sigma**2 + esd**2))


def _network_reasons(
    quantities: Mapping[str, Quantity],
    outputs: Mapping[str, npt.NDArray[Any]],
    card: ModelCard,
    index: int,
    coverage: float,
) -> list[str]:
    limits = card.calibration.limits
    reasons = []
    if coverage < card.axis.min_coverage:
        reasons.append(f"axis coverage {coverage:.2f} < {card.axis.min_coverage:g}")
    if quantities["unknown"].value > limits["unknown"]:
        reasons.append("unknown material")
    if quantities["amorphous"].value > limits["amorphous"]:
        reasons.append("amorphous only")
    if not float(outputs["distance"][index]) <= limits["distance"]:
        reasons.append("feature distance")
    if float(np.max(outputs["spread"][index][: len(card.labels)])) > limits["spread"]:
        reasons.append("member spread")
    return reasons


def _classical_reasons(residual: Mapping[str, float], card: ModelCard) -> list[str]:
    if not residual:
        return []
    limits = card.calibration.limits
    reasons = []
    if residual["unexplained"] > limits["residual"]:
        reasons.append("residual")
    # NaN (no known phase found at all) must count as disagreement
    if not residual["disagreement"] <= limits["disagreement"]:
        reasons.append("disagrees with classical fit")
    return reasons
