"""Least squares beside the hot path: one map at a time, said before the next begins."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from streamproc.consumers._excitation_columns import packed, unpacked
from streamproc.models.excitations.maps.container import SqeMap
from streamproc.models.excitations.maps.reader import MapReader, Read, Refined
from threadpoolctl import threadpool_limits

__all__ = ["Asked", "MapRefining"]

_PARTS = ("q_rlu", "energy_meV", "intensity", "sigma", "measured")


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A map that is to be fitted.

    Attributes
    ----------
    seq_num : int
        Newest reading in it.
    measured : SqeMap
        The map so far.
    events : int
        Readings in it.
    counts : float
        Sum of the intensities.
    """

    seq_num: int
    measured: SqeMap = field(repr=False)
    events: int
    counts: float

    def snapshot(self) -> dict[str, Any]:
        """Return it as plain data."""
        arrays = {k: packed(getattr(self.measured, k)) for k in _PARTS}
        return {
            "seq_num": self.seq_num,
            "events": self.events,
            "counts": self.counts,
            "shape": list(self.measured.intensity.shape),
            **arrays,
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Asked:
        """Take up what :meth:`snapshot` gave."""
        n, m = (int(v) for v in state["shape"])
        shapes = {"q_rlu": (n, 3), "energy_meV": (m,)}
        parts = {k: unpacked(state[k], shapes.get(k, (n, m))) for k in _PARTS}
        measured = SqeMap(*(parts[k] for k in _PARTS[:-1]), parts["measured"] > 0.5)
        return cls(int(state["seq_num"]), measured, int(state["events"]), float(state["counts"]))


class MapRefining:
    """The fits of one run: at most one is under way, and it is said before the next begins.

    So the documents come in one order, whatever the speed of the machine.

    Parameters
    ----------
    reader : MapReader
        Does the work.
    temperature_K : float
        Of the sample.
    q_across : float
        Full width of the cut across the path (r.l.u.).
    """

    def __init__(self, reader: MapReader, temperature_K: float, q_across: float = 0.0) -> None:
        self._reader, self._temperature, self._across = reader, temperature_K, q_across
        self._pool: ThreadPoolExecutor | None = None
        self._pending: tuple[Asked, Future[tuple[Read, Refined | None]]] | None = None

    def ask(self, asked: Asked) -> tuple[Asked, Read, Refined | None] | None:
        """Begin with a map; return the one before it."""
        before = self.rest()
        self._begin(asked)
        return before

    def rest(self) -> tuple[Asked, Read, Refined | None] | None:
        """Wait for the fit under way and return it."""
        if self._pending is None:
            return None
        asked, future = self._pending
        self._pending = None
        read, refined = future.result()
        return asked, read, refined

    def _begin(self, asked: Asked) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="fit")
        self._pending = (asked, self._pool.submit(self._fit, asked.measured))

    def _fit(self, measured: SqeMap) -> tuple[Read, Refined | None]:
        with threadpool_limits(1, "blas"):  # many small matrices: threads gain nothing
            read = self._reader.read(measured)
            return read, self._reader.refine(measured, read, self._temperature, self._across)

    def snapshot(self) -> dict[str, Any]:
        """Return the map under way."""
        return {"pending": None if self._pending is None else self._pending[0].snapshot()}

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Go on; the map under way is begun again."""
        if stored["pending"] is not None:
            self._begin(Asked.restored(stored["pending"]))
