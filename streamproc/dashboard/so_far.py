"""What is said of a run so far: the answers of one of its streams, growing with the run; pure and bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.dashboard.reading import Point, Quantity, point_of, quantities_of

__all__ = ["SoFar"]

Array = npt.NDArray[np.float64]

_MOST_ANSWERS, _MOST_ELEMENTS, _MOST_LETTERS = 600, 4096, 4096


@dataclass(slots=True)
class SoFar:
    """One stream about the run so far.

    Attributes
    ----------
    stream : str
        Its name.
    quantities : tuple of Quantity
        What its events tell.
    arrays : tuple of str
        Keys of its small arrays.
    points : deque of Point
        Its newest answers; ``seq_num`` is that of the newest reading each of them knows.
    curves : dict of str to ndarray
        Those arrays in the newest answer.
    words : deque of dict of str to str
        Texts of each of ``points``.
    """

    stream: str
    quantities: tuple[Quantity, ...]
    arrays: tuple[str, ...]
    points: deque[Point] = field(default_factory=lambda: deque(maxlen=_MOST_ANSWERS))
    curves: dict[str, Array] = field(default_factory=dict)
    words: deque[dict[str, str]] = field(default_factory=lambda: deque(maxlen=_MOST_ANSWERS))

    @classmethod
    def of(cls, descriptor: Mapping[str, Any]) -> SoFar:
        """Read a descriptor."""
        keys: Mapping[str, Any] = descriptor["data_keys"]
        arrays = tuple(str(k) for k, entry in keys.items() if entry.get("dtype") == "array")
        return cls(str(descriptor["name"]), tuple(quantities_of(descriptor, ())), arrays)

    def add(self, event: Mapping[str, Any]) -> None:
        """Take an event."""
        data = event["data"]
        point = point_of(event, self.quantities, seq_num=data.get("seq_num"))
        self.points.append(point)
        self.words.append({str(k): v[:_MOST_LETTERS] for k, v in data.items() if isinstance(v, str)})
        found = {k: np.asarray(data[k], dtype=np.float64) for k in self.arrays if k in data}
        self.curves = {k: v for k, v in found.items() if v.size <= _MOST_ELEMENTS}

    def hinted(self) -> tuple[Quantity, ...]:
        """Return the estimates that are meant to be looked at."""
        return tuple(q for q in self.quantities if q.estimate and q.hinted)

    @property
    def dispersion(self) -> tuple[Array, Array] | None:
        """Energies along the path and their uncertainties, each of shape (k, modes); None without such."""
        energy, sigma = self.curves.get("dispersion_energy"), self.curves.get("dispersion_sigma")
        if energy is None or sigma is None or energy.ndim != 2 or energy.shape != sigma.shape:
            return None
        return energy, sigma
