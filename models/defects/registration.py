"""Lines brought to where the model's material has them: lattice strain and zero shift of a pattern.

A network reads defects a little differently when lines move, and in a loaded, heated or displaced specimen
they
move steadily: that would look like a trend. So every pattern is read with its lines in one place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from streamproc.models.defects.evidence import count_scale
from streamproc.models.defects.pattern import family_patterns
from streamproc.models.defects.reference import Reference
from streamproc.models.defects.state import DefectState

__all__ = ["Registered", "Registration"]

Array = npt.NDArray[np.float64]

_MOST_STRAIN, _STRAIN_STEP = 6e-3, 2e-4
_HALF_DEG = 0.75
_ROUNDS = 4
_LEAST_LINES = 3
_MOST_ZERO_DEG = 0.3
_CLEAR = 5.0
_USUAL_STRAIN, _USUAL_ZERO_DEG = 3e-3, 0.03
_CUT_DEG, _BROAD_DEG = 0.03, 0.25
_FINE = 0.75
_USUAL = DefectState(density_per_m2=3e14, arrangement=1.5, size_nm=80.0)


@dataclass(frozen=True, slots=True)
class Registered:
    """Where the lines of a pattern are.

    Attributes
    ----------
    strain : float
        Of the lattice, against the cell that the model was trained for.
    zero_deg : float
        Shift of all lines alike (degrees 2theta).
    lines : int
        Lines that say so; 0: too few to say, and both numbers are 0.
    """

    strain: float
    zero_deg: float
    lines: int

    def shift(self, two_theta_deg: Array) -> Array:
        """Return by how much lines stand above their places (degrees 2theta)."""
        return self.zero_deg + self.strain * _slope(two_theta_deg)


class Registration:
    """Finds the lines of one material.

    Parameters
    ----------
    reference : Reference
        Of the model's card.
    two_theta_deg : ndarray, shape (n,)
        The model's axis, evenly spaced.
    """

    def __init__(self, reference: Reference, two_theta_deg: Array) -> None:
        self._axis = two_theta_deg
        material, optics = reference.material, reference.instrument
        sine = material.norm / material.a_nm * optics.wavelength_A / 20
        places = np.unique(np.round(np.rad2deg(2 * np.arcsin(np.minimum(sine, 1.0))), 4))
        apart = np.array([np.abs(np.delete(places, k) - p).min(initial=180.0) for k, p in enumerate(places)])
        inside = (places > two_theta_deg[0] + 2 * _HALF_DEG) & (places < two_theta_deg[-1] - 2 * _HALF_DEG)
        self._places = places[inside & (apart > 2 * _HALF_DEG)]
        shapes = family_patterns(two_theta_deg, material, optics, _USUAL)[1]
        # of a perfect instrument's pattern the same centres are taken: K-alpha2 and tails drop out
        self._own = self._centres(shapes.sum(0), self._places)[0]

    def find(self, intensity: Array) -> Registered:
        """Return strain and zero of a pattern on the model's axis (any scale)."""
        if len(self._places) < _LEAST_LINES:
            return Registered(0.0, 0.0, 0)
        strain, zero, seen = self._coarse(intensity), 0.0, np.zeros(0, bool)
        slope, scale = _slope(self._places), count_scale(intensity)
        for _ in range(_ROUNDS):
            found, sigma = self._centres(intensity, self._places + zero + strain * slope, scale)
            seen = np.isfinite(sigma)
            if seen.sum() < _LEAST_LINES:
                return Registered(0.0, 0.0, 0)
            rows = np.stack([slope[seen], np.ones(seen.sum())], 1) / sigma[seen, None]
            aim = (found - self._own)[seen] / sigma[seen]
            # what is usual: broad lines say little, and must not trade a strain for a zero
            matrix = np.concatenate([rows, np.diag([1 / _USUAL_STRAIN, 1 / _USUAL_ZERO_DEG])])
            strain, zero = np.linalg.lstsq(matrix, np.append(aim, [0.0, 0.0]), rcond=None)[0]
        if abs(strain) > _MOST_STRAIN or abs(zero) > _MOST_ZERO_DEG:
            return Registered(0.0, 0.0, 0)
        return Registered(float(strain), float(zero), int(seen.sum()))

    def moved(self, lines: Registered, two_theta_deg: Array) -> Array:
        """Return an axis on which the lines are where the model's material has them.

        A pattern hardly finer than the model's axis stays where it is: lines as sharp as its steps cannot be
        drawn
        anywhere else without blurring them, and the model was trained for lines at any place between two
        steps.

        Parameters
        ----------
        lines : Registered
            Where they are.
        two_theta_deg : ndarray, shape (m,)
            The pattern's axis, rising.
        """
        step = float(self._axis[1] - self._axis[0])
        if not lines.lines or float(np.median(np.diff(two_theta_deg))) > _FINE * step:
            return two_theta_deg
        return two_theta_deg - lines.shift(two_theta_deg) * self._share(lines, two_theta_deg)

    def _share(self, lines: Registered, x: Array) -> Array:
        """Share of the shift at each point: less beyond the outermost lines, where the axis would lose its
        end."""
        shift = lines.shift(x[[0, -1]])
        share = np.ones(x.size)
        high, low = self._places[-1] + _HALF_DEG, self._places[0] - _HALF_DEG
        for end, place, sign in ((-1, high, 1.0), (0, low, -1.0)):
            inwards = sign * float(shift[end])
            room, length = sign * float(x[end] - self._axis[end]), sign * float(x[end] - place)
            if inwards > max(room, 0.0) and length > 2 * inwards:
                kept = max(room, 0.0) / inwards
                share = np.minimum(share, 1 - (1 - kept) * np.clip(sign * (x - place) / length, 0, 1))
        return share

    def _coarse(self, y: Array) -> float:
        """The strain whose lines hold the most intensity above their surroundings."""
        steps = np.arange(-_MOST_STRAIN, _MOST_STRAIN + _STRAIN_STEP / 2, _STRAIN_STEP)
        at = self._places + steps[:, None] * _slope(self._places)
        root = np.sqrt(np.maximum(y, 0))  # no line alone decides
        return float(steps[int(np.argmax(np.interp(at, self._axis, root).sum(1)))])

    def _centres(self, y: Array, places: Array, scale: float = 0.0) -> tuple[Array, Array]:
        """Centre of each line in a window about its place, and its sigma (degrees; infinite: no clear
        line)."""
        step = float(self._axis[1] - self._axis[0])
        half = max(round(_HALF_DEG / step), 3)
        middle = np.clip(
            np.rint((places - self._axis[0]) / step).astype(int), half, self._axis.size - half - 1
        )
        rows = middle[:, None] + np.arange(-half, half + 1)
        x, part = self._axis[rows], y[rows]
        floor = 0.5 * (part[:, :3].mean(1) + part[:, -3:].mean(1))
        # a window with soft ends that sits on the place itself, not on the nearest channel
        window = np.clip(1 - ((x - places[:, None]) / _HALF_DEG) ** 2, 0, None)
        net = np.maximum(part - floor[:, None], 0) * window
        total = net.sum(1)
        centre = np.where(total > 0, (net * x).sum(1) / np.maximum(total, 1e-300), places)
        safe = np.maximum(total, 1e-300)
        noise = np.sqrt(scale * (np.maximum(part, 0) * window**2).sum(1)) / safe
        width = np.sqrt((net * (x - centre[:, None]) ** 2).sum(1) / safe)
        # the window cuts broad lines off, and not evenly
        sigma = np.hypot(width * noise, _CUT_DEG * (width / _BROAD_DEG) ** 4 + 1e-3)
        return centre, np.where((total > 0) & (noise < 1 / _CLEAR), sigma, np.inf)


def _slope(two_theta_deg: Array) -> Array:
    """How far a line moves for unit strain (degrees 2theta)."""
    return np.asarray(-2 * np.rad2deg(np.tan(np.deg2rad(two_theta_deg) / 2)))
