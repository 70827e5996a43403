"""AzimuthalPlan: what is static about an integration is done once; a frame costs one pass over its pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from streamproc.errors import ConfigurationError, FrameFailed
from streamproc.reduction.correction import Correction, DarkImage
from streamproc.reduction.fingerprint import fingerprint
from streamproc.reduction.geometry import Geometry
from streamproc.reduction.kernels import normalise
from streamproc.reduction.passes import Constants, Counted, Sums, run_passes
from streamproc.reduction.profile import Cake, Profile
from streamproc.reduction.tables import Axes, Flip, Splitting, Unit, build_table, flipped, pixel_norm

__all__ = ["ALGORITHM", "AzimuthalPlan", "PlanOptions"]

ALGORITHM = "azimuthal-1"
"""Changes whenever the same inputs would give other numbers; part of the fingerprint."""

Image = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """How to bin.

    Attributes
    ----------
    bins : int
        Radial bins.
    unit : {"2th_deg", "q_A^-1"}
        Radial axis: degrees two-theta, or inverse angstrom.
    radial_range : (float, float) or None
        In ``unit``; None for all that the unmasked pixels cover.
    azimuth_bins : int or None
        Azimuthal bins of the cake over the full circle; None for no cake.
    splitting : {"no", "bbox"}
        ``no``: a pixel counts where its centre lies; ``bbox``: the bins its bounding box covers share it.
    stack : {"mean", "sum"}
        What a stack of n frames gives: the mean frame, or n times that.
    variance_floor : {"pixel", "bin"}
        ``pixel``: each pixel's variance is at least 1 (pyFAI's error_model="poisson"; too large below a few
        counts per pixel). ``bin``: the variance of a sum of counts is the sum, at least that of one count.
    flip : {"none", "rows", "columns", "both"}
        How a frame must be turned to be as the program that made the geometry saw it. Free: the tables are
        turned instead.
    """

    bins: int = 1000
    unit: Unit = "2th_deg"
    radial_range: tuple[float, float] | None = None
    azimuth_bins: int | None = None
    splitting: Splitting = "no"
    stack: Literal["mean", "sum"] = "mean"
    variance_floor: Literal["pixel", "bin"] = "pixel"
    flip: Flip = "none"


@dataclass(slots=True)
class _RunDark:
    """The newest run dark made ready; only an array nobody can write to is remembered."""

    entry: tuple[Image, DarkImage, Constants, Constants | None] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class AzimuthalPlan:
    """Integrates frames of one geometry, correction and binning; made by :meth:`build`, safe among threads.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns every frame must have.
    axis : ndarray of float64, shape (bins,)
        Radial bin centres in ``options.unit``.
    fingerprint : str
        SHA-256 (hexadecimal) over everything that determines the numbers: geometry values, correction images
        and limits, options, the algorithm's version and pyFAI's.
    """

    geometry: Geometry
    correction: Correction
    options: PlanOptions
    shape: tuple[int, int]
    axes: Axes
    fingerprint: str
    _profile: Constants
    _cake: Constants | None
    _run_dark: _RunDark = field(default_factory=_RunDark)

    @classmethod
    def build(
        cls,
        geometry: Geometry | None,
        correction: Correction | None = None,
        options: PlanOptions | None = None,
        *,
        shape: tuple[int, int] | None = None,
    ) -> AzimuthalPlan:
        """Make the tables (0.1 to 1 s for 1 Mpx).

        Parameters
        ----------
        geometry : Geometry or None
            None is refused: there is no default geometry.
        correction, options
            Defaults: solid angle only; 1000 bins of two-theta.
        shape : (int, int), optional
            Rows and columns, where neither the geometry nor an image of the correction says them.

        Raises
        ------
        ConfigurationError
            When the geometry is missing, shapes disagree or are unknown, the wavelength that a q axis needs
            is missing, or no pixel lies in the range.
        """
        correction, options = correction or Correction(), options or PlanOptions()
        if geometry is None:
            raise ConfigurationError(
                "no detector geometry: set reduction.poni to the .poni file of this detector"
            )
        shape = _agreed_shape(geometry, correction, shape)
        if options.unit == "q_A^-1" and geometry.wavelength_A is None:
            raise ConfigurationError(f"geometry {geometry.source} has no wavelength, which a q axis needs")
        integrator = geometry.integrator(shape)
        masked = correction.masked(shape)
        if (own := integrator.detector.mask) is not None:
            masked |= flipped(np.asarray(own, bool), options.flip)
        norm = pixel_norm(
            integrator, correction.flat, correction.polarization_factor, correction.solid_angle, options.flip
        )
        dark = None if correction.dark is None else np.asarray(correction.dark, np.float64).ravel()
        binning = (options.bins, options.unit, options.radial_range)
        pixels = (options.splitting, options.flip)
        table, axes = build_table(integrator, masked, *binning, None, *pixels)
        cake = None
        if options.azimuth_bins is not None:
            cells, axes = build_table(integrator, masked, *binning, options.azimuth_bins, *pixels)
            cake = Constants.of(cells, norm, dark)
        print_ = _fingerprint(geometry, correction, options, shape)
        return cls(geometry, correction, options, shape, axes, print_, Constants.of(table, norm, dark), cake)

    @property
    def axis(self) -> npt.NDArray[np.float64]:
        """Radial bin centres, shape (bins,), in ``options.unit``."""
        return self.axes.radial

    def integrate(self, frame: Image, dark: Image | None = None) -> Profile:
        """Integrate one image or stack to one profile.

        Parameters
        ----------
        frame : ndarray, shape (rows, columns) or (n, rows, columns)
            Any integer or real type and byte order; is not changed.
        dark : ndarray, same shapes, optional
            Dark reading of the same run; replaces the correction's own dark. Its Poisson variance is added.

        Returns
        -------
        Profile
            Intensity = sum(raw - dark) / sum(flat * solid angle * polarisation), with its variance.

        Raises
        ------
        FrameFailed
            When frame or dark do not have the detector's shape or hold no numbers.
        """
        stack = self._stack(frame)
        constants, _ = self._with_dark(dark)
        return self._to_profile(self._run(stack, constants))

    def cake(self, frame: Image, dark: Image | None = None) -> Cake:
        """Integrate one image or stack over radius and azimuth; parameters and errors as :meth:`integrate`.

        Raises
        ------
        ConfigurationError
            When the plan was built without ``azimuth_bins``.
        """
        stack = self._stack(frame)
        constants, cells = self._with_dark(dark)
        if cells is None or self.axes.azimuthal is None:
            raise ConfigurationError("this plan has no azimuthal bins: set reduction.azimuth_bins")
        sums = self._run(stack, cells)
        grid = sums.reshaped((self.axes.radial.size, self.axes.azimuthal.size))
        # with splitting, two cells of one ring may share a pixel: their variances do not add up to the ring's
        rings = grid.over_azimuth() if self.options.splitting == "no" else self._run(stack, constants)
        intensity, variance = self._intensity(grid)
        return Cake(
            radial=self.axes.radial,
            azimuthal=self.axes.azimuthal,
            unit=self.options.unit,
            intensity=intensity,
            variance=variance,
            signal=grid.signal,
            signal_variance=grid.variance,
            normalisation=grid.norm,
            counts=grid.counts,
            profile=self._to_profile(rings),
        )

    @property
    def constants(self) -> Constants:
        """Table of the profile with its per-pixel and per-bin constants."""
        return self._profile

    def sums(self, frame: Image, constants: Constants, count: Callable[..., Counted] | None = None) -> Sums:
        """Sum a frame (as for :meth:`integrate`) into the bins of another table of the same pixels.

        ``count`` may look at the pixels on the way, as :func:`~streamproc.reduction.passes.run_passes` says.
        """
        return self._run(self._stack(frame), constants, count)

    def profile(self, sums: Sums) -> Profile:
        """Return the profile that these sums over the plan's own bins give."""
        return self._to_profile(sums)

    def warm_up(self, dtypes: Iterable[npt.DTypeLike] = ("u2", "u4", "i4", "f8")) -> None:
        """Compile the kernels for frames of these types, aligned or not, so that no live frame waits."""
        for dtype in [np.dtype(d) for d in dtypes]:
            n_bytes = self.shape[0] * self.shape[1] * dtype.itemsize
            shifted = np.zeros(n_bytes + 1, np.uint8)[1:].view(dtype).reshape(self.shape)
            for frame in (np.zeros(self.shape, dtype), shifted):
                self.integrate(frame)
                if self._cake is not None:
                    self.cake(frame)

    def _stack(self, frame: Image) -> Image:
        """Return the frame as (n, n_pixels) of a type the kernels take, read-only, copied only if need be."""
        frame = np.asarray(frame)
        images = frame.shape[1:] if frame.ndim == 3 else frame.shape
        if images != self.shape or not frame.size:
            raise FrameFailed(
                f"frame has shape {frame.shape}, expected {self.shape} or (n, *{self.shape}): geometry "
                f"{self.geometry.source} (and its mask) belongs to another detector, binning or region; "
                "nothing is cropped"
            )
        if frame.dtype.kind not in "buif":
            raise FrameFailed(f"frame holds {frame.dtype}, expected integers or real numbers")
        if frame.dtype.kind == "b" or frame.dtype == np.float16 or frame.dtype.itemsize > 8:
            frame = frame.astype(np.uint8 if frame.dtype.kind == "b" else np.float64)
        flat = np.ascontiguousarray(frame, frame.dtype.newbyteorder("=")).reshape(
            -1, self.shape[0] * self.shape[1]
        )
        flat = flat.view()
        flat.flags.writeable = False
        return flat

    def _run(self, stack: Image, constants: Constants, count: Callable[..., Counted] | None = None) -> Sums:
        low, high = self.correction.limits(stack.dtype)
        return run_passes(
            stack, constants, low, high, self.correction.tau, self.options.variance_floor, count
        )

    def _with_dark(self, dark: Image | None) -> tuple[Constants, Constants | None]:
        if dark is None:
            return self._profile, self._cake
        known = self._run_dark.entry
        if known is not None and known[0] is dark:
            return known[2], known[3]
        image = self.correction.run_dark(np.asarray(dark), self.shape)
        profile = self._profile.with_dark(image)
        cake = None if self._cake is None else self._cake.with_dark(image)
        if not dark.flags.writeable:
            self._run_dark.entry = (dark, image, profile, cake)
        return profile, cake

    def _intensity(self, sums: Sums) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        factor = float(sums.n_frames) if self.options.stack == "sum" else 1.0
        intensity, variance = np.empty(sums.norm.shape), np.empty(sums.norm.shape)
        signal, signal_variance = sums.signal.ravel(), sums.variance.ravel()
        norm, counts = sums.norm.ravel(), sums.counts.ravel()
        normalise(signal, signal_variance, norm, counts, factor, intensity.ravel(), variance.ravel())
        return intensity, variance

    def _to_profile(self, sums: Sums) -> Profile:
        intensity, variance = self._intensity(sums)
        return Profile(
            axis=self.axes.radial,
            unit=self.options.unit,
            intensity=intensity,
            variance=variance,
            signal=sums.signal,
            signal_variance=sums.variance,
            normalisation=sums.norm,
            counts=sums.counts,
            n_masked=sums.n_masked,
            n_frames=sums.n_frames,
            wavelength_A=self.geometry.wavelength_A,
        )


