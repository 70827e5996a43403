"""Pixel-to-bin tables: made once with pyFAI, then read by the kernels for every frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from streamproc.errors import ConfigurationError

__all__ = ["Axes", "BboxTable", "Flip", "Table", "UnsplitTable", "build_table", "flipped", "pixel_norm"]

Float = npt.NDArray[np.float64]
Splitting = Literal["no", "bbox"]
Unit = Literal["2th_deg", "q_A^-1"]
Flip = Literal["none", "rows", "columns", "both"]


@dataclass(frozen=True, slots=True, eq=False)
class Axes:
    """Bin centres: ``radial`` (n_radial,) in the plan's unit; ``azimuthal`` (n_azimuthal,) in degrees."""

    radial: Float
    azimuthal: Float | None = None

    @property
    def size(self) -> int:
        """Number of bins, radial times azimuthal."""
        return self.radial.size * (1 if self.azimuthal is None else self.azimuthal.size)


@dataclass(frozen=True, slots=True, eq=False)
class UnsplitTable:
    """Each pixel belongs to the bin its centre lies in.

    ``bins`` is uint16 where it fits, else int32, shape (n_pixels,); bin ``n`` is the trash bin.
    """

    bins: npt.NDArray[Any]
    n: int

    def fold(self, values: Float, pixels: npt.NDArray[np.int64] | None = None) -> Float:
        """Sum ``values`` per bin, shape (n,): one value per pixel, or one per entry of ``pixels``."""
        bins = self.bins if pixels is None else self.bins[pixels]
        return _sums(bins, values, self.n)

    def fold_variance(self, values: Float, pixels: npt.NDArray[np.int64] | None = None) -> Float:
        """Sum variances per bin: whole pixels, so the same as :meth:`fold`."""
        return self.fold(values, pixels)

    def without(self, bad: npt.NDArray[np.bool_]) -> UnsplitTable:
        """Return the table with the pixels marked in ``bad`` (n_pixels,) sent to the trash bin."""
        return replace(self, bins=_frozen(np.where(bad, self.n, self.bins).astype(self.bins.dtype)))

    def most_pixels(self) -> int:
        """Return the number of pixels in the fullest bin."""
        return int(np.bincount(self.bins, minlength=self.n + 1)[: self.n].max(initial=0))


@dataclass(frozen=True, slots=True, eq=False)
class BboxTable:
    """Each pixel is shared among the bins its bounding box covers, in pixel order.

    ``first`` int64 (n_pixels + 1,); ``bins`` uint16 or int32 and ``shares`` float32, one per entry.
    """

    first: npt.NDArray[np.int64]
    bins: npt.NDArray[Any]
    shares: npt.NDArray[np.float32]
    n: int

    def fold(self, values: Float, pixels: npt.NDArray[np.int64] | None = None) -> Float:
        """Sum ``share * value`` per bin, shape (n,)."""
        entries, spread = self._spread(values, pixels)
        return _sums(self.bins[entries], self.shares[entries] * spread, self.n)

    def fold_variance(self, values: Float, pixels: npt.NDArray[np.int64] | None = None) -> Float:
        """Sum ``share**2 * variance`` per bin, shape (n,); like pyFAI, neglect neighbours' covariance."""
        entries, spread = self._spread(values, pixels)
        squared = self.shares[entries].astype(np.float64) ** 2
        return _sums(self.bins[entries], squared * spread, self.n)

    def without(self, bad: npt.NDArray[np.bool_]) -> BboxTable:
        """Return the table without the entries of the pixels marked in ``bad`` (n_pixels,)."""
        keep = ~np.repeat(bad, np.diff(self.first))
        counts = np.where(bad, 0, np.diff(self.first))
        first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return BboxTable(_frozen(first), _frozen(self.bins[keep]), _frozen(self.shares[keep]), self.n)

    def _spread(self, values: Float, pixels: npt.NDArray[np.int64] | None) -> tuple[Any, Float]:
        counts = np.diff(self.first)
        if pixels is None:
            return slice(None), np.repeat(values, counts)
        n = counts[pixels]
        offsets = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
        return np.repeat(self.first[pixels], n) + offsets, np.repeat(values, n)


Table = UnsplitTable | BboxTable


