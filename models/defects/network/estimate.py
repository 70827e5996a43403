"""What a defect model's outputs say: values with intervals, whether to trust them, and flags (numpy only)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.errors import ConfigurationError
from streamproc.inference.card import ModelCard

__all__ = ["DefectReading", "Estimate", "estimate_names", "flags", "lower_is_worse", "read_defects"]

_NAMES = {
    "ln_density": "density_per_m2",
    "ln_size": "size_nm",
    "ln_microstrain": "microstrain",
    "ln_march": "march_r",
    "static_b": "static_b_A2",
    "ln_spottiness": "spottiness",
    "ln_spots": "spots",
}
"""Quantities whose logarithm the network gives, or whose unit is told."""

_NEVER_NEGATIVE = ("deformation", "growth", "amorphous", "static_b", "texture")
_ONE_SIDED = (0.84, 0.95)


@dataclass(frozen=True, slots=True)
class Estimate:
    """One quantity.

    Attributes
    ----------
    value, sigma : float
        Best value and half the 68 % interval (of a logarithmic quantity: of the value, for small ones).
    low, high : float
        90 % interval.
    low68, high68 : float
        Ends of the 68 % interval: the value lies above the first with 84 %, below the second with 84 %.
    plain : float
        What is compared over a scan: the logarithm where the network gives one, never clipped at zero.
    plain_sigma : float
        Half the 68 % interval of ``plain``.
    logarithmic : bool
        Whether ``plain`` is a logarithm.
    says_something : bool
        Whether the interval is clearly narrower than what training drew.
    """

    value: float
    sigma: float
    low: float
    high: float
    low68: float
    high68: float
    plain: float
    plain_sigma: float
    logarithmic: bool
    says_something: bool

    def in_units(self, plain: float) -> float:
        """Return a value such as ``plain`` in the unit of ``value``."""
        return float(np.exp(plain)) if self.logarithmic else plain


@dataclass(frozen=True, slots=True)
class DefectReading:
    """Everything a model says of one pattern.

    Attributes
    ----------
    estimates : mapping of str to Estimate
        By name: ``density_per_m2``, ``size_nm``, ``microstrain``, ``q``, ``static_b_A2``, ``march_r``,
        ``deformation``,
        ``growth``, ``amorphous``.
    in_domain : bool
        Whether the pattern looks like those of the training.
    reasons : tuple of str
        Why not.
    """

    estimates: Mapping[str, Estimate]
    in_domain: bool
    reasons: tuple[str, ...]


def read_defects(outputs: Mapping[str, npt.NDArray[Any]], card: ModelCard) -> DefectReading:
    """Put the outputs for one pattern into words.

    Parameters
    ----------
    outputs : mapping of str to ndarray
        ``values``, ``scale``, ``spread`` (shape (k,)) and ``distance``.
    card : ModelCard
        The model's.
    """
    estimates = {}
    reasons = []
    for k, name in enumerate(card.labels):
        value, width = float(outputs["values"][k]), float(outputs["scale"][k] + outputs["spread"][k])
        half68, half90 = (q[name] * width for q in (card.calibration.q68, card.calibration.q90))
        said = half68 < 0.7 * card.calibration.prior_sigma.get(name, np.inf)
        estimates[_NAMES.get(name, name)] = _estimate(name, value, half68, half90, said)
    away, limit = float(outputs["distance"]), card.calibration.limits["distance"]
    if not away <= limit:
        reasons.append(f"unlike the training patterns: distance {away:.2f}, limit {limit:.2f}")
    reasons += _beyond(estimates, card)
    return DefectReading(estimates, not reasons, tuple(reasons))


def _estimate(name: str, value: float, half68: float, half90: float, said: bool) -> Estimate:
    ends = [value - half90, value + half90, value - half68, value + half68]
    if name.startswith("ln_"):
        best = float(np.exp(value))
        return Estimate(best, best * half68, *(float(np.exp(e)) for e in ends), value, half68, True, said)
    best = max(value, 0.0) if name in _NEVER_NEGATIVE else value
    if name in _NEVER_NEGATIVE:
        ends = [max(e, 0.0) for e in ends]
    return Estimate(best, half68, *ends, value, half68, False, said)


def _beyond(estimates: Mapping[str, Estimate], card: ModelCard) -> list[str]:
    """Estimates whose 90 % interval lies wholly outside what the training covered."""
    out = []
    for name, estimate in estimates.items():
        both = card.valid_domain.get(name)
        if not isinstance(both, tuple):
            continue
        if estimate.low > both[1] or estimate.high < both[0]:
            span = f"trained {both[0]:g} to {both[1]:g}"
            out.append(f"outside-training-range: {name} = {estimate.value:.3g}, {span}")
    return out


def lower_is_worse(name: str, limit: float) -> bool:
    """Return whether a quantity is flagged below its limit: small crystallites, few grains, March r < 1."""
    return name in ("size_nm", "spots", "grains") or (name == "march_r" and limit < 1)


def flags(reading: DefectReading, limits: Mapping[str, float], confidence: float = 0.95) -> dict[str, bool]:
    """Return which quantities are beyond a limit with a confidence; none out of domain.

    Beyond is above, but below for ``size_nm``, and for ``march_r`` where its limit is below 1.

    Parameters
    ----------
    reading : DefectReading
        What the model says.
    limits : mapping of str to float
        Limit by name of the estimate.
    confidence : {0.95, 0.84}
        One-sided confidence.

    Raises
    ------
    ConfigurationError
        When a name is not estimated, or the confidence is another.
    """
    if confidence not in _ONE_SIDED:
        raise ConfigurationError(f"confidence must be one of {sorted(_ONE_SIDED)}, got {confidence:g}")
    unknown = [name for name in limits if name not in reading.estimates]
    if unknown:
        raise ConfigurationError(
            f"no defect estimate is called {', '.join(unknown)}; there are {', '.join(reading.estimates)}"
        )

    def beyond(name: str, limit: float) -> bool:
        e = reading.estimates[name]
        low, high = (e.low, e.high) if confidence == 0.95 else (e.low68, e.high68)
        return high < limit if lower_is_worse(name, limit) else low > limit

    return {name: reading.in_domain and beyond(name, limit) for name, limit in limits.items()}


def estimate_names(card: ModelCard) -> tuple[str, ...]:
    """Return the names of a model's estimates, in the order of its outputs."""
    return tuple(_NAMES.get(name, name) for name in card.labels)
