"""A measured spectrum, as counts where it can be, and how well it is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamproc.errors import FrameFailed

__all__ = ["Spectrum", "spectrum_of"]

Array = npt.NDArray[np.float64]

_LEAST_POINTS = 12
_SAME = 0.05
"""Errors squared over intensities that vary by less than this share are those of scaled counts."""

_MOST_NEGATIVE = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    """Intensities on a rising axis.

    Attributes
    ----------
    energy : ndarray, shape (n,)
        Energy loss.
    counts : ndarray, shape (n,)
        Counts; or intensities, where ``variance`` is given.
    variance : ndarray or None
        None: Poisson. Else the variance of each intensity.
    scale : float
        The given intensities are ``counts * scale``.
    """

    energy: Array
    counts: Array
    variance: Array | None = None
    scale: float = 1.0

    @property
    def poisson(self) -> bool:
        """Counts, not intensities with errors."""
        return self.variance is None

    @property
    def effective_counts(self) -> Array:
        """Counts that would be known as well: intensity squared over variance; the counts themselves."""
        if self.variance is None:
            return self.counts
        return np.asarray(self.counts / self.one_count)

    @property
    def one_count(self) -> float:
        """What one count amounts to, on average."""
        if self.variance is None:
            return 1.0
        positive = np.maximum(self.counts, 0.0)
        return float(max(self.variance.sum() / max(positive.sum(), 1e-300), 1e-300))


def spectrum_of(
    energy: npt.ArrayLike, intensity: npt.ArrayLike, error: npt.ArrayLike | None = None
) -> Spectrum:
    """Make a spectrum of what an event carries.

    Parameters
    ----------
    energy : array_like, shape (n,)
        In any order; points without a finite energy, intensity or error are left out.
    intensity : array_like, shape (n,)
        Counts if no errors are given.
    error : array_like, shape (n,), optional
        Standard deviations. Where they are those of scaled counts, the counts are recovered.

    Raises
    ------
    FrameFailed
        It is no spectrum: shapes differ, too few points, an energy twice, negative counts, nothing there.
    """
    e, y, s = _arrays(energy, intensity, error)
    usable = np.isfinite(e) & np.isfinite(y)
    if s is not None:
        usable &= np.isfinite(s) & (s >= 0)
    e, y, s = e[usable], y[usable], None if s is None else s[usable]
    if e.size < _LEAST_POINTS:
        raise FrameFailed(f"a spectrum of {e.size} usable points; at least {_LEAST_POINTS} are needed")
    order = np.argsort(e, kind="stable")
    e, y, s = e[order], y[order], None if s is None else s[order]
    if not (np.diff(e) > 0).all():
        raise FrameFailed("the spectrum has an energy twice; sum or separate the passes first")
    _not_mostly_negative(y)
    if s is None:
        if (y < 0).any():
            raise FrameFailed("negative intensities without errors; give the errors (error_key)")
        return Spectrum(e, y)
    return _with_errors(e, y, s)


def _arrays(
    energy: npt.ArrayLike, intensity: npt.ArrayLike, error: npt.ArrayLike | None
) -> tuple[Array, Array, Array | None]:
    try:
        if any(map(np.iscomplexobj, (energy, intensity, error))):
            raise TypeError("complex numbers")
        e, y = np.asarray(energy, float).ravel(), np.asarray(intensity, float)
        s = None if error is None else np.asarray(error, float).ravel()
    except (TypeError, ValueError) as fault:
        raise FrameFailed(f"spectrum, axis or error is not numeric: {fault}") from fault
    y = y.ravel() if y.size == e.size else y
    if y.shape != e.shape or (s is not None and s.shape != e.shape):
        errors = "" if s is None else f" and errors of shape {s.shape}"
        raise FrameFailed(f"intensities of shape {y.shape} with an axis of shape {e.shape}{errors}")
    return e, y, s


def _not_mostly_negative(y: Array) -> None:
    top = float(np.abs(y).max(initial=0.0))
    if not 0 < top < 1e15:
        raise FrameFailed(f"the spectrum is empty or saturated (largest intensity {top:.3g})")
    positive, negative = float(y[y > 0].sum()), float(-y[y < 0].sum())
    if negative > _MOST_NEGATIVE * positive:
        raise FrameFailed(
            f"the spectrum is mostly negative (negative points sum to {negative / max(positive, 1e-300):.3g} "
            f"of the positive ones, at most {_MOST_NEGATIVE:g}); check the background subtraction"
        )


def _with_errors(e: Array, y: Array, s: Array) -> Spectrum:
    variance = s * s
    seen = (y > 0) & (variance > 0)
    if seen.sum() >= _LEAST_POINTS // 2 and not (y < 0).any():
        ratio = variance[seen] / y[seen]
        one = float(np.median(ratio))
        if np.abs(ratio / one - 1).max() < _SAME:
            return Spectrum(e, y / one, None, one)
    known = variance > 0
    if known.sum() < _LEAST_POINTS:
        raise FrameFailed(f"only {int(known.sum())} points have an error above 0")
    return Spectrum(e[known], y[known], variance[known])