def build_table(
    integrator: Any,
    masked: npt.NDArray[np.bool_],
    bins: int,
    unit: Unit,
    radial_range: tuple[float, float] | None,
    azimuth_bins: int | None,
    splitting: Splitting,
    flip: Flip = "none",
) -> tuple[Table, Axes]:
    """Let pyFAI assign the pixels to bins, and read its sparse matrix out.

    Parameters
    ----------
    integrator : pyFAI.integrator.azimuthal.AzimuthalIntegrator
        The geometry.
    masked : ndarray of bool, shape (rows, columns)
        Pixels of a frame to leave out.
    bins, azimuth_bins : int
        Number of radial bins; of azimuthal bins over the full circle, None for one profile.
    unit : {"2th_deg", "q_A^-1"}
        Radial unit.
    radial_range : (float, float) or None
        In that unit; None for all that the unmasked pixels cover.
    splitting : {"no", "bbox"}
        Pixel splitting.
    flip : {"none", "rows", "columns", "both"}
        How a frame must be turned to match the geometry.

    Raises
    ------
    ConfigurationError
        When no unmasked pixel lies in the range.
    """
    from pyFAI.units import to_unit

    engine = integrator.setup_sparse_integrator(
        masked.shape,
        bins if azimuth_bins is None else (bins, azimuth_bins),
        mask=np.ascontiguousarray(flipped(masked, flip), np.int8),
        mask_checksum="static",
        pos0_range=radial_range,
        pos1_range=None if azimuth_bins is None else (-180.0, 180.0),
        unit=unit if azimuth_bins is None else (unit, "chi_deg"),
        split=splitting,
        algo="CSR",
        scale=True,
    )
    if not engine.lut[1].size:
        raise ConfigurationError(
            f"no unmasked pixel lies in the radial range {radial_range} {unit}: check range_min, range_max, "
            "the mask and the geometry"
        )
    scale = to_unit(unit).scale
    if azimuth_bins is None:
        axes = Axes(_frozen(np.asarray(engine.bin_centers, np.float64) * scale))
    else:
        radial = np.asarray(engine.bin_centers0, np.float64) * scale
        axes = Axes(_frozen(radial), _frozen(np.rad2deg(np.asarray(engine.bin_centers1, np.float64))))
    shares, places, starts = engine.lut
    pixels = flipped(np.arange(masked.size, dtype=np.int32).reshape(masked.shape), flip).ravel()[places]
    return _read_matrix((shares, pixels, starts), masked.size, axes.size, splitting), axes


def flipped(image: npt.NDArray[Any], flip: Flip) -> npt.NDArray[Any]:
    """Return a view of an image with its rows, its columns or both reversed."""
    axes = {"none": (), "rows": (0,), "columns": (1,), "both": (0, 1)}[flip]
    return np.flip(image, axes)


def pixel_norm(
    integrator: Any, flat: Any, polarization_factor: float | None, solid_angle: bool, flip: Flip
) -> Float:
    """Return flat * solid angle * polarisation of each pixel of a frame, as pyFAI has them, (n_pixels,)."""
    shape = integrator.detector.shape
    seen = np.ones(shape)
    if solid_angle:
        seen *= integrator.solidAngleArray(shape)
    if polarization_factor is not None:
        seen *= integrator.polarization(shape, polarization_factor)
    norm = flipped(seen, flip)
    return _frozen((norm if flat is None else norm * np.asarray(flat, np.float64)).ravel())


def _read_matrix(lut: Any, n_pixels: int, n: int, splitting: Splitting) -> Table:
    shares, pixels, starts = lut
    index_type = np.uint16 if n < np.iinfo(np.uint16).max else np.int32
    if splitting == "no":
        bins = np.full(n_pixels, n, index_type)
        bins[pixels] = np.repeat(np.arange(n, dtype=index_type), np.diff(starts))
        return UnsplitTable(_frozen(bins), n)
    from scipy.sparse import csr_matrix

    by_pixel = csr_matrix((shares, pixels, starts), shape=(n, n_pixels)).tocsc()
    first = by_pixel.indptr.astype(np.int64)
    return BboxTable(
        _frozen(first),
        _frozen(by_pixel.indices.astype(index_type)),
        _frozen(by_pixel.data.astype(np.float32)),
        n,
    )


def _sums(bins: npt.NDArray[Any], values: Float, n: int) -> Float:
    sums = np.bincount(bins, values, n + 1)[:n].astype(np.float64, copy=False)
    sums.flags.writeable = False  # constants of a plan are handed out in profiles
    return sums


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array = np.ascontiguousarray(array)
    array.flags.writeable = False
    return array
