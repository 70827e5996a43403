"""Frames become patterns: images through the geometry, 1-D frames with the axis of their event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from streamproc.analysis import Frame
from streamproc.errors import ConfigurationError, FrameFailed, RunRefused
from streamproc.inference.card import ModelCard
from streamproc.reduction.azimuthal import AzimuthalPlan
from streamproc.reduction.calibration import Calibration
from streamproc.reduction.correction import LARGEST_VALUE
from streamproc.reduction.geometry import geometry_from_calibration_md
from streamproc.reduction.profile import Profile
from streamproc.reduction.settings import ReductionSettings
from streamproc.runs import Run

__all__ = ["MeasuredPattern", "PatternSource", "dimensions", "log_q", "wavelength_doubt"]

Array = npt.NDArray[np.float64]
AxisKind = Literal["two_theta_deg", "q_invA"]

_LEAST_CHANNELS = 16
_MOST_NEGATIVE = 0.2


class SourceSettings(Protocol):
    """What a pattern source reads of an analysis's settings."""

    stream: str
    key: str | None
    axis_key: str | None
    axis_kind: AxisKind
    wavelength_A: float | None
    reduction: ReductionSettings


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredPattern:
    """A pattern on the axis it was measured on: rising, finite, not empty, not mostly negative.

    ``wavelength_A`` is that of the geometry or the settings; None where neither says it.
    """

    axis: Array
    kind: AxisKind
    intensity: Array
    wavelength_A: float | None = None


