"""Lane: all that the documents of one input partition have led to, and how it is stored and restored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import structlog

from streamproc.analysis import Analysis, FrameFailure
from streamproc.documents import BadMessage, Document, TopicPartition
from streamproc.errors import DocumentRefused, FatalError, Where
from streamproc.frames.requests import FrameRequest
from streamproc.runs import NeedsRewind, Outcome, Skipped
from streamproc.service.desk import Desk
from streamproc.service.late import FailedRuns, Supplement
from streamproc.service.life import Life
from streamproc.service.outbox import Unsent
from streamproc.service.places import place
from streamproc.service.records import Record, fill, restore_run, run_records
from streamproc.service.reinjected import Reinjected
from streamproc.service.store import HEAD, LANE, Changes, LaneStore
from streamproc.service.work import Pending, RunWork
from streamproc.settings import Settings
from streamproc.transports.deadletters import ORIGIN, REINJECTED
from streamproc.transports.ports import Held
from streamproc.validation import DOCUMENT_NAMES

if TYPE_CHECKING:
    from streamproc.service.loop import ServiceParts

__all__ = ["Lane"]

_log = structlog.get_logger()


class Lane:
    """One input partition at work.

    Parameters
    ----------
    partition : (str, int)
        Topic and partition.
    parts : ServiceParts
        Source (to look back), clock, metrics, reader.
    analysis : Analysis
        The loaded analysis.
    settings : Settings
        Bounds and deadlines.
    elsewhere : callable
        Tells which other lane a document's run is open in, None for none.
    """

    def __init__(
        self,
        partition: TopicPartition,
        parts: ServiceParts,
        analysis: Analysis,
        settings: Settings,
        elsewhere: Callable[[Document], TopicPartition | None],
    ) -> None:
        self.partition = partition
        self.unsent: list[Unsent] = []
        self.dropped = False
        self.tracker = parts.make_tracker()
        self.desk = Desk(analysis, settings.frames.dark_stream, settings.frames.max_waiting_frames)
        self._parts, self._settings, self._elsewhere = parts, settings, elsewhere
        self._analysis = analysis
        self._store = LaneStore(settings.kafka.max_message_bytes)
        self._through = self._resume = 0
        self._moved = False
        self._touched: dict[str, None] = {}
        self._unread: list[Pending] = []
        self._stored_offset = 0
        self._committed: int | None = None
        self._topic_id = ""
        self._reinjected = Reinjected(self, parts, settings)
        self._again: set[int] = set()
        self.life = Life(parts.clock())
        self._end_found: int | None = None

    # -- positions ----------------------------------------------------------------------------------------

    @property
    def offset(self) -> int:
        """Oldest position whose message is still needed; what a restart reads from."""
        pending = (p for work in self.desk.works.values() for p in work.pending.values())
        inline = (p.request.position.offset for p in pending if p.inline)
        needed = (*inline, *(s.document.position.offset for s in self._reinjected.supplements))
        return min(needed, default=self._through) if self._through else 0

    @property
    def changed(self) -> bool:
        """True when there is something to commit."""
        return self._moved or bool(self.unsent) or bool(self._touched)

    def works(self) -> Iterator[RunWork]:
        """Yield everything under analysis: open runs, and late readings of runs that have ended."""
        yield from self.desk.works.values()
        yield from self._reinjected.supplements

    # -- documents ----------------------------------------------------------------------------------------

    def take(self, message: Document | BadMessage) -> None:
        """Take one message of the partition; nothing of it goes further than this lane."""
        offset, headers = message.position.offset, dict(message.headers)
        again = headers.get(REINJECTED)
        if again is not None:
            # Whatever becomes of it, it stays the letter that it was.
            message = replace(message, letter=headers.get(ORIGIN))
        if offset < self._resume:
            if offset in self._again and isinstance(message, Document):
                self._contained(message, self._take_reinjected)
            self._read_again(message)
            return
        self._through, self._moved = offset + 1, True
        if self._unread:
            self._give_up_unread()
        if again is not None and again != self._analysis.name.encode():
            self._parts.metrics.skipped("reinjected-elsewhere")
        elif isinstance(message, BadMessage):
            self.dead_letter(message, message.reason, "undecodable")
        else:
            known = message.name in DOCUMENT_NAMES
            self._parts.metrics.document(message.name if known else "other")
            self._contained(message, self._feed if again is None else self._take_reinjected)

    def _feed(self, document: Document) -> None:
        if document.name == "start":
            self._refuse_elsewhere(document)
        self.handle(self.tracker.feed(document))

    def _refuse_elsewhere(self, document: Document) -> None:
        """Refuse a document of a run that another partition has: it would be answered twice."""
        other = self._elsewhere(document)
        if other is not None:
            raise DocumentRefused(
                f"{document.name} of a run whose other documents are in partition {other[1]}: give all "
                "documents of a run one message key, so that they stay in one partition and in order",
                Where(position=str(document.position)),
            )

    def _take_reinjected(self, document: Document) -> None:
        self._reinjected.take(document, self._analysis)

    def _contained(self, document: Document, take: Callable[[Document], None]) -> None:
        """Take a document; one that cannot be used becomes a dead letter."""
        try:
            take(document)
        except DocumentRefused as error:
            self.dead_letter(document, error.message, "refused", error.where)
        except Exception as error:  # one document must not end the service; it is kept with its traceback
            _log.exception(
                "document could not be handled", name=document.name, position=str(document.position)
            )
            self.dead_letter(document, f"{type(error).__name__}: {error}", "unexpected")

    def handle(self, outcomes: Sequence[Outcome]) -> None:
        """Act on what the tracker says."""
        for outcome in outcomes:
            if isinstance(outcome, Skipped):
                self._parts.metrics.skipped(outcome.kind)
            elif isinstance(outcome, NeedsRewind):
                self._rewind(outcome)
            else:
                self._touched[outcome.run.uid] = None
                self.desk.handle(outcome, self._expect)

    def _rewind(self, lost: NeedsRewind) -> None:
        """Bring in what came before a document of a run joined in the middle."""
        self._refuse_elsewhere(lost.document)
        began_s = self._parts.clock()
        earlier = self._parts.source.rewind_to_start(lost.run_uid, lost.document)
        self.tracker.looked_back(self._parts.clock() - began_s)
        _log.info("joined a run in the middle", needs=lost.reference, found=len(earlier))
        for message in earlier:
            if isinstance(message, Document):
                try:
                    self.handle([o for o in self.tracker.feed(message) if not isinstance(o, NeedsRewind)])
                except DocumentRefused as error:
                    _log.info("an earlier document was refused", reason=error.message)
        again = self.tracker.feed(lost.document)
        if any(isinstance(o, NeedsRewind) for o in again):
            again = self.tracker.adopt(lost.document)
        self.handle([o for o in again if not isinstance(o, NeedsRewind)])

    def _expect(self, work: RunWork, document: Document, requests: Sequence[FrameRequest]) -> None:
        deadline_s = self._parts.clock() + self._settings.frames.wait_s
        for request in requests:
            work.expect(request, deadline_s)
        if self._settings.service.policy == "latest":
            work.drop_older(self._settings.service.workers)

    def unfold(self) -> bool:
        """Take more of the readings that a long fly scan announced at once."""
        unfolded = False
        for work in self.desk.works.values():
            room = self._settings.frames.max_waiting_frames - len(work.pending)
            if work.assembler.waiting and room > 0:
                deadline_s = self._parts.clock() + self._settings.frames.wait_s
                for request in work.assembler.take(room):
                    work.expect(request, deadline_s)
                self._touched[work.run.uid] = None
                unfolded = True
        return unfolded

    def expire(self, now_s: float) -> None:
        """Close the runs that have been silent for too long."""
        self.handle(self.tracker.expire(now_s))

    def close_runs(self, reason: str) -> None:
        """Close all open runs: their source has nothing more of them."""
        self.handle(self.tracker.close_all(reason))

    def touch(self, run_uid: str) -> None:
        """Note that a run's state is another now."""
        self._touched[run_uid] = None

    def dead_letter(
        self, message: Document | BadMessage, reason: str, kind: str, where: Where | None = None
    ) -> None:
        """Keep a message that cannot be used, with the reason."""
        self.unsent.append(Unsent.dead_letter(message, reason, kind, where))
        self._parts.metrics.dead_letter(kind)
        _log.warning("dead letter", position=str(message.position), reason=reason, kind=kind)

    # -- ends and swaps -----------------------------------------------------------------------------------

    def finished(self, work: RunWork) -> None:
        """Let go of a run that was answered; what failed of it may be answered later."""
        self._reinjected.finished(work)
        if not isinstance(work, Supplement):
            self.desk.forget(work.run.uid)
        self._moved = True

    def swap(self, analysis: Analysis) -> list[str]:
        """Go on with another analysis; returns the open runs that keep the one they began with."""
        self._analysis = analysis
        return self.desk.swap(analysis)

    # -- messages read again after a restart --------------------------------------------------------------

    def _read_again(self, message: Document | BadMessage) -> None:
        """Take the arrays that waiting readings need from a message whose documents are in the state."""
        wanting = [p for p in self._unread if p.request.position.offset == message.position.offset]
        if isinstance(message, Document):
            wanting = [p for p in wanting if not fill(p, message)]
        self._fail_unread(wanting, "its message was read again and has no such reading")
        self._unread = [p for p in self._unread if p.unread and p.answer is None]
        if message.position.offset + 1 == self._resume:
            self._give_up_unread()

    def _give_up_unread(self) -> None:
        self._fail_unread(self._unread, "its message was no longer in the topic after a restart")
        self._unread = []

    def _fail_unread(self, readings: Sequence[Pending], reason: str) -> None:
        for pending in readings:
            pending.unread = False
            pending.answer = FrameFailure(pending.request.seq_num, reason)
            self._touched[pending.request.run_uid] = None

    # -- stored state -------------------------------------------------------------------------------------

    def state_changes(self) -> list[Changes]:
        """Return what has to be stored so that this moment can be restored."""
        changes = [self._store.changes(LANE, self._lane_records())]
        for uid in self._touched:
            run = self._run(uid)
            records = () if run is None else run_records(run, self.tracker, self.desk)
            changes.append(self._store.changes(uid, records))
        return changes

    def stored(self, changes: Sequence[Changes], sent: int) -> None:
        """Note that ``changes`` and the first ``sent`` messages of :attr:`unsent` are delivered."""
        for change in changes:
            self._store.accept(change)
        self.unsent = self.unsent[sent:]
        self._touched.clear()
        self._moved = False
        self._stored_offset = self._committed = self.offset

    def restore(self, records: Mapping[str, bytes], committed: int | None) -> int | None:
        """Take up stored records; returns the position to read from, None where nothing is known.

        Parameters
        ----------
        records : Mapping
            Newest value per key.
        committed : int or None
            What the group has committed.

        Raises
        ------
        FatalError
            The records cannot be understood.
        """
        self._committed = committed
        try:
            runs = self._store.restore(records)
            own = runs.pop(LANE, {})
            self.life = Life.restored(own.get("life"), self._parts.clock())
            if HEAD not in own:
                return committed
            position = own[HEAD]
            if committed is not None and committed not in (position["offset"], position["before"]):
                return self._drop_stored(runs, position["offset"], committed)
            self.tracker.restore_memory(own["memory"])
            deadline_s = self._parts.clock() + self._settings.frames.wait_s
            for parts in runs.values():
                restore_run(parts, self.tracker, self.desk, deadline_s)
            self._through = self._resume = position["through"]
            self._topic_id = position.get("topic", "")
            self._stored_offset = position["offset"]
            self._again = set(position["again"])
            self._reinjected.failed = FailedRuns(own["failed"])
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise FatalError(
                f"open-run state of partition {self.partition[1]} cannot be read ({type(error).__name__}: "
                f"{error}); was it written by another version? Finish the open runs with that version, or "
                "delete the state topic: open runs are then read again from their start"
            ) from error
        self._unread = [p for work in self.desk.works.values() for p in work.pending.values() if p.unread]
        if self._stored_offset >= self._resume:
            self._give_up_unread()
        return self._stored_offset

    def placed(self, held: Held | None, offset: int | None) -> int | None:
        """Return where to read from, given what the topic holds now; what is gone from it is said.

        Parameters
        ----------
        held : Held or None
            What the partition holds.
        offset : int or None
            What :meth:`restore` returned.
        """
        found = place(held, self._topic_id, self._through, offset)
        self._topic_id = "" if held is None else held.topic_id
        self._end_found = None if held is None else held.end
        if found.why:
            _log.error(found.why, partition=self.partition[1], position=offset, goes_on_at=found.offset)
            self._parts.metrics.skipped("deleted-before-read", found.lost)
            for run in self.tracker.open_runs.values():
                run.missing.append(found.why)
                self._touched[run.uid] = None
        if found.void and found.offset is not None:
            self._through = self._resume = self._stored_offset = found.offset
            self._again, self._moved = set(), True
            self._give_up_unread()
        return found.offset

    def begins(self, offset: int | None) -> None:
        """Have it stored that we are here, and where, where nothing was stored (``offset``; else None).

        What comes while a new group is away comes after where it began.
        """
        if offset is not None:
            self._through = self._resume = self._stored_offset = offset
        self._moved = True

    def hung(self) -> None:
        """Have it stored that an analysis did not end."""
        self.life.hung()
        self._moved = True

    def ends(self) -> None:
        """Have it stored that we leave in order."""
        self.life.ended = self._moved = True

    def careful(self, now_s: float) -> bool:
        """Tell whether readings are to be tried one at a time: until all that was there when we came is
        answered. Nobody before us can have ended by what came later."""
        if not self.life.careful(now_s):
            return False
        unread = self._end_found is None or self._through < self._end_found
        return unread or any(
            self.suspects(p) for work in self.works() for p in work.pending.values() if p.open
        )

    def suspects(self, pending: Pending) -> bool:
        """Tell whether a reading was there when we came."""
        return self._end_found is None or pending.request.position.offset < self._end_found

    def tries(self, pending: Pending) -> str:
        """Have it stored which reading is tried alone; returns why it must not be, empty: it may."""
        self._moved = True
        return self.life.tries(pending.request.run_uid, pending.request.seq_num)

    def _drop_stored(self, runs: Mapping[str, Any], stored: int, committed: int) -> int:
        _log.warning(
            "the group's position was moved; open-run state is dropped and runs are read again",
            partition=self.partition[1], stored=stored, committed=committed, runs=len(runs),
        )  # fmt: skip
        self._touched.update(dict.fromkeys(runs))
        return committed

    def _lane_records(self) -> Iterator[Record]:
        position = {
            "through": self._through, "offset": self.offset,
            "before": self._stored_offset if self._committed is None else self._committed,
            "topic": self._topic_id,
            "again": [s.document.position.offset for s in self._reinjected.supplements],
        }  # fmt: skip
        yield Record(HEAD, None, lambda: position)
        yield Record("life", None, lambda: self.life.to_state(self._parts.clock()))
        yield Record("failed", self._reinjected.failed.version, self._reinjected.failed.to_state)
        yield Record("memory", self.tracker.memory_version, self.tracker.memory_state)

    def _run(self, uid: str) -> Any:
        work = self.desk.works.get(uid)
        return work.run if work is not None else self.tracker.open_runs.get(uid)
