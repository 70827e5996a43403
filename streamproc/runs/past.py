"""What the tracker remembers of runs that are over and of documents whose run is not known; all bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from streamproc.documents import Document
from streamproc.runs.seen import RecentIds
from streamproc.runs.select import reference_of
from streamproc.runs.state import pack, pack_position, unpack, unpack_position

__all__ = ["Holding", "Owners", "PastKind"]

PastKind = Literal["late", "own-result"]

_HELD_BYTES = 64 * 2**20
"""Messages that wait for their descriptor or resource may have this many bytes altogether."""

_VALUE_BYTES = 16
"""What a value of a list or map takes in memory at the least; in the message it may be one byte."""


@dataclass(slots=True)
class _Past:
    kind: PastKind
    ids: list[str] = field(default_factory=list)


class Owners:
    """Which run a descriptor, resource or stream_resource belongs to, for open runs and the newest past ones.

    Parameters
    ----------
    past_runs, past_ids : int
        Past runs remembered, and how many uids of each.
    """

    def __init__(self, past_runs: int, past_ids: int) -> None:
        self.version = 0
        """Counts the changes of what :meth:`to_state` returns."""
        self._past_runs, self._past_ids = past_runs, past_ids
        self._past: dict[str, _Past] = {}  # the one talked about last comes last
        self._owner: dict[str, str] = {}

    def owner(self, uid: str) -> str | None:
        """Return the run that ``uid`` belongs to."""
        return self._owner.get(uid)

    def find(self, uids: Iterable[str]) -> str | None:
        """Return the run of the first uid that is known."""
        return next((self._owner[uid] for uid in uids if uid in self._owner), None)

    def own(self, uid: str, run_uid: str) -> None:
        """Note that ``uid`` belongs to ``run_uid`` now (shared resources come again in later runs)."""
        self._owner[uid] = run_uid

    def disown(self, uid: str, run_uid: str) -> None:
        """Forget ``uid`` unless another run has it by now."""
        if self._owner.get(uid) == run_uid:
            del self._owner[uid]

    def is_past(self, run_uid: str | None) -> bool:
        """Tell whether a run is over."""
        return run_uid in self._past

    def remember(self, run_uid: str, kind: PastKind, ids: Sequence[str] = ()) -> None:
        """Note that a run is over (or is one of our own)."""
        self.version += 1
        for dropped in ids[self._past_ids :]:
            self.disown(dropped, run_uid)
        self._past[run_uid] = _Past(kind, list(ids[: self._past_ids]))
        if len(self._past) > self._past_runs:
            self.forget(next(iter(self._past)))

    def forget(self, run_uid: str) -> None:
        """Forget a past run altogether."""
        past = self._past.pop(run_uid, None)
        self.version += past is not None
        for owned in past.ids if past else ():
            self.disown(owned, run_uid)

    def late(self, run_uid: str, owns: str | None) -> PastKind:
        """Note one more document of a past run and return what kind of run it was."""
        past = self._past[run_uid] = self._past.pop(run_uid)
        if owns is not None and owns not in self._owner and len(past.ids) < self._past_ids:
            past.ids.append(owns)
            self._owner[owns] = run_uid
            self.version += 1
        return past.kind

    def to_state(self) -> list[Any]:
        """Return the past runs as plain values (what open runs own is in their own documents)."""
        return [[uid, past.kind, list(past.ids)] for uid, past in self._past.items()]

    def restore(self, state: Sequence[Any]) -> None:
        """Take up what :meth:`to_state` gave."""
        self._past, self._owner = {}, {}
        for uid, kind, ids in state:
            self._past[uid] = _Past(kind, list(ids))
            self._owner.update(dict.fromkeys(ids, uid))


class Holding:
    """Documents that wait for their descriptor or resource, and what need not be searched for again.

    Parameters
    ----------
    size : int
        Documents held; the oldest is dropped for one more.
    given_up : int
        References remembered as not to be found by looking back.
    rewinds_per_minute : int
        How often a look back is granted, so that garbage cannot make us search the topic again and again.
    rewind_burst_s, rewind_share : float
        And how long that may take: this many seconds at once, and this share of the time on average.
    """

    def __init__(
        self, size: int, given_up: int, rewinds_per_minute: int, rewind_burst_s: float, rewind_share: float
    ) -> None:
        self.version = 0
        """Counts the changes of what :meth:`to_state` returns."""
        self._size = size
        self._weights: deque[int] = deque()
        self._held: deque[Document] = deque()
        self._given_up = RecentIds(given_up)
        self._asked_s: deque[float] = deque(maxlen=rewinds_per_minute)
        self._burst_s, self._share = rewind_burst_s, rewind_share
        self._left_s, self._counted_s = rewind_burst_s, 0.0

    def grant(self, wanted: str, now_s: float) -> bool:
        """Tell whether to look back for ``wanted``."""
        full = len(self._asked_s) == self._asked_s.maxlen and now_s - self._asked_s[0] < 60.0
        if full or wanted in self._given_up or not self.has_time(now_s):
            return False
        self._asked_s.append(now_s)
        return True

    def has_time(self, now_s: float) -> bool:
        """Tell whether looking back has taken less than its share of the time so far."""
        self._left_s = min(self._burst_s, self._left_s + self._share * (now_s - self._counted_s))
        self._counted_s = now_s
        return self._left_s > 0.0

    def looked(self, took_s: float) -> None:
        """Note how long a look back took."""
        self._left_s -= took_s

    def give_up(self, wanted: str) -> None:
        """Look back for ``wanted`` no more."""
        self.version += wanted not in self._given_up
        self._given_up.add(wanted)

    def hold(self, document: Document) -> None:
        """Keep a document for a while."""
        self.version += 1
        self._held.append(document)
        self._weights.append(_weight(document))
        while len(self._held) > self._size or (sum(self._weights) > _HELD_BYTES and len(self._held) > 1):
            self._held.popleft()
            self._weights.popleft()

    def release(self, uid: str) -> list[Document]:
        """Take out the documents that refer to ``uid``."""
        return self._take([uid in reference_of(d.name, d.doc).needs for d in self._held])

    def claim(self, uid: str) -> list[Document]:
        """Take out the document that ``uid`` is the uid of (a stream_resource that names no run)."""
        return self._take([reference_of(d.name, d.doc).owns == uid for d in self._held])

    def _take(self, chosen: Sequence[bool]) -> list[Document]:
        if not any(chosen):
            return []
        self.version += 1
        taken = [d for d, yes in zip(self._held, chosen, strict=True) if yes]
        self._held = deque(d for d, yes in zip(self._held, chosen, strict=True) if not yes)
        self._weights = deque(w for w, yes in zip(self._weights, chosen, strict=True) if not yes)
        return taken

    def to_state(self) -> Mapping[str, Any]:
        """Return what is held as plain values."""
        held = [
            [d.name, pack(d.doc), pack_position(d.position), d.key, d.raw, d.published_s] for d in self._held
        ]
        return {"held": held, "given_up": list(self._given_up)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`to_state` gave."""
        self._given_up = RecentIds(self._given_up.size, state["given_up"])
        self._held = deque(
            Document(name, unpack(doc), unpack_position(position), key, raw, published_s)
            for name, doc, position, key, raw, published_s in state["held"]
        )
        self._weights = deque(_weight(document) for document in self._held)


def _weight(document: Document) -> int:
    """Return about how many bytes a held document takes."""
    stack: list[Any] = [document.doc]
    values = 0
    while stack:
        holder = stack.pop()
        values += len(holder)
        inner = holder.values() if isinstance(holder, Mapping) else holder
        stack.extend(item for item in inner if isinstance(item, (Mapping, list, tuple)))
    return len(document.raw) + _VALUE_BYTES * values