class PatternSource:
    """Reads patterns out of the frames of a run.

    Parameters
    ----------
    settings : SourceSettings
        Stream, keys, axis.
    calibration : Calibration
        Geometry and correction files.
    table : str
        Name of the analysis's table, for messages.
    """

    def __init__(self, settings: SourceSettings, calibration: Calibration, table: str = "phase-map") -> None:
        self._settings, self._calibration, self._table = settings, calibration, table

    def frame_key(self, run: Run) -> str | None:
        """Choose the data key: the configured one, or the only one that fits."""
        s = self._settings
        descriptors = run.stream_descriptors(s.stream)
        data_keys = descriptors[-1].get("data_keys", {}) if descriptors else {}
        if s.key is not None:
            return s.key if s.key in data_keys else None
        wanted = {1} if s.axis_key is not None else {2, 3}
        fitting = [k for k, entry in data_keys.items() if k != s.axis_key and dimensions(entry) in wanted]
        if len(fitting) > 1:
            raise RunRefused(
                f"stream {s.stream!r} has {len(fitting)} keys that could be the detector "
                f"({', '.join(fitting[:8])}): set analysis.{self._table}.key"
            )
        return fitting[0] if fitting else None

    def plan(self, run: Run) -> AzimuthalPlan | None:
        """Return how images of this run become patterns; None where frames are patterns.

        Raises
        ------
        RunRefused
            No geometry for this run.
        """
        if self._settings.axis_key is not None:
            return None
        if self._calibration.geometry is not None:
            return self._calibration.plan()
        found = run.start.get("calibration_md")
        if not isinstance(found, Mapping):
            raise RunRefused(
                "the start document has no calibration_md, and reduction.poni names no file: no geometry"
            )
        try:
            return self._calibration.plan(geometry_from_calibration_md(found))
        except ConfigurationError as error:
            raise RunRefused(f"calibration_md of the start document: {error.message}") from error

    def pattern(self, frame: Frame, plan: AzimuthalPlan | None) -> MeasuredPattern:
        """Return the pattern of a frame.

        Raises
        ------
        FrameFailed
            It is none: no axis, wrong shape, not finite, empty, mostly negative.
        """
        if plan is None:
            axis, intensity = self._given(frame)
            return _checked(axis, self._settings.axis_kind, intensity, self._settings.wavelength_A)
        dark = frame.dark if self._settings.reduction.from_run.dark else None
        return self.of_profile(plan.integrate(frame.array, dark))

    @staticmethod
    def of_profile(profile: Profile) -> MeasuredPattern:
        """Return the pattern that an integrated image is.

        Raises
        ------
        FrameFailed
            As :meth:`pattern`.
        """
        measured = np.isfinite(profile.intensity)  # bins without a usable pixel were not measured
        axis, intensity = profile.axis[measured], profile.intensity[measured]
        return _checked(axis, profile.axis_kind, intensity, profile.wavelength_A)

    @staticmethod
    def checked(pattern: MeasuredPattern) -> MeasuredPattern:
        """Return a given pattern that is not empty and not mostly negative.

        Raises
        ------
        FrameFailed
            As :meth:`pattern`.
        """
        return _checked(pattern.axis, pattern.kind, pattern.intensity, pattern.wavelength_A)

    def given(self, frame: Frame) -> MeasuredPattern:
        """Return the pattern that a 1-D frame is, which may be empty.

        Raises
        ------
        FrameFailed
            No axis, wrong shape, not finite.
        """
        axis, y = _rising(*self._given(frame))
        return MeasuredPattern(axis, self._settings.axis_kind, y, self._settings.wavelength_A)

    def _given(self, frame: Frame) -> tuple[Array, Array]:
        key = self._settings.axis_key
        axis = frame.readings.get(key) if key is not None else None
        if axis is None:
            raise FrameFailed(
                f"the event has no {key!r} (analysis.{self._table}.axis_key), the pattern's axis"
            )
        if np.iscomplexobj(axis) or np.iscomplexobj(frame.array):
            raise FrameFailed("pattern or axis holds complex numbers, expected real ones")
        try:
            axis = np.asarray(axis, dtype=np.float64).ravel()
            intensity = np.asarray(frame.array, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise FrameFailed(f"pattern or axis is not numeric: {error}") from error
        intensity = intensity.reshape(-1) if intensity.size == axis.size else intensity
        if axis.shape != intensity.shape:
            raise FrameFailed(f"pattern of shape {intensity.shape} with an axis of shape {axis.shape}")
        return axis, intensity


def log_q(axis: Array, kind: AxisKind) -> Array:
    """Return ln(q) but for a constant: on this axis a lattice that expands moves all its peaks alike.

    Parameters
    ----------
    axis : ndarray
        2theta in degrees (ln sin theta is returned) or q in 1/angstrom (ln q is).
    kind : {'two_theta_deg', 'q_invA'}
        Which.

    Returns
    -------
    ndarray
        NaN where the axis is not above zero, or 2theta not below 180 degrees.
    """
    if kind == "q_invA":
        return np.log(np.where(axis > 0, axis, np.nan))
    inside = (axis > 0) & (axis < 180)
    return np.log(np.sin(np.deg2rad(np.where(inside, axis, np.nan)) / 2))


def wavelength_doubt(pattern: MeasuredPattern, card: ModelCard) -> tuple[str, ...]:
    """Return a reason where the wavelength is not the model's: form factors, K-alpha2, polarisation are its
    own."""
    expected = card.axis.wavelength_A
    if expected is None or pattern.wavelength_A is None or abs(pattern.wavelength_A / expected - 1) < 2e-3:
        return ()
    return (f"outside-training-range: wavelength {pattern.wavelength_A:.4f} A, trained for {expected:.4f} A",)


def _rising(axis: Array, y: Array) -> tuple[Array, Array]:
    if y.size < _LEAST_CHANNELS:
        raise FrameFailed(f"a pattern of {y.size} channels; at least {_LEAST_CHANNELS} are needed")
    if not (np.isfinite(axis).all() and np.isfinite(y).all()):
        bad = int((~np.isfinite(axis) | ~np.isfinite(y)).sum())
        raise FrameFailed(f"{bad} of {y.size} points of the pattern are not finite; mask or drop them first")
    most = float(np.abs(y).max())
    if most > LARGEST_VALUE or 0 < most < 1 / LARGEST_VALUE:
        raise FrameFailed(f"intensities of up to {most:.3g} are none, in whatever unit: a garbled pattern")
    if axis[0] > axis[-1]:
        axis, y = axis[::-1], y[::-1]
    if not (np.diff(axis) > 0).all():
        raise FrameFailed("the pattern's axis is not strictly rising or falling")
    return axis, y


def _checked(axis: Array, kind: AxisKind, y: Array, wavelength_A: float | None) -> MeasuredPattern:
    axis, y = _rising(axis, y)
    top = float(np.abs(y).max())
    scaled = y / top if top > 0 else y  # sums of saturated counters stay finite
    positive, negative = float(scaled[scaled > 0].sum()), float(-scaled[scaled < 0].sum())
    if positive == 0 or negative > _MOST_NEGATIVE * positive:
        raise FrameFailed(
            f"the pattern is empty or mostly negative (negative points sum to "
            f"{negative / max(positive, 1e-300):.3g} of the positive ones, at most {_MOST_NEGATIVE:g}); "
            "check the dark and background subtraction"
        )
    return MeasuredPattern(axis, kind, y, wavelength_A)


def dimensions(entry: Any) -> int:
    """Return how many dimensions longer than one a data key has (ophyd-async puts a 1 in front)."""
    shape = entry.get("shape") if isinstance(entry, Mapping) else None
    if not isinstance(shape, list | tuple):
        return 0
    return sum(1 for n in shape if isinstance(n, int) and n != 1)
