"""Parameters of a spectrum, as names, as one vector, and as modes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.oscillators.expected import Layout

__all__ = ["MOST_MODES", "PER_MODE", "Composition", "Mode"]

Array = npt.NDArray[np.float64]

PER_MODE = ("energy", "width", "amplitude")
MOST_MODES = 4


@dataclass(frozen=True, slots=True)
class Mode:
    """One oscillator: energy, full width at half maximum, area (see :mod:`.dho`)."""

    energy: float
    width: float
    amplitude: float

    @property
    def overdamped(self) -> bool:
        """No oscillation any more: width above twice the energy."""
        return self.width > 2 * self.energy


@dataclass(frozen=True, slots=True)
class Composition:
    """What a spectrum is made of, and the order of its parameters.

    Attributes
    ----------
    modes : int
        Number of oscillators; each has energy, width, amplitude.
    elastic : bool
        There is an elastic line; its area is a parameter.
    zero : bool
        Where energy loss 0 is on the axis is a parameter.
    slope : bool
        The background is linear instead of constant.
    """

    modes: int
    elastic: bool = True
    zero: bool = True
    slope: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters, in order."""
        modes = [f"{name}_{k}" for k in range(1, self.modes + 1) for name in PER_MODE]
        rest = ["elastic"] * self.elastic + ["zero"] * self.zero + ["background"] + ["slope"] * self.slope
        return (*modes, *rest)

    @property
    def layout(self) -> Layout:
        """The same in numbers, for compiled code."""
        return Layout(self.modes, int(self.elastic), int(self.zero), int(self.slope))

    def __len__(self) -> int:
        return 3 * self.modes + self.elastic + self.zero + 1 + self.slope

    def place(self, name: str) -> int:
        """Return where a parameter is in the vector."""
        return self.names.index(name)

    @property
    def background(self) -> int:
        """Place of the constant background."""
        return 3 * self.modes + self.elastic + self.zero

    def vector(
        self, modes: tuple[Mode, ...] | list[Mode], elastic: float = 0.0, zero: float = 0.0,
        background: float = 0.0, slope: float = 0.0,
    ) -> Array:  # fmt: skip
        """Return the parameters as one vector; what is no parameter is left out."""
        values = [v for m in modes for v in (m.energy, m.width, m.amplitude)]
        values += [elastic] * self.elastic + [zero] * self.zero + [background] + [slope] * self.slope
        return np.array(values, float)

    def modes_of(self, vector: Array) -> tuple[Mode, ...]:
        """Return the oscillators in a vector."""
        rows = np.asarray(vector)[: 3 * self.modes].reshape(-1, 3)
        return tuple(Mode(float(e), float(w), float(a)) for e, w, a in rows)
