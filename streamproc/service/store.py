"""LaneStore: which stored parts have changed since the last commit; each is written once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from streamproc.service.records import Record
from streamproc.transports.plain import Shelf, from_bytes, restore_shelved, split, to_bytes

__all__ = ["LANE", "Changes", "LaneStore", "by_owner"]

LANE = "%lane"
"""Owner of the records that belong to no run; no quoted run uid looks like it."""


_LEAST_PIECE_BYTES = 4096


@dataclass(slots=True)
class _Owner:
    """What is stored of one run: per key its token and the digests of the arrays it refers to."""

    written: dict[str, tuple[Any, frozenset[str]]] = field(default_factory=dict)
    arrays: set[str] = field(default_factory=set)
    shelf: Shelf = field(default_factory=Shelf)


@dataclass(frozen=True, slots=True)
class Changes:
    """Messages (key; value, None for a tombstone) and, for :meth:`LaneStore.accept`, what they make true."""

    messages: list[tuple[str, bytes | None]]
    owner: str
    written: dict[str, tuple[Any, frozenset[str]]]
    arrays: set[str]


class LaneStore:
    """Remembers what of each run is stored.

    Parameters
    ----------
    most_bytes : int
        Largest record that is written in one piece; documents alone can make a run's state larger.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._owners: dict[str, _Owner] = {}

    @property
    def owners(self) -> list[str]:
        """Everything of which something is stored."""
        return list(self._owners)

    def changes(self, owner: str, records: Iterable[Record]) -> Changes:
        """Return what has to be written so that exactly ``records`` are stored; none: all is withdrawn."""
        known = self._owners.setdefault(owner, _Owner())
        written: dict[str, tuple[Any, frozenset[str]]] = {}
        messages: list[tuple[str, bytes | None]] = []
        pieces: dict[str, Any] = {}
        for record in records:
            before = known.written.get(record.key)
            if before is not None and record.token is not None and before[0] == record.token:
                written[record.key] = before
                continue
            found: dict[str, Any] = {}
            value = to_bytes(known.shelf.strip(record.value(), found))
            if len(value) > self._most_bytes:
                value = split(value, max(self._most_bytes // 2, _LEAST_PIECE_BYTES), found)
            pieces.update(found)
            written[record.key] = (record.token, frozenset(found))
            messages.append((_key(owner, record.key), value))
        arrays = set().union(*(digests for _, digests in written.values()))
        new = [
            (_key(owner, f"array/{d}"), to_bytes(bytes(p)))
            for d, p in pieces.items()
            if d not in known.arrays
        ]
        gone = [_key(owner, k) for k in known.written if k not in written]
        gone += [_key(owner, f"array/{d}") for d in known.arrays - arrays]
        return Changes([*new, *messages, *((key, None) for key in gone)], owner, written, arrays)

    def accept(self, changes: Changes) -> None:
        """Note that changes are stored."""
        if not changes.written:
            self._owners.pop(changes.owner, None)
            return
        known = self._owners[changes.owner]
        known.written, known.arrays = changes.written, changes.arrays
        known.shelf.keep_only(changes.arrays)

    def restore(self, owner: str, parts: Mapping[str, bytes]) -> dict[str, Any]:
        """Take up what is stored of one owner; returns the values by key.

        Raises
        ------
        ValueError, KeyError
            Not written by this program, or a piece is missing.
        """
        arrays = {k.removeprefix("array/"): from_bytes(v) for k, v in parts.items() if k.startswith("array/")}
        values = {
            k: restore_shelved(from_bytes(v), arrays) for k, v in parts.items() if not k.startswith("array/")
        }
        # Which arrays a part refers to is not known any more: all count as referred to by the changing part,
        # which is written anew at the first change; what is not needed then is withdrawn.
        known = self._owners[owner] = _Owner(arrays=set(arrays))
        known.written = {k: (_UNKNOWN, frozenset()) for k in values}
        return values


_UNKNOWN = object()


def by_owner(records: Mapping[str, bytes]) -> dict[str, dict[str, bytes]]:
    """Sort stored records by the run they belong to; keys lose the run's uid."""
    sorted_: dict[str, dict[str, bytes]] = {}
    for key, value in records.items():
        quoted, _, rest = key.partition("/")
        sorted_.setdefault(quoted if quoted == LANE else unquote(quoted), {})[rest] = value
    return sorted_


def _key(owner: str, key: str) -> str:
    quoted = owner if owner == LANE else quote(owner, safe="")
    return f"{quoted}/{key}" if key else quoted
