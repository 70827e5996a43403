"""Dark frames of a run: the newest reading of each key in the dark stream, and how shared ones are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from streamproc.frames.parts import (
    Dark,
    Half,
    Piece,
    datum_locator,
    pack_locator,
    pack_origin,
    unpack_locator,
    unpack_origin,
)
from streamproc.frames.requests import Inline, StreamSlice
from streamproc.runs import Run
from streamproc.runs.state import pack, pack_position, unpack, unpack_position

__all__ = ["DarkFrames", "DarkTable"]

_UNRESOLVED = 3
"""How many dark readings whose datum has not come are remembered per key."""


class DarkFrames:
    """Follows the dark stream of one run.

    Parameters
    ----------
    run : Run
        The run; dark datums are looked up in it and consumed.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        # per key the newest whose place is known, then those (datum_id, descriptor uid) that wait for a datum
        self._known: dict[str, list[Dark | tuple[str, str]]] = {}

    def event(self, doc: Mapping[str, Any], descriptor: Mapping[str, Any]) -> None:
        """Take an event of the dark stream."""
        for key, value in doc["data"].items():
            if isinstance(value, str):
                self._known[key] = [*self._known.get(key, ())[-_UNRESOLVED:], (value, descriptor["uid"])]
                self.newest(key)
            elif getattr(value, "ndim", 0) or isinstance(value, list):
                self._known[key] = [Dark(Inline(value), descriptor["data_keys"].get(key, {}))]

    def stream_datum(
        self, doc: Mapping[str, Any], descriptor: Mapping[str, Any], resource: Mapping[str, Any]
    ) -> None:
        """Take a stream_datum of the dark stream: its last event is the newest."""
        if doc["indices"]["stop"] > doc["indices"]["start"]:
            locator = StreamSlice(resource, doc["indices"]["stop"] - 1)
            key = resource["data_key"]
            self._known[key] = [Dark(locator, descriptor["data_keys"].get(key, {}))]

    def newest(self, key: str | None) -> Dark | None:
        """Return the newest dark reading of ``key`` whose documents are all there."""
        known = self._known.get(key or "", [])
        for i in range(len(known) - 1, -1, -1):
            entry = known[i]
            dark = entry if isinstance(entry, Dark) else self._resolve(key or "", *entry)
            if dark is not None:
                known[: i + 1] = [dark]
                return dark
        return None

    def _resolve(self, key: str, datum_id: str, descriptor_uid: str) -> Dark | None:
        locator = datum_locator(self._run, datum_id)
        if locator is None:
            return None
        self._run.consume_datum(datum_id)
        return Dark(locator, self._run.descriptors[descriptor_uid]["data_keys"].get(key, {}))

    def to_state(self, table: DarkTable) -> dict[str, Any]:
        """Return what is known as plain values; darks as their number in ``table``."""
        return {
            key: [table.index(e) if isinstance(e, Dark) else list(e) for e in entries]
            for key, entries in self._known.items()
        }

    def restore(self, state: Mapping[str, Any], table: DarkTable) -> None:
        """Take up what :meth:`to_state` gave."""
        for key, entries in state.items():
            found = [table[e] if isinstance(e, int) else (str(e[0]), str(e[1])) for e in entries]
            self._known[key] = [e for e in found if e is not None]


class DarkTable:
    """Stores darks once, however many halves share one (an inline dark is a whole image)."""

    def __init__(self, state: Sequence[Any] = ()) -> None:
        self._darks = [Dark(unpack_locator(kind, values), unpack(key)) for kind, values, key in state]

    def index(self, dark: Dark | None) -> int:
        """Return the number of ``dark`` in the table, -1 for none."""
        if dark is None:
            return -1
        for i, known in enumerate(self._darks):
            if known is dark:
                return i
        self._darks.append(dark)
        return len(self._darks) - 1

    def __getitem__(self, index: int) -> Dark | None:
        return None if index < 0 else self._darks[index]

    def to_state(self) -> list[Any]:
        """Return the table as plain msgpack-able values."""
        return [[*pack_locator(d.locator), pack(d.data_key)] for d in self._darks]

    def pack(self, part: Half | Piece) -> dict[str, Any]:
        """Return a half or piece as plain values."""
        own = ("dark", "position", "origin")
        state = {f.name: pack(getattr(part, f.name)) for f in fields(part) if f.name not in own}
        state |= {"dark": self.index(part.dark), "position": pack_position(part.position)}
        return {**state, "origin": pack_origin(part.origin)}

    def unpack(self, kind: type[Any], state: Mapping[str, Any]) -> Any:
        """Take up what :meth:`pack` gave; ``kind`` is :class:`Half` or :class:`Piece`."""
        values = {name: unpack(value) for name, value in state.items()}
        values["dark"] = self[state["dark"]]
        values["position"] = unpack_position(state["position"])
        values["origin"] = unpack_origin(state["origin"])
        return kind(**values)
