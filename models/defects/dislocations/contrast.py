"""Contrast factors of dislocations in cubic crystals, from their elastic constants.

The strain field of a straight dislocation in an anisotropic crystal is computed by Stroh's method (Stroh
1958, Phil. Mag.
3, 625; Hirth & Lothe 1982, Theory of Dislocations, chapter 13), as ANIZC does (Borbely et al. 2003, J.
Appl. Cryst.
36, 160), and averaged over the slip systems. The average has the form Ch00 (1 - q H2) with
H2 = (h2k2 + h2l2 + k2l2) / (h2 + k2 + l2)^2 (Ungar & Tichy 1999, phys. stat. sol. (a) 171, 425).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Literal

import numpy as np
import numpy.typing as npt

from streamproc.errors import ConfigurationError

__all__ = [
    "ELASTIC_GPA",
    "FLUORITE_GPA",
    "Character",
    "Contrast",
    "contrast_factor",
    "cubic_contrast",
    "invariant",
]

Array = npt.NDArray[np.float64]
Character = Literal["edge", "screw"]

ELASTIC_GPA = {
    "Ag": (124.0, 93.4, 46.1), "Al": (108.2, 61.3, 28.5), "Au": (186.0, 157.0, 42.0),
    "Cu": (168.4, 121.4, 75.4), "Fe": (233.1, 135.4, 117.8), "Ni": (246.5, 147.3, 124.7),
    "W": (521.0, 201.0, 160.0),
}  # fmt: skip
"""c11, c12, c44 (GPa) at room temperature: Hirth & Lothe 1982, appendix 1; Fe: Rayne & Chandrasekhar 1961,
Phys. Rev. 122, 1714."""

FLUORITE_GPA = {"Ca": (164.4, 50.2, 34.7)}
"""The same of crystals of the fluorite structure, by their cation; CaF2: Huffman & Norwood 1960, Phys. Rev.
117, 709."""

_SLIP = {"fcc": ((1, 1, 1), (1, 1, 0)), "bcc": ((1, 1, 0), (1, 1, 1)), "fluorite": ((1, 0, 0), (1, 1, 0))}
_ANGLES = 720
_NEAR_ISOTROPIC = 1e-5


@dataclass(frozen=True, slots=True)
class Contrast:
    """Mean contrast factors of a population of dislocations, Ch00 (1 - q H2)."""

    h00: float
    q: float

    def of(self, hkl: Sequence[int]) -> float:
        """Return the mean contrast factor of a reflection."""
        return self.h00 * (1 - self.q * invariant(hkl))


def invariant(hkl: Sequence[int]) -> float:
    """Return H2 of cubic indices: 0 for h00, 1/3 for hhh."""
    h, k, index = (float(i) ** 2 for i in hkl)
    return (h * k + h * index + k * index) / (h + k + index) ** 2


def _stiffness(c11: float, c12: float, c44: float) -> Array:
    """C_ijkl of a cubic crystal in its own axes, isotropic ones moved off the degenerate point by 1e-5."""
    if not (c11 > abs(c12) and c44 > 0 and c11 + 2 * c12 > 0):
        raise ConfigurationError(
            f"no stable cubic crystal has c11, c12, c44 = {c11:g}, {c12:g}, {c44:g} GPa: c11 > |c12|, c44 > 0"
        )
    if abs(2 * c44 / (c11 - c12) - 1) < _NEAR_ISOTROPIC:
        c44 *= 1 + _NEAR_ISOTROPIC
    one = np.eye(3)
    own = np.einsum("ia,ja,ka,la->ijkl", one, one, one, one)
    return np.asarray(
        c12 * np.einsum("ij,kl->ijkl", one, one)
        + c44 * (np.einsum("ik,jl->ijkl", one, one) + np.einsum("il,jk->ijkl", one, one))
        + (c11 - c12 - 2 * c44) * own
    )


def _distortion(stiffness: Array, frame: Array, burgers: Array) -> Array:
    """Distortion 2 pi r / b * du_i/dx_j around a dislocation along the third axis of ``frame``.

    Returns
    -------
    ndarray, shape (angles, 3, 3)
        In the frame's axes; the column of the line direction is zero.
    """
    c = np.einsum("ai,bj,ck,dl,ijkl->abcd", frame, frame, frame, frame, stiffness)
    q, r, t = c[:, 0, :, 0], c[:, 0, :, 1], c[:, 1, :, 1]
    inverse = np.linalg.inv(t)
    n1, n2 = -inverse @ r.T, inverse
    n3 = r @ inverse @ r.T - q
    roots, vectors = np.linalg.eig(np.block([[n1, n2], [n3, n1.T]]))
    a, force = vectors[:3], vectors[3:]
    norm = 2 * np.einsum("ik,ik->k", a, force)
    strength = np.sign(roots.imag) * (force.T @ (frame @ burgers)) / norm
    angle = (np.arange(_ANGLES) + 0.5) * 2 * np.pi / _ANGLES
    place = np.cos(angle)[:, None] + roots * np.sin(angle)[:, None]
    along = np.einsum("nk,ik,k->ni", 1 / place, a, strength) / 1j
    across = np.einsum("nk,ik,k->ni", roots / place, a, strength) / 1j
    out = np.zeros((_ANGLES, 3, 3))
    out[:, :, 0], out[:, :, 1] = along.real, across.real
    return out / float(np.linalg.norm(burgers))


def contrast_factor(
    elastic_gpa: Sequence[float], burgers: Sequence[float], line: Sequence[float], hkl: Sequence[int]
) -> float:
    """Return the contrast factor of one straight dislocation in a cubic crystal.

    Parameters
    ----------
    elastic_gpa : sequence of float
        c11, c12, c44 (only ratios count).
    burgers, line : sequence of float
        Directions in the cell's axes.
    hkl : sequence of int
        Diffraction vector.
    """
    third = np.asarray(line, float) / np.linalg.norm(line)
    helper = np.eye(3)[int(np.argmin(np.abs(third)))]
    first = np.cross(helper, third)
    first /= np.linalg.norm(first)
    frame = np.array([first, np.cross(third, first), third])
    field = _distortion(_stiffness(*elastic_gpa), frame, np.asarray(burgers, float))
    g = frame @ (np.asarray(hkl, float) / np.linalg.norm(hkl))
    projected = np.einsum("nij,i,j->n", field, g, g)
    return float(2 * np.mean(projected**2))  # 1/pi times the integral over 2 pi


def _signed(indices: Sequence[int]) -> list[Array]:
    """All directions of a family, one of each pair of opposites."""
    every = {
        tuple(s * i for s, i in zip(signs, order, strict=True))
        for order in permutations(indices)
        for signs in product((1, -1), repeat=3)
    }
    return [np.array(v, float) for v in sorted(every) if v > tuple(-i for i in v)]


def cubic_contrast(
    elastic_gpa: Sequence[float], lattice: Literal["fcc", "bcc", "fluorite"], character: Character
) -> Contrast:
    """Return the mean contrast factors of evenly populated slip systems.

    Parameters
    ----------
    elastic_gpa : sequence of float
        c11, c12, c44 (GPa); see :data:`ELASTIC_GPA`.
    lattice : {'fcc', 'bcc', 'fluorite'}
        Slip on {111}<110>, on {110}<111>, or on {100}<110> (Evans & Pratt 1969, Phil. Mag. 20, 1213).
    character : {'edge', 'screw'}
        Of the dislocations.
    """
    if lattice not in _SLIP:
        raise ConfigurationError(f"slip systems are known for fcc, bcc and fluorite, got {lattice!r}")
    if character not in ("edge", "screw"):
        raise ConfigurationError(f"a dislocation is edge or screw here, got {character!r}")
    plane, direction = _SLIP[lattice]
    systems = [(n, b) for n in _signed(plane) for b in _signed(direction) if abs(n @ b) < 1e-9]
    lines = [(b, b if character == "screw" else np.cross(n, b)) for n, b in systems]
    h00, hhh = (
        float(np.mean([contrast_factor(elastic_gpa, tuple(b), tuple(t), hkl) for b, t in lines]))
        for hkl in ((1, 0, 0), (1, 1, 1))
    )
    return Contrast(h00, 3 * (1 - hhh / h00))
