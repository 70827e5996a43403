"""Stacking with faults as a Markov chain of layers: correlation of layer positions by a transfer matrix.

A close-packed layer sits on A, B or C; each step to the next layer is +1 or -1 (modulo 3). An orientation o
of +1 or -1 says which step is expected. For each layer, in this order:

- growth (twin) fault: in fcc the orientation is kept, and reversed with probability ``growth``; in hcp it is
  reversed, and kept with probability ``growth``. So hcp is fcc with a twin at every layer, and one matrix
  serves.
- deformation (intrinsic) fault, probability ``deformation``: the step is -o; the orientation stays.
- extrinsic fault, probability ``extrinsic``: this step and the next one are -o: one layer is inserted.

On a rod of the reciprocal lattice with h - k = 1 (modulo 3) a step s has the phase exp(2 pi i s / 3); on
rods with
h - k = -1 its conjugate; rods with h - k = 0 do not see the faults. The correlation of two layers m apart is

    J(m) = p M^m 1,   M = transition probabilities times phases, p = stationary probabilities,

a sum of at most four powers of eigenvalues. Deformation faults alone give w = -1/2 + i (sqrt(3)/2) (1 - 2
alpha),
|w|^2 = 1 - 3 alpha (1 - alpha). Hendricks & Teller 1942, J. Chem. Phys. 10, 147; Jagodzinski 1949, Acta
Cryst. 2, 201;
Warren 1990, X-ray Diffraction, chapter 13.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from streamproc.errors import ConfigurationError

__all__ = ["Faults", "Lattice", "Mode", "correlation", "modes", "peak_mode", "transfer_matrix"]

Lattice = Literal["fcc", "hcp"]

_MOST_GROWTH = 0.4
"""Beyond 0.464 the two eigenvalues of growth faults meet: there is no fcc peak left to speak of."""


@dataclass(frozen=True, slots=True)
class Faults:
    """Probabilities of faults per close-packed layer.

    Attributes
    ----------
    deformation : float
        Intrinsic (deformation) faults, alpha of Warren; 0 to 0.3.
    extrinsic : float
        Extrinsic (double deformation) faults, alpha'' ; 0 to 0.3.
    growth : float
        Growth (twin) faults, beta of Warren; 0 to 0.4.
    """

    deformation: float = 0.0
    extrinsic: float = 0.0
    growth: float = 0.0

    def __post_init__(self) -> None:
        ranges = (("deformation", 0.3), ("extrinsic", 0.3), ("growth", _MOST_GROWTH))
        for name, most in ranges:
            value = getattr(self, name)
            if not 0 <= value <= most:
                raise ConfigurationError(
                    f"fault probability {name} must be from 0 to {most} per layer, got {value:g}"
                )


@dataclass(frozen=True, slots=True)
class Mode:
    """One power of the correlation: ``weight * exp(m * log)`` for layers m >= 0 apart (both complex)."""

    weight: complex
    log: complex


def transfer_matrix(
    faults: Faults, lattice: Lattice, sign: int = 1
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.complex128]]:
    """Return the stationary probabilities and the matrix M of a rod.

    Parameters
    ----------
    faults : Faults
        Probabilities.
    lattice : {'fcc', 'hcp'}
        Stacking of the perfect crystal.
    sign : int
        h - k modulo 3 of the rod: 1 or -1.

    Returns
    -------
    stationary : ndarray, shape (4,)
        States: orientation +, orientation -, and each of them half-way through an extrinsic fault.
    matrix : ndarray of complex, shape (4, 4)
        Rows are the state before the layer.
    """
    if lattice not in ("fcc", "hcp"):
        raise ConfigurationError(f"stacking faults are computed for fcc and hcp, got {lattice!r}")
    a, e = faults.deformation, faults.extrinsic
    turn = faults.growth if lattice == "fcc" else 1.0 - faults.growth
    phase = np.exp(2j * np.pi * sign / 3 * np.array([1, -1]))  # of a step +1 and a step -1
    matrix = np.zeros((4, 4), complex)
    for before in (0, 1):
        for after in (0, 1):
            chance = turn if after != before else 1.0 - turn
            along, against = phase[after], phase[1 - after]
            matrix[before, after] = chance * ((1 - a - e) * along + a * against)
            matrix[before, 2 + after] = chance * e * against
        matrix[2 + before, before] = phase[1 - before]
    ready, pending = 0.5 / (1 + e), 0.5 * e / (1 + e)
    return np.array([ready, ready, pending, pending]), matrix


def modes(faults: Faults, lattice: Lattice, sign: int = 1) -> tuple[Mode, ...]:
    """Return the powers whose sum is the correlation J(m), those with an eigenvalue of zero left out."""
    stationary, matrix = transfer_matrix(faults, lattice, sign)
    values, vectors = np.linalg.eig(matrix)
    weights = (stationary @ vectors) * np.linalg.solve(vectors, np.ones(4))
    kept = (np.abs(values) > 1e-9) & (np.abs(weights) > 1e-12)
    return tuple(
        Mode(complex(w), complex(np.log(v))) for w, v in zip(weights[kept], values[kept], strict=True)
    )


def correlation(
    m: npt.ArrayLike, faults: Faults, lattice: Lattice, sign: int = 1
) -> npt.NDArray[np.complex128]:
    """Return J(m), the mean of exp(2 pi i sign (position of layer m - position of layer 0) / 3).

    Parameters
    ----------
    m : array_like of int
        Layers apart, >= 0.
    faults, lattice, sign
        See :func:`transfer_matrix`.
    """
    stationary, matrix = transfer_matrix(faults, lattice, sign)
    steps = np.asarray(m, int)
    powers = [stationary.astype(complex)]
    for _ in range(int(steps.max(initial=0))):
        powers.append(powers[-1] @ matrix)
    return np.asarray(np.array([p.sum() for p in powers])[steps])


def peak_mode(faults: Faults, lattice: Lattice, place: int) -> Mode:
    """Return the mode that makes a peak, relative to the peak of the perfect crystal.

    Parameters
    ----------
    faults : Faults
        Probabilities.
    lattice : {'fcc', 'hcp'}
        Stacking of the perfect crystal.
    place : int
        fcc: h + k + l of the reflection modulo 3, 1 or 2. hcp: l modulo 2, 0 or 1 (and h - k not 0 modulo 3).

    Returns
    -------
    Mode
        ``weight`` is 1 and ``log`` is 0 without faults. The real part of ``log`` is the decay per layer, its
        imaginary part divided by 2 pi the shift along the rod in cycles per layer.
    """
    if lattice == "fcc":
        phase, normal = 2 * np.pi / 3, 0.5
    else:
        phase, normal = (0.0, 0.25) if place % 2 == 0 else (np.pi, 0.75)

    def apart(mode: Mode) -> complex:
        """The logarithm relative to the perfect peak, its phase within half a turn."""
        turn = (mode.log.imag - phase + np.pi) % (2 * np.pi) - np.pi
        return complex(mode.log.real, turn)

    best = min(modes(faults, lattice), key=lambda mode: abs(apart(mode)))
    weight, log = best.weight / normal, apart(best)
    if lattice == "fcc" and place % 3 == 2:
        weight, log = weight.conjugate(), log.conjugate()
    return Mode(weight, log)
