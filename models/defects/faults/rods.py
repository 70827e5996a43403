"""Intensity along the rods of faulted crystals, and their exact powder sum on spheres."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from streamproc.models.defects.faults.stacking import Faults, Lattice, correlation, modes

__all__ = ["powder_rods", "rod_intensity"]

Array = npt.NDArray[np.float64]


def rod_intensity(
    cycles: npt.ArrayLike, faults: Faults, lattice: Lattice, sign: int = 1, layers: int | None = None
) -> Array:
    """Return the intensity along a rod with h - k = ``sign`` modulo 3, per layer.

    Parameters
    ----------
    cycles : array_like
        Place on the rod in cycles per layer: the peaks of perfect fcc are at ``sign / 3`` (its twin at
        ``-sign / 3``), those of hcp at 0 and 1/2, and so on with period 1.
    faults, lattice, sign
        See :func:`~streamproc.models.defects.faults.stacking.transfer_matrix`.
    layers : int, optional
        Of a crystal of that many layers; infinitely many by default (then the faults must broaden the peaks).

    Returns
    -------
    ndarray
        Its mean over one period is 1.
    """
    place = np.asarray(cycles, float)
    if layers is None:
        out = np.zeros(place.shape)
        for mode in modes(faults, lattice, sign):
            z = np.exp(mode.log - 2j * np.pi * place)
            out += (mode.weight * (1 + z) / (1 - z)).real
        missing = 1 - sum(mode.weight for mode in modes(faults, lattice, sign)).real
        return out + missing
    m = np.arange(1, layers)
    terms = (1 - m / layers) * correlation(m, faults, lattice, sign)
    waves = np.exp(-2j * np.pi * np.multiply.outer(place, m))
    return np.asarray(1 + 2 * (waves @ terms).real)


def powder_rods(
    edges_per_nm: Array, cell_nm: Sequence[float], faults: Faults, lattice: Lattice, points: int = 20_000
) -> Array:
    """Sum the rods that faults touch over all orientations: the exact powder pattern of unit scatterers.

    Parameters
    ----------
    edges_per_nm : ndarray, shape (n + 1,)
        Rising bin edges in s = 2 sin(theta) / lambda (1/nm).
    cell_nm : sequence of float
        a for fcc; a and c for hcp (nm).
    faults, lattice
        What the crystal is; the faults must be more than none.
    points : int
        Points per period of a rod.

    Returns
    -------
    ndarray, shape (n,)
        Per bin, in units of one reciprocal-lattice point (per member of a family); the Lorentz factor 1/s^2
        and
        the scattering of the layer are left out. Lines from rods with h - k = 0 (modulo 3) are not in it.
    """
    in_plane, layer = (
        (cell_nm[0] / np.sqrt(2), cell_nm[0] / np.sqrt(3))
        if lattice == "fcc"
        else (
            cell_nm[0],
            cell_nm[1] / 2,
        )
    )
    top = float(edges_per_nm[-1])
    reach = int(np.ceil(top * in_plane)) + 1
    h, k = (i.ravel() for i in np.meshgrid(*[np.arange(-reach, reach + 1)] * 2, indexing="ij"))
    across2 = 4 / 3 * (h * h + h * k + k * k) / in_plane**2
    rings, counts = np.unique(
        np.round(across2[((h - k) % 3 != 0) & (across2 < top**2)], 9), return_counts=True
    )
    ends = int(np.ceil(top * layer)) + 1
    cycles = (np.arange(2 * ends * points) + 0.5) / points - ends
    one = rod_intensity(cycles[:points], faults, lattice, 1)
    # rods with h - k = 1 and -1 are mirror images
    both = (one + rod_intensity(-cycles[:points], faults, lattice, 1)) / 2
    weight = np.tile(both, 2 * ends) / points
    out = np.zeros(len(edges_per_nm) - 1)
    for ring, number in zip(rings, counts, strict=True):
        s = np.sqrt(ring + (cycles / layer) ** 2)
        out += number * np.histogram(s, edges_per_nm, weights=weight)[0]
    return out
