"""Refinement beside the hot path: one thread, patterns in the order of their readings, each from the last."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.fit import (
    FitState,
    ProfileFitter,
    Refined,
    measured_points,
    pattern_of,
    phases_of,
    radiation_of,
    refine_settings,
)

from streamproc.errors import FrameFailed
from streamproc.inference.card import ModelCard

__all__ = ["Asked", "Refiner", "Refining"]

Array = npt.NDArray[np.float64]


_GOOD_START = 0.5
"""A fit with a larger Rwp explains too little to begin the next one with."""

_HOLE_SHARE = 1 / 80
"""Zeros over a longer share of the axis were not measured: a degree of the usual axis."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A pattern that is to be refined, and what the network said of it.

    Attributes
    ----------
    seq_num : int
        Reading.
    axis, intensity : ndarray, shape (n,)
        The pattern as measured.
    kind : str
        What the axis is.
    wavelength_A : float or None
        Of a 2theta axis, where it is not the model's.
    phases : tuple of str
        Phases to refine.
    fractions, sigmas : dict of str to float
        The fast answer.
    """

    seq_num: int
    axis: Array = field(repr=False)
    intensity: Array = field(repr=False)
    kind: str
    wavelength_A: float | None
    phases: tuple[str, ...]
    fractions: Mapping[str, float]
    sigmas: Mapping[str, float]

    def snapshot(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "seq_num": self.seq_num,
            "axis": self.axis.astype("<f8").tobytes(),
            "intensity": self.intensity.astype("<f8").tobytes(),
            "kind": self.kind,
            "wavelength_A": self.wavelength_A,
            "phases": list(self.phases),
            "fractions": dict(self.fractions),
            "sigmas": dict(self.sigmas),
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Asked:
        """Take up what :meth:`snapshot` gave."""
        arrays = {k: np.frombuffer(state[k], "<f8").astype(float) for k in ("axis", "intensity")}
        kept = {k: state[k] for k in ("seq_num", "kind", "wavelength_A", "fractions", "sigmas")}
        return cls(**kept, **arrays, phases=tuple(state["phases"]))


class Refiner:
    """Refines patterns with a model's phases; one thread for all runs of a process.

    Parameters
    ----------
    card : ModelCard
        Phases and wavelengths.
    """

    def __init__(self, card: ModelCard) -> None:
        self._card = card
        self._fitter: ProfileFitter | None = None
        self._pool: ThreadPoolExecutor | None = None

    def submit(self, asked: Asked, start: FitState | None) -> Future[Refined | FrameFailed]:
        """Begin a refinement; the answer is a fit, or why there is none."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="refine")
        return self._pool.submit(self._refine, asked, start)

    def _refine(self, asked: Asked, start: FitState | None) -> Refined | FrameFailed:
        if self._fitter is None:
            settings = refine_settings(radiation_of(self._card.reference, True), self._geometry())
            self._fitter = ProfileFitter(phases_of(self._card.reference, self._card.labels), settings)
        own = self._card.axis.wavelength_A
        try:
            axis, intensity = self._own_axis(asked, own)
            pattern = pattern_of(
                axis, intensity, mask=_not_measured(axis, intensity), kind=asked.kind, wavelength_A=own
            )
            return self._fitter.fit(pattern, asked.phases, start)
        except FrameFailed as error:
            return error

    def _geometry(self) -> Any:
        return self._card.reference.get("geometry", "bragg-brentano")

    @staticmethod
    def _own_axis(asked: Asked, own: float | None) -> tuple[Array, Array]:
        """A 2theta axis of another wavelength becomes one of the model's."""
        other = asked.wavelength_A
        if asked.kind != "two_theta_deg" or other is None or own is None or abs(other / own - 1) < 1e-6:
            return asked.axis, asked.intensity
        sine = np.sin(np.deg2rad(asked.axis) / 2) * own / other
        inside = sine < 1
        return np.rad2deg(2 * np.arcsin(sine[inside])), asked.intensity[inside]


def _not_measured(axis: Array, intensity: Array) -> npt.NDArray[np.bool_]:
    """Zeros where nothing was measured: in a fit one zero weighs as much as many counts."""
    longest = _HOLE_SHARE * abs(float(axis[-1] - axis[0]))
    # what lies below zero was measured, and so was what is not a number, which is refused later
    root = np.where(intensity < 0, 1e-300, np.sqrt(np.maximum(intensity, 0.0)))
    return ~measured_points(axis, root, longest)


class Refining:
    """The refinements of one run: at most one is under way, and it is said before the next begins.

    So the documents come in one order, whatever the speed of the machine, and each refinement starts from the
    one before it.

    Parameters
    ----------
    refiner : Refiner
        Does the work.
    """

    def __init__(self, refiner: Refiner) -> None:
        self._refiner = refiner
        self._state: FitState | None = None
        self._pending: tuple[Asked, Future[Refined | FrameFailed]] | None = None

    def ask(self, asked: Asked) -> tuple[Asked, Refined | FrameFailed] | None:
        """Begin with a pattern; return the one before it."""
        before = self.rest()
        self._begin(asked)
        return before

    def rest(self) -> tuple[Asked, Refined | FrameFailed] | None:
        """Wait for the pattern under way and return it."""
        if self._pending is None:
            return None
        asked, future = self._pending
        self._pending = None
        found = future.result()
        if isinstance(found, Refined) and found.converged and found.r_wp < _GOOD_START:
            self._state = found.state
        return asked, found

    def _begin(self, asked: Asked) -> None:
        start = (
            self._state if self._state is not None and set(self._state.phases) >= set(asked.phases) else None
        )
        self._pending = (asked, self._refiner.submit(asked, start))

    def snapshot(self) -> dict[str, Any]:
        """Return the pattern under way and where the last refinement ended."""
        state = self._state
        return {
            "state": None if state is None else [list(state.phases), dict(state.values)],
            "pending": None if self._pending is None else self._pending[0].snapshot(),
        }

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Go on; the pattern under way is begun again."""
        if stored["state"] is not None:
            phases, values = stored["state"]
            self._state = FitState(tuple(phases), {k: float(v) for k, v in values.items()})
        if stored["pending"] is not None:
            self._begin(Asked.restored(stored["pending"]))