def _agreed_shape(
    geometry: Geometry, correction: Correction, shape: tuple[int, int] | None
) -> tuple[int, int]:
    said = {
        f"geometry {geometry.source}": geometry.shape,
        "mask, dark or flat": correction.shape(),
        "shape": shape,
    }
    known = {name: tuple(s) for name, s in said.items() if s is not None}
    if len(set(known.values())) > 1:
        listed = ", ".join(f"{name}: {s[0]} x {s[1]}" for name, s in known.items())
        raise ConfigurationError(f"the detector's rows x columns disagree ({listed}): nothing is cropped")
    if not known:
        raise ConfigurationError(
            f"geometry {geometry.source} does not say how many pixels the detector has: set reduction.shape, "
            "or use a mask file"
        )
    rows, columns = next(iter(known.values()))
    return int(rows), int(columns)


def _fingerprint(
    geometry: Geometry, correction: Correction, options: PlanOptions, shape: tuple[int, int]
) -> str:
    from pyFAI.version import version

    limits = {
        name: getattr(correction, name)
        for name in ("hot_dark_above", "saturation", "mask_negative", "dead_time_s", "exposure_s")
    }
    facts = {
        "algorithm": ALGORITHM,
        "pyFAI": version,
        "geometry": dict(geometry.config),
        "shape": shape,
        "limits": limits,
        "polarization_factor": correction.polarization_factor,
        "solid_angle": correction.solid_angle,
        "options": asdict(options),
    }
    images = {name: getattr(correction, name) for name in ("mask", "dark", "flat", "hot_pixels")}
    return fingerprint(facts, images)
