"""One factorisation: patterns = activations x components, each moved a little in each pattern."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from streamproc.models.unmixing.kernels import fit_activations, update_components

__all__ = ["Factors", "Options", "activations_of", "factorise"]

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_PULL = 0.02
"""Share of a pattern's squared length that a shift to the end of its reach has to gain."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a factorisation may assume.

    Attributes
    ----------
    reach : int
        Largest shift of a component (channels); 0: none.
    iterations : int
        Rounds of activations and components.
    smoothness : float
        How strongly activations are drawn to the mean of their neighbours on the map (0: not; 1: as by one
        more measurement).
    sum_weight : float
        How strongly the activations of a pattern (of unit area) are drawn to the sum 1; 0: not.
    """

    reach: int = 8
    iterations: int = 24
    smoothness: float = 0.0
    sum_weight: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """Result of a factorisation.

    Attributes
    ----------
    components : ndarray, shape (k, n)
        Each of unit area.
    activations : ndarray, shape (m, k)
        Area that each component has in each pattern.
    shifts : ndarray of int, shape (m, k)
        Channels by which it lies higher there.
    left : ndarray, shape (m,)
        Squared length of what is left over of each pattern.
    """

    components: Array
    activations: Array
    shifts: Ints
    left: Array


def factorise(
    patterns: Array, k: int, random: np.random.Generator, options: Options, *,
    start: Array | None = None, weight: Array | None = None, neighbours: Ints | None = None,
) -> Factors:  # fmt: skip
    """Factorise patterns into ``k`` components.

    Parameters
    ----------
    patterns : ndarray, shape (m, n)
        Not negative, floor subtracted.
    k : int
        Number of components.
    random : numpy.random.Generator
        Chooses the patterns that the search starts from.
    options : Options
        Shifts and constraints.
    start : ndarray, shape (k0, n), optional
        Components to begin with (k0 <= k).
    weight : ndarray, shape (m,), optional
        Weight of each pattern.
    neighbours : ndarray of int, shape (m, l), optional
        Nearest patterns on the map, for the smoothness.

    Returns
    -------
    Factors
        With ``k`` components.
    """
    weight = np.ones(len(patterns)) if weight is None else weight
    components = _first_components(patterns, k, random, options, start, weight)
    activations, shifts = np.zeros((len(patterns), k)), np.zeros((len(patterns), k), np.int64)
    left = np.zeros(len(patterns))
    for n in range(options.iterations):
        wide = n in (0, 1, 2, 5, 9, 14) or n == options.iterations - 1
        near = 2 * options.reach if wide else min(1, options.reach)
        left = _fit(patterns, components, activations, shifts, options, near, 2, neighbours)
        update_components(patterns, components, activations, shifts, weight)
        _centre(components, activations, shifts)
    left = _fit(patterns, components, activations, shifts, options, 2 * options.reach, 6, neighbours)
    return Factors(components, activations, shifts, left)


def activations_of(
    patterns: Array, components: Array, options: Options, sweeps: int = 12
) -> tuple[Array, Ints, Array]:
    """Return activations, shifts and the squared length left over of patterns, for given components."""
    activations = np.zeros((len(patterns), len(components)))
    shifts = np.zeros(activations.shape, np.int64)
    left = _fit(patterns, components, activations, shifts, options, 2 * options.reach, sweeps, None)
    return activations, shifts, left


def _fit(
    patterns: Array, components: Array, activations: Array, shifts: Ints, options: Options, near: int,
    sweeps: int, neighbours: Ints | None,
) -> Array:  # fmt: skip
    target, stiffness = np.zeros_like(activations), 0.0
    if neighbours is not None and options.smoothness > 0:
        target, stiffness = activations[neighbours].mean(axis=1), options.smoothness
    # the weight of the sum is meant for components of the squared length that these have
    hard = options.sum_weight * float(np.mean((components**2).sum(axis=1)))
    pull = _PULL / max(options.reach, 1) ** 2
    return fit_activations(
        patterns, components, activations, shifts, options.reach, near, pull, sweeps, target, stiffness,
        1.0, hard
    )  # fmt: skip


def _first_components(
    patterns: Array, k: int, random: np.random.Generator, options: Options, start: Array | None, weight: Array
) -> Array:
    """Patterns that the components so far explain worst, drawn at random by how badly they are explained."""
    chosen = [] if start is None else list(start[:k])
    left = weight * (patterns**2).sum(axis=1)
    if chosen:
        left = weight * activations_of(patterns, np.array(chosen), options, 3)[2]
    while len(chosen) < k:
        odds = left**2
        odds = odds / odds.sum() if odds.sum() > 0 else np.full(len(patterns), 1 / len(patterns))
        row = patterns[int(random.choice(len(patterns), p=odds))]
        area = row.sum()
        chosen.append(row / area if area > 0 else np.full(row.size, 1 / row.size))
        left = weight * activations_of(patterns, np.array(chosen), options, 3)[2]
    return np.ascontiguousarray(np.array(chosen, float))


def _centre(components: Array, activations: Array, shifts: Ints) -> None:
    """Fix what the factors leave open: unit area, and shifts around zero."""
    for j in range(len(components)):
        active = activations[:, j] > 0
        if active.any():
            middle = round(float(np.average(shifts[active, j], weights=activations[active, j])))
            if middle:
                moved = np.zeros_like(components[j])
                low, high = max(middle, 0), moved.size + min(middle, 0)
                moved[low:high] = components[j, low - middle : high - middle]
                if moved.sum() > 0.9 * components[j].sum():  # not out of the window
                    components[j] = moved
                    shifts[:, j] -= middle
        area = components[j].sum()
        if area > 0:
            components[j] /= area
            activations[:, j] *= area
