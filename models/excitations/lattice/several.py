"""Neutron scattering by two and more phonons at once, incoherently, and how it changes with the phonons."""

from __future__ import annotations

from math import factorial

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.lattice.density import KELVIN_MEV, Density

from streamproc.compiling import machine_code

__all__ = ["several_phonons", "several_slopes"]

Array = npt.NDArray[np.float64]

_SMALLEST_MEV = 0.3
"""Modes below count as elastic."""

_NOTHING = 1e-15
"""Share of a distribution's highest value below which its ends are left out."""


def several_phonons(
    density: Density, u2_A2: float, temperature_K: float, energy_meV: Array, q_invA: Array, most: int = 5
) -> Array:
    """Return S(Q, E) of two to ``most`` phonons, incoherent approximation, shape (q, k), per meV and atom.

    S_n = exp(-2W) (2W)^n / n! F_n with F_n the n-fold convolution of g(E) (n(E) + 1) / E made a probability
    and 2W = Q^2 <u^2> (Sjoelander 1958, Ark. Fys. 14, 315).
    """
    axis, step = _axis_of(density, energy_meV)
    raw = _both_sides(density.states, axis, KELVIN_MEV * max(temperature_K, 1e-3))
    found = _read(_repeated(raw / (raw.sum() * step), step, most), axis, np.asarray(energy_meV, float))
    return np.asarray(_shares(q_invA, u2_A2, most) @ found)


def several_slopes(
    density: Density, change: Array, u2_A2: float, u2_change: Array, temperature_K: float,
    energy_meV: Array, q_invA: Array, most: int = 5,
) -> Array:  # fmt: skip
    """Return how :func:`several_phonons` changes with p numbers, shape (p, q, k).

    Parameters
    ----------
    density, u2_A2, temperature_K, energy_meV, q_invA, most
        See there.
    change, u2_change : ndarray, shapes (p, f) and (p,)
        Slopes of the density's states and of the mean square displacement.
    """
    axis, step = _axis_of(density, energy_meV)
    kT, energy = KELVIN_MEV * max(temperature_K, 1e-3), np.asarray(energy_meV, float)
    raw = _both_sides(density.states, axis, kT)
    whole = raw.sum() * step
    one = raw / whole
    moved = np.stack([_both_sides(c, axis, kT) for c in change]) / whole
    moved -= moved.sum(1)[:, None] * step * one
    curves, number = _repeated(one, step, most), np.arange(2, most + 1)
    found = _read(curves, axis, energy)
    # d F_n = n F_(n-1) * d F_1, at the channels only
    size = np.abs(moved).max(0)
    there = np.flatnonzero(size > _NOTHING * size.max())
    apart = (energy[:, None] - axis[there]).ravel()
    before = _read(np.concatenate([one[None], curves[:-1]]), axis, apart)
    before = before.reshape(most - 1, len(energy), -1)
    each = number[:, None] * step * np.tensordot(moved[:, there], before, (1, 2))
    share = _shares(q_invA, u2_A2, most)
    # of (2W)^n exp(-2W) with 2W, times Q^2
    with_u2 = share * (number / (q_invA**2 * u2_A2)[:, None] - 1) * (q_invA**2)[:, None]
    return np.asarray(share @ each + np.multiply.outer(u2_change, with_u2 @ found))


def _shares(q_invA: Array, u2_A2: float, most: int) -> Array:
    """exp(-2W) (2W)^n / n! for n from 2 on, shape (q, most - 1)."""
    number, twice_w = np.arange(2, most + 1), (q_invA**2 * u2_A2)[:, None]
    return np.asarray(np.exp(-twice_w) * twice_w**number / [factorial(n) for n in range(2, most + 1)])


def _axis_of(density: Density, energy_meV: Array) -> tuple[Array, float]:
    """An even axis with zero in its middle that holds channels and two phonons, and its step."""
    step = float(density.energy_meV[1] - density.energy_meV[0])
    end = max(float(np.abs(energy_meV).max()), 2 * float(density.energy_meV[-1]))
    reach = int(np.ceil(end / step))
    return step * np.arange(-reach, reach + 1), step


@machine_code(error_model="numpy")
def _both_sides(states: Array, axis: Array, kT: float) -> Array:
    """States, given from zero on, times (n + 1) / E above zero and n / E below; none near it."""
    found, middle = np.zeros(axis.size), axis.size // 2
    for k in range(1, min(states.size, middle + 1)):
        energy = axis[middle + k]
        if energy >= _SMALLEST_MEV:
            taken = 1.0 / np.expm1(energy / kT)
            found[middle + k] = states[k] / energy * (taken + 1.0)
            found[middle - k] = states[k] / energy * taken
    return found


@machine_code(error_model="numpy")
def _read(curves: Array, axis: Array, energy: Array) -> Array:
    """Read all curves but the first at some energies, nothing beyond their ends, shape (most - 1, k)."""
    found, step = np.zeros((len(curves) - 1, energy.size)), axis[1] - axis[0]
    for k in range(energy.size):
        at = (energy[k] - axis[0]) / step
        if at < 0.0 or at > axis.size - 1:
            continue
        left = min(int(at), axis.size - 2)
        for n in range(len(found)):
            low, high = curves[n + 1, left], curves[n + 1, left + 1]
            found[n, k] = low + (at - left) * (high - low)
    return found


@machine_code(error_model="numpy", fastmath={"contract"})
def _repeated(one: Array, step: float, most: int) -> Array:
    """Return a distribution, and convolved with itself to 2, 3 ... fold, shape (most, f).

    Its axis is even and has zero in the middle; what would lie beyond its ends is left out.
    """
    size, middle = one.size, one.size // 2
    there = np.flatnonzero(one > _NOTHING * one.max())  # a cold lattice gives hardly anything away
    low, high = there[0], there[-1]
    first, last, found = low, high, np.zeros((most, size))
    found[0] = one
    for n in range(1, most):
        for k in range(low, high + 1):
            begin, end = max(0, first + k - middle), min(size - 1, last + k - middle)
            amount, to, of = one[k] * step, found[n, begin : end + 1], found[n - 1, begin + middle - k :]
            for j in range(to.size):
                to[j] += amount * of[j]
        first, last = max(0, first + low - middle), min(size - 1, last + high - middle)
    return found
