"""Fibre textures: how dense the poles of a family are over a ring."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["cosines_to_axis", "fibre_density", "pole_density", "ring_cosines", "texture_strength"]

Array = npt.NDArray[np.float64]

_TURNS = 32
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(400)


def fibre_density(cos2: Array, r: float) -> Array:
    """Return March's density of a crystal axis about the fibre axis, in multiples of random.

    Parameters
    ----------
    cos2 : ndarray
        Squared cosine of the angle between the two.
    r : float
        March parameter: below 1 the axes gather along the fibre, above 1 around its equator
        (Dollase 1986, J. Appl. Cryst. 19, 267).
    """
    wide = r * r * cos2 + (1 - cos2) / r
    return np.asarray(1 / (wide * np.sqrt(wide)))


def texture_strength(r: float) -> float:
    """Return the root mean square departure of that density from 1 over the sphere: 0 without texture.

    It is sqrt(J - 1) with Bunge's texture index J of the fibre.
    """
    density = fibre_density(((_NODES + 1) / 2) ** 2, r)
    return float(np.sqrt(max(float(_WEIGHTS @ density**2) / 2 - 1, 0.0)))


def cosines_to_axis(members: npt.NDArray[np.int64], axis: tuple[int, int, int]) -> Array:
    """Return the cosines between members of a cubic family, shape (m, 3), and a crystal axis, shape (m,)."""
    normals = members / np.linalg.norm(members, axis=1, keepdims=True)
    return np.asarray(normals @ (np.array(axis) / np.linalg.norm(axis)))


def pole_density(member_cos: Array, cos_psi: Array, r: float) -> Array:
    """Return the density of a family's poles in directions at an angle psi to the fibre axis.

    Parameters
    ----------
    member_cos : ndarray, shape (m,)
        Cosines between the members and the crystal axis that the fibre gathers.
    cos_psi : ndarray, shape (n,)
        Cosine of psi.
    r : float
        March parameter.

    Returns
    -------
    ndarray, shape (n,)
        Multiples of random; its mean over the sphere is 1.

    Notes
    -----
    Crystals whose pole lies in the direction have their axis on a cone of the member's angle about it; the
    density is the mean of March's over that cone, and over the members.
    """
    gamma, psi = np.asarray(member_cos)[:, None, None], np.asarray(cos_psi)[None, :, None]
    turn = np.cos((np.arange(_TURNS) + 0.5) * np.pi / _TURNS)  # the other half circle is the same
    across = np.sqrt(np.maximum((1 - gamma**2) * (1 - psi**2), 0.0))
    beta = gamma * psi + across * turn
    return np.asarray(fibre_density(np.minimum(beta**2, 1.0), r).mean(axis=(0, 2)))


def ring_cosines(sine: float, azimuth_rad: Array, tilt_rad: float, turn_rad: float) -> Array:
    """Return the cosines between the scattering vectors of a ring and a fibre axis.

    Parameters
    ----------
    sine : float
        sin(theta) of the ring.
    azimuth_rad : ndarray, shape (n,)
        Azimuth on the detector.
    tilt_rad, turn_rad : float
        Angle of the axis to the beam, and its azimuth.
    """
    across = np.sqrt(1 - sine**2) * np.sin(tilt_rad) * np.cos(np.asarray(azimuth_rad) - turn_rad)
    return np.asarray(across - sine * np.cos(tilt_rad))
