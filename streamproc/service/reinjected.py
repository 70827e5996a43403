"""Reinjected dead letters: answered in their run while that is open, else in a supplementary run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from streamproc.analysis import Analysis
from streamproc.documents import BadMessage, Document
from streamproc.errors import DocumentRefused, Where
from streamproc.frames.parts import origin_of
from streamproc.runs import Run, RunUpdated, Skipped
from streamproc.runs.pages import unpack_document
from streamproc.runs.select import reference_of
from streamproc.service.late import FailedRuns, Supplement, own_numbers, supplement
from streamproc.service.outbox import Unsent
from streamproc.service.work import RunWork
from streamproc.settings import Settings
from streamproc.transports.deadletters import ORIGIN
from streamproc.validation import DOCUMENT_NAMES

if TYPE_CHECKING:
    from streamproc.service.lane import Lane
    from streamproc.service.loop import ServiceParts

__all__ = ["Reinjected"]

_log = structlog.get_logger()


class Reinjected:
    """The late readings of one lane.

    Parameters
    ----------
    lane : Lane
        Whose open runs they may belong to.
    parts : ServiceParts
        Source (to look back), clock, trackers.
    settings : Settings
        Deadlines.
    """

    def __init__(self, lane: Lane, parts: ServiceParts, settings: Settings) -> None:
        self.failed = FailedRuns()
        self.supplements: list[Supplement] = []
        self._lane, self._parts, self._frames = lane, parts, settings.frames

    def take(self, message: Document, analysis: Analysis) -> None:
        """Answer a message that came again; one that changes nothing is a dead letter once more."""
        document = replace(message, letter=dict(message.headers).get(ORIGIN))
        try:
            if document.name in DOCUMENT_NAMES:
                self._lane.tracker.check(document)
            run = self._lane.tracker.run_of(document)
            if run is not None:
                self._retry(run, document)
            else:
                self._supplement(document, analysis)
        except DocumentRefused as error:
            self._lane.dead_letter(document, error.message, "refused", error.where)

    def finished(self, work: RunWork) -> None:
        """Remember what failed of a run, or let go of a supplement."""
        if not isinstance(work, Supplement):
            self.failed.note(work.run.uid, work.result.uid, work.ledger.failures)
            return
        self.supplements.remove(work)
        for start, stop in work.ledger.answered:
            for seq_num in range(start, stop):
                self.failed.answered(work.run.uid, seq_num)

    # -- in an open run -----------------------------------------------------------------------------------

    def _retry(self, run: Run, document: Document) -> None:
        work = self._lane.desk.works.get(run.uid)
        numbers = own_numbers(document)
        taken = [cut for a, b in numbers for cut in work.ledger.retry(a, b)] if work is not None else []
        if work is not None and taken:
            self._read_again(work, document, taken)
        else:
            outcomes = self._lane.tracker.feed(document)
            if all(isinstance(o, Skipped) for o in outcomes):
                where = Where(run.uid, position=str(document.position))
                raise DocumentRefused(f"no reading of this {document.name} has failed so far", where)
            self._lane.handle(outcomes)
        pending = (p for w in self._lane.works() for p in w.pending.values())
        waits = any(p.request.origin and p.request.origin.position == document.position for p in pending)
        if not waits and document.letter is not None:
            self._lane.unsent.append(Unsent(settles=document.letter))

    def _read_again(self, work: RunWork, document: Document, taken: Sequence[tuple[int, int]]) -> None:
        for start, stop in taken:
            work.assembler.retake(start, stop)
        self._lane.handle([RunUpdated(work.run, part) for part in unpack_document(document)])
        if any(list(work.assembler.complete.gaps(*cut)) for cut in taken):
            self._bring_other_half(work.run, document, taken)

    def _bring_other_half(self, run: Run, document: Document, taken: Sequence[tuple[int, int]]) -> None:
        """Look back for what else a retaken reading needs and is no longer kept: datum, stream_datum."""
        if not self._lane.tracker.may_look_back():
            return
        found = self._earlier(run.uid, document)
        parts = [part for d in found if isinstance(d, Document) for part in unpack_document(d)]
        for part in parts:
            if part.name == "datum":
                run.datums[part.doc["datum_id"]] = part.doc
            elif part.name == "resource":
                run.resources.setdefault(part.doc["uid"], part.doc)
        halves = [part for part in parts if part.name == "stream_datum"]
        needed = [p for p in halves if any(own_numbers(p).overlap(*cut) for cut in taken)]
        self._lane.handle([RunUpdated(run, part) for part in (*needed, *unpack_document(document))])

    # -- after its end ------------------------------------------------------------------------------------

    def _supplement(self, document: Document, analysis: Analysis) -> None:
        earlier = [d for d in self._look_back(document) if isinstance(d, Document)]
        made, requests = supplement(
            document, earlier, analysis, self.failed, self._parts.make_tracker, self._frames.dark_stream
        )
        deadline_s = self._parts.clock() + self._frames.wait_s
        for request in requests:
            made.expect(replace(request, origin=origin_of(document)), deadline_s)
        self.supplements.append(made)
        _log.info("late readings", run_uid=made.run.uid, result_uid=made.result.uid, count=len(requests))

    def _look_back(self, document: Document) -> Sequence[Document | BadMessage]:
        """Return the documents of a finished run, looked for from here and from where the letter was."""
        run_uid = reference_of(document.name, document.doc).run_uid
        found = self._earlier(run_uid, document)
        if found or document.letter is None:
            return found
        _, _, offset = document.letter.decode(errors="replace").rpartition("@")
        if not offset.isdecimal():
            return found
        original = replace(document, position=replace(document.position, offset=int(offset)))
        return self._earlier(run_uid, original)

    def _earlier(self, run_uid: str | None, document: Document) -> Sequence[Document | BadMessage]:
        """Look back in the topic; anybody can write the header that asks for it, so not without end."""
        tracker, clock = self._lane.tracker, self._parts.clock
        if not tracker.may_look_back():
            raise DocumentRefused(
                "looking back for the runs of reinjected documents has taken its share of the time; "
                "reinject it again in some minutes",
                Where(position=str(document.position)),
            )
        began_s = clock()
        found = self._parts.source.rewind_to_start(run_uid, document)
        tracker.looked_back(clock() - began_s)
        return found
