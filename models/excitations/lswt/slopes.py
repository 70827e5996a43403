"""How magnons, laid on a grid of energies, change with the couplings: perturbation theory of bosons.

With h T = g T W for all modes (those created at -q have g = -1 and W = -w) a change dh moves the energy of
a mode by V_ii, V = T^+ dh T, and mixes g_j V_ji / (W_i - W_j) of every other mode into it. What modes i and j
that are both created at q take from each other is the divided difference of what they are laid with
(Daleckii & Krein 1965), which has a limit where their energies are alike: there each of them has no slope of
its own, but what is laid has.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.lswt.bogoliubov import Magnons, diagonalise

from streamproc.compiling import machine_code

__all__ = ["laid_slopes", "pairs_of"]

Array = npt.NDArray[np.float64]
Either = npt.NDArray[np.inexact]

_ALIKE = 1e-8
"""Energies nearer than this, over the band's, are alike."""

_SOFT = 1e-3
"""Modes below this, over the band's energy, are left out: slopes of a Goldstone mode are all digits lost,
and no instrument sees it at zero energy."""


def pairs_of(h: Either, found: Magnons, q_rlu: Array) -> Magnons:
    """Return magnons of -q for h(q) and its own magnons, with b_q and b^+_-q exchanged as h(q) has them.

    Parameters
    ----------
    h : ndarray, shape (m, 2 n, 2 n)
        Hermitian matrices at q.
    found : Magnons
        Of them; returned themselves where -q has the same.
    q_rlu : ndarray, shape (m, 3)
        Wave vectors, for an error's text.
    """
    n = h.shape[1] // 2
    turned = np.roll(h, (n, n), (1, 2)).conj()
    other = found if np.array_equal(turned, h) else diagonalise(turned, -q_rlu)
    return Magnons(other.energy_meV, np.roll(other.amplitudes, n, 1).conj())


@machine_code(error_model="numpy")
def laid_slopes(
    energy: Array, back: Array, modes: Either, pairs: Either, moved: Either,
    weights: npt.NDArray[np.complex128], direction: Array, step: float, points: int, columns: int,
) -> Array:  # fmt: skip
    """Return how intensities laid on a grid (each shared between two neighbours) change with p numbers.

    Parameters
    ----------
    energy, back : ndarray, shape (m, n)
        Energies of the magnons of q, and of those of -q.
    modes, pairs : ndarray, shape (m, 2 n, n)
        Their amplitudes, as :func:`pairs_of` has the latter.
    moved : ndarray, shape (p, m, 2 n, 2 n)
        Slopes of h.
    weights, direction : ndarray, shapes (m or 1, 3, 2 n) and (m, 3)
        See :class:`~...intensity.Observer`.
    step : float
        The grid begins at 0.
    points, columns : int
        Its points f, and columns c: the first m / c wave vectors are of the first one.

    Returns
    -------
    ndarray, shape (p, c, f)
    """
    p, m, size = moved.shape[0], moved.shape[1], moved.shape[2]
    n, per = size // 2, m // columns
    found = np.zeros((p, columns, points))
    moment, along = np.empty((3, size), np.complex128), np.empty(size, np.complex128)
    seen = np.empty((n, size), np.complex128)
    # all three real, or none
    nothing, turned = 0.0 * modes[0, 0, 0], np.empty_like(pairs[0, :, 0])
    left, share = np.empty(n, np.int64), np.empty(n)
    unit = energy.max()
    alike, soft = _ALIKE * unit, _SOFT * unit
    for k in range(m):
        column, own = k // per, weights[k if len(weights) > 1 else 0]
        for j in range(size):
            along[j] = 0.0
            for c in range(3):
                total = 0j
                for s in range(size):
                    total += own[c, s] * (modes[k, s, j] if j < n else pairs[k, s, j - n])
                moment[c, j] = total
                along[j] += direction[k, c] * total
        for i in range(n):
            place = energy[k, i] / step
            left[i] = min(int(place), points - 2)
            share[i] = place - left[i]
            if place > points - 1 or energy[k, i] < soft:
                left[i] = -1
            for j in range(size):
                total = -along[i].conjugate() * along[j]
                for c in range(3):
                    total += moment[c, i].conjugate() * moment[c, j]
                seen[i, j] = total
        for f in range(p):
            rows = found[f, column]
            for i in range(n):
                for s in range(size):
                    mixed = nothing
                    for r in range(size):
                        mixed += moved[f, k, s, r] * modes[k, r, i]
                    turned[s] = mixed
                at, up = left[i], share[i]
                amount, change = 0.0, 0.0
                for j in range(size):
                    mixed = nothing
                    for s in range(size):
                        other = modes[k, s, j] if j < n else pairs[k, s, j - n]
                        mixed += np.conj(other) * turned[s]
                    both = (seen[i, j] * mixed).real
                    if j >= n:
                        amount -= 2.0 * both / (energy[k, i] + back[k, j - n])
                    elif abs(energy[k, i] - energy[k, j]) <= alike:
                        # itself, and half of what a pair leaves at each of the two
                        change += both / step
                    else:
                        amount += 2.0 * both / (energy[k, i] - energy[k, j])
                if at >= 0:
                    rows[at] += amount * (1.0 - up) - change
                    rows[at + 1] += amount * up + change
    return found
