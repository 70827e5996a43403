"""Basis: the components of now, with identities that last, and how a pattern is read by them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from streamproc.models.unmixing.factorise import Options, activations_of
from streamproc.models.unmixing.number import likeness

__all__ = ["Basis", "Unmixed"]

Array = npt.NDArray[np.float64]

_SAME = 0.7
"""A component as like an earlier one keeps its identity."""


@dataclass(frozen=True, slots=True, eq=False)
class Unmixed:
    """What is known of one pattern, by the components of now.

    Attributes
    ----------
    activations, sigma : ndarray, shape (k,)
        Peak area of each component in the pattern, in its unit, and standard uncertainty.
    shifts : ndarray, shape (k,)
        Channels by which the component lies higher here than at first.
    residual : float
        Share of the squared pattern (floor subtracted) that is left over; 1 before there are components.
    """

    activations: Array
    sigma: Array
    shifts: Array
    residual: float

    @property
    def fractions(self) -> Array:
        """Activations over their sum, shape (k,)."""
        return np.asarray(self.activations / max(float(self.activations.sum()), 1e-300))

    @property
    def fraction_sigma(self) -> Array:
        """Standard uncertainty of the fractions, shape (k,): propagated, components independent."""
        f, total = self.fractions, max(float(self.activations.sum()), 1e-300)
        variance = (self.sigma / total) ** 2
        own = (1 - f) ** 2 * variance
        return np.sqrt(own + f**2 * (variance.sum() - variance))


@dataclass(frozen=True, slots=True, eq=False)
class Basis:
    """Components and what goes with them.

    Attributes
    ----------
    components : ndarray, shape (k, n)
        Of unit area.
    identities : tuple of int
        A number from 1 for each, rising; kept as long as a component is like the one before.
    offsets : ndarray of int, shape (k,)
        Channels by which each component now lies higher than when its identity began.
    spread : ndarray, shape (k,)
        Disagreement of repeated factorisations in an activation, for a pattern of unit size.
    unit : float
        Median size of a pattern; weaker ones are not known better.
    """

    components: Array
    identities: tuple[int, ...]
    offsets: npt.NDArray[np.int64]
    spread: Array
    unit: float

    @classmethod
    def empty(cls, channels: int) -> Basis:
        """Return the basis before the first estimate."""
        return cls(np.zeros((0, channels)), (), np.zeros(0, np.int64), np.zeros(0), 0.0)

    def succeeded(self, components: Array, spread: Array, unit: float, options: Options, most: int) -> Basis:
        """Return the basis of new components; those like one of this keep its identity and reference.

        Parameters
        ----------
        components, spread, unit
            Of the new basis.
        options : Options
            How far components may lie apart.
        most : int
            Largest identity.
        """
        k = len(components)
        ids, offsets = [0] * k, np.zeros(k, np.int64)
        if len(self.components):
            alike = likeness(components, self.components, options.reach)
            for new, old in zip(*linear_sum_assignment(-alike), strict=True):
                if alike[new, old] >= _SAME:
                    ids[new] = self.identities[old]
                    offsets[new] = self.offsets[old] + _lag(
                        components[new], self.components[old], options.reach
                    )
        free = (n for n in range(1, most + 1) if n not in ids)
        ids = [own or next(free) for own in ids]
        order = np.argsort(ids, kind="stable")
        return Basis(
            np.ascontiguousarray(components[order]),
            tuple(ids[i] for i in order),
            offsets[order],
            spread[order],
            unit,
        )

    def read(self, y: Array, options: Options) -> Unmixed:
        """Return what a pattern (floor subtracted) holds."""
        size, k = float(y @ y), len(self.components)
        if k == 0 or size == 0:
            return Unmixed(np.zeros(k), np.zeros(k), np.zeros(k), 1.0)
        activations, lags, left = activations_of(y[None], self.components, options)
        moved = np.stack([_moved(c, int(s)) for c, s in zip(self.components, lags[0], strict=True)])
        rest = y - activations[0] @ moved
        sigma = self._sigma(y, rest, moved, options)
        exact = np.array([
            lag + _fraction(rest + a * own, component, int(lag))
            for a, lag, own, component in zip(activations[0], lags[0], moved, self.components, strict=True)
        ])  # fmt: skip
        return Unmixed(activations[0], sigma, exact + self.offsets, float(left[0]) / size)

    def _sigma(self, y: Array, rest: Array, moved: Array, options: Options) -> Array:
        """From what is left over, with its correlation, and from the disagreement of the factorisations."""
        variance = float(rest @ rest) / max(y.size - len(moved), 1)
        near = float(rest[1:] @ rest[:-1]) / max(float(rest @ rest), 1e-300)
        near = min(max(near, 0.0), 0.9)
        gram = moved @ moved.T
        gram[np.diag_indices_from(gram)] *= 1 + 1e-9
        own = variance * (1 + near) / (1 - near) * np.diag(np.linalg.pinv(gram))
        scale = 1.0 if options.sum_weight else float(np.sqrt(y @ y + self.unit**2 / 2))
        return np.sqrt(np.maximum(own, 0.0) + (self.spread * scale) ** 2)

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values (msgpack-able)."""
        return {
            "components": self.components.astype("<f8").tobytes(), "identities": list(self.identities),
            "offsets": [int(o) for o in self.offsets], "spread": [float(v) for v in self.spread],
            "unit": self.unit,
        }  # fmt: skip

    @classmethod
    def restored(cls, state: Mapping[str, Any], channels: int) -> Basis:
        """Return what :meth:`snapshot` gave."""
        return cls(
            np.frombuffer(state["components"], "<f8").reshape(-1, channels).copy(),
            tuple(int(i) for i in state["identities"]),
            np.array(state["offsets"], np.int64),
            np.array(state["spread"], float),
            float(state["unit"]),
        )


def _moved(component: Array, lag: int) -> Array:
    out = np.zeros_like(component)
    low, high = max(lag, 0), out.size + min(lag, 0)
    out[low:high] = component[low - lag : high - lag]
    return out


def _lag(a: Array, b: Array, reach: int) -> int:
    """Channels by which ``a`` lies higher than ``b``."""
    lags = range(-reach, reach + 1)
    return max(lags, key=lambda lag: (float(a @ _moved(b, lag)), -abs(lag)))


def _fraction(y: Array, component: Array, lag: int) -> float:
    """Part of a channel by which the component lies higher in ``y`` than ``lag``: parabola through three."""
    below, here, above = (float(y @ _moved(component, lag + step)) for step in (-1, 0, 1))
    bend = below - 2 * here + above
    return float(np.clip(0.5 * (below - above) / bend, -0.5, 0.5)) if bend < 0 else 0.0
