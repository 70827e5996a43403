"""LaneStore: which stored parts have changed since the last commit; each is written once.

A delivery may arrive in part where a broker has no transactions. So each part is written with the number of
its delivery and beside the part that counts; the lane's head, written after all of them, says up to which
number they count (``docs/decisions/0006-exactly-once.md``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias
from urllib.parse import quote, unquote

from streamproc.service.records import Record
from streamproc.transports.plain import Shelf, from_bytes, restore_shelved, split, to_bytes
from streamproc.transports.ports import Stage

__all__ = ["HEAD", "LANE", "Changes", "LaneStore"]

LANE = "%lane"
"""Owner of the records that belong to no run; no quoted run uid looks like it."""
HEAD = "position"
"""The lane's record that makes a delivery count."""

_ARRAY, _SECOND = "array/", "second/"
_LEAST_PIECE_BYTES = 4096
_UNKNOWN = object()

_Message: TypeAlias = tuple[Stage, str, bytes | None]


@dataclass(frozen=True, slots=True)
class _Written:
    """One part as it is stored: its version, the arrays it refers to, where it is and where it was."""

    token: Any
    arrays: frozenset[str]
    place: str
    places: frozenset[str]
    listed: bool

    def oldest_first(self) -> list[str]:
        """Return all places; withdrawn in this order, none comes to count that was replaced."""
        return [*sorted(self.places - {self.place}), self.place]


@dataclass(slots=True)
class _Owner:
    """What is stored of one run, per key."""

    written: dict[str, _Written] = field(default_factory=dict)
    arrays: set[str] = field(default_factory=set)
    shelf: Shelf = field(default_factory=Shelf)


