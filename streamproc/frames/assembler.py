"""Assembler: from the documents of one run to one FrameRequest per reading of the analysed key."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from streamproc.documents import Document, Position
from streamproc.errors import DocumentRefused, Where
from streamproc.frames.account import Account, FileNumbers, Missing
from streamproc.frames.darks import DarkFrames, DarkTable
from streamproc.frames.parts import (
    Half,
    Halves,
    Piece,
    Pieces,
    datum_locator,
    earliest,
    newest,
    origin_of,
    pack_locator,
    unpack_locator,
)
from streamproc.frames.requests import FrameRequest, Inline, Locator, StreamSlice
from streamproc.frames.scalars import flat_configuration, small_readings
from streamproc.frames.unresolved import Unresolved
from streamproc.runs import Run
from streamproc.runs.seen import SeqNums, TooManyGaps

__all__ = ["Assembler", "AssemblerLimits", "Missing"]


@dataclass(frozen=True, slots=True)
class AssemblerLimits:
    """How much the assembler keeps.

    ``pending`` events that wait for a datum or stream_datum, with messages of ``pending_bytes`` altogether,
    ``pieces`` of stream_datums that wait for events, ``unresolved`` stream_datums whose stream_resource has
    not come, with messages of ``unresolved_bytes``, ``failures`` remembered, ``reading_elements`` and
    ``reading_chars`` of one motor reading (larger are left out), ``take`` requests handed out at once.
    """

    pending: int = 10_000
    pending_bytes: int = 64 * 2**20
    pieces: int = 20_000
    unresolved: int = 10_000
    unresolved_bytes: int = 16 * 2**20
    failures: int = 10_000
    reading_elements: int = 16_384
    reading_chars: int = 1024
    take: int = 10_000


class Assembler:
    """Joins events, datums and stream_datums of one run into requests for single readings.

    Rules
    -----
    * An event that carries the key (array, or the name of a datum) makes the reading; a datum or resource
      that comes later is waited for.
    * Otherwise the stream_datum of the key does. It is joined with the event of the same ``seq_num`` when the
      descriptor has any key that is not ``external: STREAM:``; without such a key no event is waited for (a
      fly scan has none) and the descriptor's time is the reading's.
    * ``indices`` count within one stream_resource. When a run goes on in a new single file and its first
      stream_datum continues the numbering of the last one, the numbers before are taken off.
    * A RunEngine that rewinds (pause, suspender) takes readings again under the same ``seq_num`` and counts
      them once in ``num_events``. The first complete reading of a number counts, because its result is out
      already; of incomplete halves the newest counts. What came again is counted in :attr:`repeated`.
    * The dark frame is the newest reading of the key in ``dark_stream`` when the first half came.

    Parameters
    ----------
    run : Run
        The run; its datums are consumed here, so a run has one assembler.
    stream, frame_key : str
        Which readings to assemble. ``frame_key`` may be given later with :meth:`choose`; the dark stream is
        followed from the beginning.
    dark_stream : str or None
        Stream of dark frames; None for none.
    limits : AssemblerLimits, optional
        How much is kept.
    """

    def __init__(
        self,
        run: Run,
        stream: str,
        frame_key: str | None = None,
        dark_stream: str | None = "dark",
        *,
        limits: AssemblerLimits | None = None,
    ) -> None:
        self.run, self.stream, self.frame_key = run, stream, frame_key
        self.dark_stream = None if dark_stream == stream else dark_stream
        self.limits = limits or AssemblerLimits()
        self._account = Account(self.limits.failures)
        self._halves = Halves()
        self._pieces = Pieces()
        self._unresolved = Unresolved(self.limits.unresolved, self.limits.unresolved_bytes)
        self._ready: deque[tuple[Half, Locator]] = deque()
        self._flowing: deque[Piece] = deque()
        self._darks = DarkFrames(run)
        self._numbers = FileNumbers(self.limits.pieces)
        self._configurations: dict[str, dict[str, Any]] = {}

    # -- what the service calls -------------------------------------------------------------------------

    def choose(self, frame_key: str) -> None:
        """Set the key to assemble, before the first event or stream_datum of the stream is fed."""
        self.frame_key = frame_key

    def feed(self, document: Document, limit: int | None = None) -> list[FrameRequest]:
        """Take one accepted document of the run; return readings that are complete, as :meth:`take`.

        Raises
        ------
        DocumentRefused
            When sequence numbers are too scattered to keep account of.
        """
        try:
            self._ingest(document)
        except TooManyGaps as error:
            where = Where(
                self.run.uid, self.stream, document.doc.get("seq_num"), position=str(document.position)
            )
            raise DocumentRefused(f"{document.name}: {error}", where) from None
        return self.take(limit)

    def retake(self, first: int, stop: int) -> None:
        """Let readings ``first`` to ``stop`` (half-open) be taken once more when they come again."""
        self._account.complete.remove(first, stop)

    def take(self, limit: int | None = None) -> list[FrameRequest]:
        """Return up to ``limit`` complete readings; while :attr:`waiting` is not 0 there are more."""
        limit = self.limits.take if limit is None else limit
        taken: list[FrameRequest] = []
        while len(taken) < limit:
            if self._ready:
                taken.append(self._request(*self._ready.popleft()))
            elif self._flowing:
                piece = self._flowing.popleft()
                stop = min(piece.stop, piece.first + limit - len(taken))
                taken.extend(self._flow(piece, n) for n in range(piece.first, stop))
                if stop < piece.stop:
                    self._flowing.appendleft(piece.cut(stop, piece.stop))
            else:
                break
        return taken

    @property
    def waiting(self) -> int:
        """How many complete readings :meth:`take` has not handed out yet."""
        return len(self._ready) + sum(p.stop - p.first for p in self._flowing)

    @property
    def first_incomplete(self) -> int | None:
        """Lowest sequence number that waits for another document; None when none does."""
        waiting = [half.seq_num for half in self._halves]
        waiting.extend(piece.first for piece in self._pieces)
        return min(waiting, default=None)

    @property
    def expected(self) -> SeqNums:
        """Sequence numbers of the stream seen so far, in an event or in a stream_datum of the key."""
        return self._account.expected

    @property
    def complete(self) -> SeqNums:
        """Sequence numbers whose reading was handed out or waits in :attr:`waiting`."""
        return self._account.complete

    @property
    def repeated(self) -> SeqNums:
        """Sequence numbers that came again after they were complete (retakes, late redeliveries)."""
        return self._account.repeated

    def missing(self, stop: Mapping[str, Any] | None) -> list[Missing]:
        """Return the readings that exist, by the stop or by what was seen, but never became complete.

        Parameters
        ----------
        stop : Mapping or None
            The stop document (its ``num_events`` says how many there are); None when it never came.
        """
        announced = (stop or {}).get("num_events", {}).get(self.stream, 0)
        return self._account.missing(announced, self._waiting_for(), self._never())

    # -- documents --------------------------------------------------------------------------------------

    def _ingest(self, document: Document) -> None:
        name, doc = document.name, document.doc
        if name == "event":
            self._event(document)
        elif name == "stream_datum":
            self._stream_datum(document)
        elif name == "datum":
            self._try_datum(doc["datum_id"], document)
        elif name == "resource":
            for datum_id in self._halves.datum_ids():
                self._try_datum(datum_id, document)
        elif name == "stream_resource":
            for waited in self._unresolved.take(doc["uid"]):
                self._stream_datum(waited)

    def _event(self, document: Document) -> None:
        doc = document.doc
        descriptor = self.run.descriptors[doc["descriptor"]]
        if descriptor["name"] == self.dark_stream:
            self._darks.event(doc, descriptor)
        elif descriptor["name"] == self.stream and self.frame_key in descriptor["data_keys"]:
            self._reading(document, descriptor)
        for value in doc["data"].values():  # datums of keys nobody asked for must not pile up
            if isinstance(value, str) and value in self.run.datums and not self._halves.waits(value):
                self.run.consume_datum(value)

    def _reading(self, document: Document, descriptor: Mapping[str, Any]) -> None:
        doc, seq_num, key = document.doc, document.doc["seq_num"], self.frame_key
        assert key is not None
        self._account.expected.add(seq_num)
        if seq_num in self._account.complete:
            if key in doc["data"] or _needs_event(descriptor):
                self._account.repeated.add(seq_num)
            return
        if key in doc["data"]:
            value = doc["data"][key]
            if not isinstance(value, str):
                self._finish(self._half(document, descriptor), Inline(value))
            else:
                self._wait(self._half(document, descriptor, value))
                self._try_datum(value, document)
        elif not _is_stream(descriptor["data_keys"][key]):
            self._account.fail(seq_num, seq_num + 1, f"its event has no value for {key!r}")
        elif _needs_event(descriptor):
            half, piece = self._half(document, descriptor), self._pieces.pop(seq_num)
            if piece is None:
                self._wait(half)
            else:
                self._join(half, piece)

    def _half(self, document: Document, descriptor: Mapping[str, Any], datum_id: str | None = None) -> Half:
        doc, limits = document.doc, self.limits
        readings = small_readings(
            doc, descriptor["data_keys"], self.frame_key or "", limits.reading_elements, limits.reading_chars
        )
        timestamps = doc["timestamps"]
        return Half(
            doc["uid"], doc["seq_num"], descriptor["uid"], doc["time"], readings,
            {key: _number(timestamps.get(key), doc["time"]) for key in readings},
            document.position, document.published_s, self._darks.newest(self.frame_key), datum_id,
            origin_of(document),
        )  # fmt: skip

    def _wait(self, half: Half) -> None:
        self._halves.add(half)
        while excess := self._excess():
            oldest = next(iter(self._halves))
            self._halves.pop(oldest.seq_num)
            reason = f"{self._waits_for(oldest)}, and more than {excess} waited"
            self._account.fail(oldest.seq_num, oldest.seq_num + 1, reason)

    def _excess(self) -> str:
        """Say which bound the waiting readings are over; empty when they are not."""
        if len(self._halves) > self.limits.pending:
            return f"{self.limits.pending} readings"
        if self._halves.message_bytes > self.limits.pending_bytes and len(self._halves) > 1:
            return f"{self.limits.pending_bytes} bytes of events"
        return ""

    def _try_datum(self, datum_id: str, document: Document) -> None:
        """Finish the readings that wait for a datum, if the datum and its resource are there."""
        locator = datum_locator(self.run, datum_id) if self._halves.waits(datum_id) else None
        if locator is not None:
            self.run.consume_datum(datum_id)
            for half in self._halves.take(datum_id):
                known_s = newest(half.published_s, document.published_s)
                self._finish(_dated(half, half.position, known_s), locator)

    # -- stream_datums --------------------------------------------------------------------------------

    def _stream_datum(self, document: Document) -> None:
        doc = document.doc
        descriptor = self.run.descriptors[doc["descriptor"]]
        if descriptor["name"] not in (self.stream, self.dark_stream):
            return
        resource = self.run.stream_resources.get(doc["stream_resource"])
        if resource is None:
            self._unresolved.add(document)
        elif descriptor["name"] == self.dark_stream:
            self._darks.stream_datum(doc, descriptor, resource)
        elif resource["data_key"] == self.frame_key and self.frame_key in descriptor["data_keys"]:
            self._stretch(document, descriptor, resource)

    def _stretch(
        self, document: Document, descriptor: Mapping[str, Any], resource: Mapping[str, Any]
    ) -> None:
        """Take a stream_datum of the frame key."""
        first, stop = document.doc["seq_nums"]["start"], document.doc["seq_nums"]["stop"]
        self._account.expected.add(first, stop)
        index = self._numbers.index(document.doc["indices"], resource)
        whole = Piece(
            first, stop, index, descriptor["uid"], resource["uid"],
            document.position, document.published_s, self._darks.newest(self.frame_key), origin_of(document),
        )  # fmt: skip
        for start, end in self._account.complete.overlap(first, stop):
            self._account.repeated.add(start, end)
        for start, end in list(self._account.complete.gaps(first, stop)):
            if _needs_event(descriptor):
                self._await_events(whole.cut(start, end))
            else:
                self._account.complete.add(start, end)
                self._flowing.append(whole.cut(start, end))

    def _await_events(self, piece: Piece) -> None:
        self._pieces.add(piece)
        for half in self._halves.without_datum(piece.first, piece.stop):
            part = self._pieces.pop(half.seq_num)
            if part is not None:
                self._join(half, part)
        if len(self._pieces) > self.limits.pieces:
            oldest = next(iter(self._pieces))
            self._pieces.remove(oldest.first, oldest.stop)
            reason = f"its event never came, and more than {self.limits.pieces} stream_datums waited"
            self._account.fail(oldest.first, oldest.stop, reason)

    # -- readings ---------------------------------------------------------------------------------------

    def _join(self, half: Half, piece: Piece) -> None:
        """Put an event and its part of a stream_datum together."""
        resource = self._resource(piece)
        position = earliest(half.position, piece.position)
        whole = _dated(half, position, newest(half.published_s, piece.published_s))
        self._finish(whole, StreamSlice(resource, piece.index))

    def _finish(self, half: Half, locator: Locator) -> None:
        self._account.complete.add(half.seq_num)
        self._halves.pop(half.seq_num)
        self._ready.append((half, locator))

    def _request(self, half: Half, locator: Locator) -> FrameRequest:
        descriptor = self.run.descriptors[half.descriptor]
        key = self.frame_key or ""
        if half.descriptor not in self._configurations:
            self._configurations[half.descriptor] = flat_configuration(
                descriptor, self.limits.reading_elements, self.limits.reading_chars
            )
        return FrameRequest(
            self.run.uid, self.stream, half.seq_num, key, descriptor["data_keys"][key], locator, half.time_s,
            half.position, half.published_s, half.readings, half.timestamps,
            half.dark.locator if half.dark else None, half.dark.data_key if half.dark else None,
            self._configurations[half.descriptor], half.origin,
        )  # fmt: skip

    def _flow(self, piece: Piece, seq_num: int) -> FrameRequest:
        """Return one reading of a stream without events; its time is the descriptor's."""
        time_s = self.run.descriptors[piece.descriptor]["time"]
        half = Half(
            "", seq_num, piece.descriptor, time_s, {}, {}, piece.position, piece.published_s, piece.dark,
            None, piece.origin,
        )  # fmt: skip
        resource = self._resource(piece)
        return self._request(half, StreamSlice(resource, piece.index + seq_num - piece.first))

    def _resource(self, piece: Piece) -> Mapping[str, Any]:
        uid = piece.stream_resource
        gone: dict[str, Any] = {"uid": uid, "data_key": self.frame_key, "uri": "", "parameters": {}}
        gone["mimetype"] = "forgotten"
        return self.run.stream_resources.get(uid, gone)  # a run may have more of them than are kept

    # -- what is missing --------------------------------------------------------------------------------

    def _waits_for(self, half: Half) -> str:
        if half.datum_id is None:
            return "its stream_datum never came"
        datum = self.run.datum(half.datum_id)
        if datum is None:
            return f"datum {half.datum_id!r} never came"
        return f"resource {datum['resource']!r} never came"

    def _waiting_for(self) -> Iterator[Missing]:
        for document in self._unresolved:
            numbers, resource = document.doc["seq_nums"], document.doc["stream_resource"]
            if self.run.descriptors[document.doc["descriptor"]]["name"] == self.stream:
                reason = f"stream_resource {resource!r} never came"
                yield Missing(numbers["start"], numbers["stop"], reason)
        for half in self._halves:
            yield Missing(half.seq_num, half.seq_num + 1, self._waits_for(half))
        for piece in self._pieces:
            yield Missing(piece.first, piece.stop, "its event never came")

    def _never(self) -> str:
        """Say what is missing of a reading of which nothing at all was seen."""
        keys = [d["data_keys"] for d in self.run.stream_descriptors(self.stream)]
        mine = [k for k in keys if self.frame_key in k]
        if mine and _is_stream(mine[-1][self.frame_key]):
            what = (
                "neither event nor stream_datum"
                if _needs_event({"data_keys": mine[-1]})
                else "no stream_datum"
            )
        else:
            what = "its event never"
        joined = "; the run was joined in the middle" if self.run.missing else ""
        return f"{what} came{joined}"

    # -- state ------------------------------------------------------------------------------------------

    def to_state(self) -> dict[str, Any]:
        """Return all that is needed to go on elsewhere, as plain msgpack-able values (the run apart)."""
        table = DarkTable()
        state: dict[str, Any] = {
            "stream": self.stream,
            "frame_key": self.frame_key,
            "dark_stream": self.dark_stream,
            "account": self._account.to_state(),
            "halves": [table.pack(h) for h in self._halves],
            "pieces": [table.pack(p) for p in self._pieces],
            "flowing": [table.pack(p) for p in self._flowing],
            "ready": [[table.pack(half), *pack_locator(locator)] for half, locator in self._ready],
            "unresolved": self._unresolved.to_state(),
            "newest_darks": self._darks.to_state(table),
            "numbers": self._numbers.to_state(),
        }
        state["darks"] = table.to_state()
        return state

    @classmethod
    def from_state(
        cls, run: Run, state: Mapping[str, Any], *, limits: AssemblerLimits | None = None
    ) -> Assembler:
        """Take up what :meth:`to_state` gave, for the same run."""
        self = cls(run, state["stream"], state["frame_key"], state["dark_stream"], limits=limits)
        table = DarkTable(state["darks"])
        self._account.restore(state["account"])
        self._numbers.restore(state["numbers"])
        for half in (table.unpack(Half, h) for h in state["halves"]):
            self._halves.add(half)
        self._pieces = Pieces([table.unpack(Piece, p) for p in state["pieces"]])
        self._flowing.extend(table.unpack(Piece, p) for p in state["flowing"])
        self._ready.extend((table.unpack(Half, h), unpack_locator(k, v)) for h, k, v in state["ready"])
        self._unresolved.restore(state["unresolved"])
        self._darks.restore(state["newest_darks"], table)
        return self


def _is_stream(data_key: Mapping[str, Any]) -> bool:
    return str(data_key.get("external", "")).startswith("STREAM")


def _needs_event(descriptor: Mapping[str, Any]) -> bool:
    """Tell whether events of this descriptor carry anything: some key is not in a stream_resource."""
    return not all(_is_stream(entry) for entry in descriptor["data_keys"].values())


def _dated(half: Half, position: Position, published_s: float | None) -> Half:
    if position is half.position and published_s == half.published_s:
        return half
    return replace(half, position=position, published_s=published_s)


def _number(value: Any, otherwise: float) -> float:
    return value if isinstance(value, (int, float)) else otherwise