@dataclass(frozen=True, slots=True)
class Changes:
    """Messages (None for a tombstone) and, for :meth:`LaneStore.accept`, what they make true."""

    messages: list[_Message]
    owner: str
    written: dict[str, _Written]
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
        self._delivery = 0
        self._leftovers: list[str] = []

    @property
    def owners(self) -> list[str]:
        """Everything of which something is stored."""
        return list(self._owners)

    def changes(self, owner: str, records: Iterable[Record]) -> Changes:
        """Return what has to be written so that exactly ``records`` are stored; none: all is withdrawn.

        Those of the lane come first and belong to every delivery.
        """
        known = self._owners.setdefault(owner, _Owner())
        written: dict[str, _Written] = {}
        messages: list[_Message] = []
        if owner == LANE:
            messages = [(Stage.SAID, key, None) for key in self._leftovers]
        pieces: dict[str, Any] = {}
        for record in records:
            before = known.written.get(record.key)
            if before is not None and record.token is not None and before.token == record.token:
                written[record.key] = before
                continue
            found: dict[str, Any] = {}
            value = self._numbered(known.shelf.strip(record.value(), found), found)
            pieces.update(found)
            head = (owner, record.key) == (LANE, HEAD)
            place = _key(owner, HEAD) if head else _beside(before, owner, record.key)
            places = frozenset({place}) | (before.places if before is not None else frozenset())
            written[record.key] = _Written(record.token, frozenset(found), place, places, record.listed)
            messages.append((Stage.COUNTS if head else Stage.SAID, place, value))
        arrays = set().union(*(part.arrays for part in written.values()))
        new: list[_Message] = [
            (Stage.SAID, _key(owner, f"{_ARRAY}{d}"), to_bytes(bytes(p)))
            for d, p in pieces.items()
            if d not in known.arrays
        ]
        for key, part in known.written.items():
            if key not in written:
                if not part.listed:  # it ends with the head, not with one tombstone or another
                    end = _beside(part, owner, key)
                    messages.append((Stage.SAID, end, self._numbered(None, {})))
                    part = replace(part, place=end, places=part.places | {end})
                messages += [(Stage.WITHDRAWN, place, None) for place in part.oldest_first()]
        gone = sorted(known.arrays - arrays)
        messages += [(Stage.WITHDRAWN, _key(owner, _ARRAY + digest), None) for digest in gone]
        return Changes([*messages, *new], owner, written, arrays)

    def accept(self, changes: Changes) -> None:
        """Note that changes are stored."""
        if changes.owner == LANE:
            self._delivery += 1
            self._leftovers = []
        if not changes.written:
            self._owners.pop(changes.owner, None)
            return
        known = self._owners[changes.owner]
        known.written, known.arrays = changes.written, changes.arrays
        known.shelf.keep_only(changes.arrays)

    def restore(self, records: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
        """Take up what is stored (newest value per key); returns the values that count by owner and key.

        What does not count, of a delivery that arrived in part, is withdrawn with the next one.

        Raises
        ------
        ValueError, KeyError, TypeError
            Not written by this program, or a piece is missing.
        """
        owners = _by_owner(records)
        lane = owners.pop(LANE, {})
        if HEAD in lane:
            self._delivery, _ = _counted(lane[HEAD])
        values = {owner: self._restore(owner, parts) for owner, parts in ((LANE, lane), *owners.items())}
        return {owner: found for owner, found in values.items() if found}

    def _restore(self, owner: str, parts: Mapping[str, bytes]) -> dict[str, Any]:
        counting: dict[str, tuple[int, Any]] = {}
        known, leftovers = _Owner(), []
        for name, raw in parts.items():
            if name.startswith(_ARRAY):
                known.arrays.add(name.removeprefix(_ARRAY))
                continue
            key, place = name.removeprefix(_SECOND), _key(owner, name)
            delivery, value = _counted(raw)
            if delivery > self._delivery:
                leftovers.append(place)
                continue
            before = known.written.get(key)
            places = frozenset({place}) | (before.places if before is not None else frozenset())
            if before is not None and counting[key][0] > delivery:
                place = before.place
            else:
                counting[key] = (delivery, value)
            # Which arrays a part refers to is not known any more: all count as referred to by the changing
            # part, which is written anew at the first change; what is not needed then is withdrawn.
            known.written[key] = _Written(_UNKNOWN, frozenset(), place, places, False)
        if counting.get(HEAD if owner == LANE else "", (0, None))[1] is None:
            self._leftovers += [_key(owner, name) for name in parts]
            return {}
        for key in [key for key, (_, value) in counting.items() if value is None]:
            part = known.written.pop(key)
            leftovers += part.oldest_first()
            del counting[key]
        self._leftovers += leftovers
        self._owners[owner] = known
        pieces = {digest: from_bytes(parts[_ARRAY + digest]) for digest in known.arrays}
        return {key: restore_shelved(value, pieces) for key, (_, value) in counting.items()}

    def _numbered(self, value: Any, pieces: dict[str, Any]) -> bytes:
        """Return a value with the number of the next delivery; too large a one is cut into ``pieces``."""
        raw = to_bytes([self._delivery + 1, value])
        if len(raw) <= self._most_bytes:
            return raw
        cut = split(to_bytes(value), max(self._most_bytes // 2, _LEAST_PIECE_BYTES), pieces)
        return to_bytes([self._delivery + 1, cut])


def _counted(raw: bytes) -> tuple[int, Any]:
    """Return the number of a part's delivery and its value; parts of before there were numbers all count."""
    found = from_bytes(raw)
    if isinstance(found, list) and len(found) == 2 and isinstance(found[0], int):
        return found[0], found[1]
    return 0, found


def _by_owner(records: Mapping[str, bytes]) -> dict[str, dict[str, bytes]]:
    """Sort stored records by the run they belong to; keys lose the run's uid."""
    sorted_: dict[str, dict[str, bytes]] = {}
    for key, value in records.items():
        quoted, _, rest = key.partition("/")
        sorted_.setdefault(quoted if quoted == LANE else unquote(quoted), {})[rest] = value
    return sorted_


def _beside(before: _Written | None, owner: str, key: str) -> str:
    """Return where a part is written so that the one before stays."""
    first, second = _key(owner, key), _key(owner, _SECOND + key)
    return second if before is not None and before.place == first else first


def _key(owner: str, key: str) -> str:
    quoted = owner if owner == LANE else quote(owner, safe="")
    return f"{quoted}/{key}" if key else quoted
