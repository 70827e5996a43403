"""Late answers: reinjected dead letters, answered in their open run or in a supplementary result run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from streamproc.analysis import Analysis, FrameFailure, FrameResult, RunResult
from streamproc.documents import Document
from streamproc.errors import DocumentRefused, RunRefused, Where
from streamproc.frames.assembler import Assembler
from streamproc.frames.requests import FrameRequest
from streamproc.results import NamedDocument, ResultRun, supplement_uid
from streamproc.runs import NeedsRewind, Run, RunOpened, RunTracker, RunUpdated
from streamproc.runs.pages import unpack_document
from streamproc.runs.seen import SeqNums
from streamproc.service.work import Published, RunWork

__all__ = ["FailedRuns", "Supplement", "own_numbers", "supplement"]

_MOST_RUNS = 256
_MOST_INTERVALS = 1000


class FailedRuns:
    """Which readings of finished runs failed, so that they can be answered later; bounded."""

    def __init__(self, state: Sequence[Any] = ()) -> None:
        self.version = 0
        """Counts the changes of what :meth:`to_state` returns."""
        self._runs = {uid: (result_uid, SeqNums(numbers)) for uid, result_uid, numbers in state}

    def note(self, run_uid: str, result_uid: str, failures: SeqNums) -> None:
        """Remember a finished run's failures (its first thousand intervals)."""
        if not len(failures):
            return
        self.version += 1
        self._runs[run_uid] = (result_uid, SeqNums(list(failures)[:_MOST_INTERVALS]))
        if len(self._runs) > _MOST_RUNS:
            del self._runs[next(iter(self._runs))]

    def find(self, run_uid: str) -> tuple[str, SeqNums] | None:
        """Return the result run's uid and the readings that failed."""
        return self._runs.get(run_uid)

    def answered(self, run_uid: str, seq_num: int) -> None:
        """Note that a reading that failed is answered now."""
        if run_uid in self._runs:
            self.version += 1
            self._runs[run_uid][1].remove(seq_num, seq_num + 1)

    def to_state(self) -> list[Any]:
        """Return all of it as plain values."""
        return [[uid, result_uid, numbers.to_state()] for uid, (result_uid, numbers) in self._runs.items()]


class Supplement(RunWork):
    """The late readings of a run whose result run has ended; said all at once, in a result run of their own.

    Parameters
    ----------
    document : Document
        The reinjected message.
    run, assembler, analysis, result
        As :class:`RunWork` has them; ``result`` with the supplement's own uid.
    supplements : str
        Uid of the result run that is supplemented.
    """

    def __init__(
        self,
        document: Document,
        run: Run,
        assembler: Assembler,
        analysis: Any,
        result: ResultRun,
        supplements: str,
    ) -> None:
        super().__init__(run, assembler, analysis, result)
        self.document, self.supplements = document, supplements
        self.closed = "stop"
        self._answered = False

    def start_documents(self) -> list[NamedDocument]:
        """Return the start document, once, with what it supplements."""
        return [(name, {**doc, "supplements": self.supplements}) for name, doc in super().start_documents()]

    def publishable(self) -> Published:
        """Return everything once every reading has its answer, nothing before."""
        if any(p.answer is None for p in self.pending.values()):
            return Published([])
        self._answered = any(isinstance(p.answer, FrameResult) for p in self.pending.values())
        published = super().publishable()
        return published if self._answered else Published([], published.settled)

    def finish(self) -> list[NamedDocument]:
        """Compose the stop; nothing where every reading failed again."""
        return [self.result.stop(self.run, self.ledger, "late results")] if self._answered else []

    def _said_of(self, answer: FrameResult | FrameFailure) -> Sequence[RunResult]:
        """Say nothing: results about the whole run belong to the run that is supplemented."""
        return ()


def own_numbers(document: Document) -> SeqNums:
    """Return the sequence numbers of readings that a document is about by itself."""
    numbers = SeqNums()
    for part in unpack_document(document):
        if part.name == "event":
            numbers.add(part.doc["seq_num"])
        elif part.name == "stream_datum":
            numbers.add(part.doc["seq_nums"]["start"], part.doc["seq_nums"]["stop"])
    return numbers


def supplement(
    document: Document,
    earlier: Sequence[Document],
    analysis: Analysis,
    failed: FailedRuns,
    make_tracker: Callable[[], RunTracker],
    dark_stream: str | None,
) -> tuple[Supplement, list[FrameRequest]]:
    """Find out which failed readings of a finished run a document now makes possible.

    The run's documents are gone through twice, without the document and with it: what can be read only with
    it, and what it is about by itself, is tried again.

    Parameters
    ----------
    document : Document
        The reinjected message.
    earlier : sequence of Document
        The run's documents as the raw topic has them, oldest first.
    analysis : Analysis
        The loaded analysis.
    failed : FailedRuns
        What is still to be answered.
    make_tracker : callable
        Makes an empty tracker.
    dark_stream : str or None
        Stream of dark frames.

    Returns
    -------
    Supplement, list of FrameRequest
        And the readings to take up.

    Raises
    ------
    DocumentRefused
        With the reason why it changes nothing.
    """
    where = Where(position=str(document.position))
    without = _Reading(earlier, analysis, make_tracker(), dark_stream)
    again = _Reading([*earlier, document], analysis, make_tracker(), dark_stream)
    if again.run is None or again.assembler is None or again.analysis is None:
        raise DocumentRefused("the run of this reinjected document could not be put together again", where)
    found = failed.find(again.run.uid)
    if found is None:
        raise DocumentRefused(
            f"run {again.run.uid} has ended and no failed readings of it are on record: replay it instead",
            where,
        )
    own = own_numbers(document)
    wanted = {
        n: r for n, r in again.requests.items() if n in found[1] and (n in own or n not in without.requests)
    }
    if not wanted:
        raise DocumentRefused("no reading that failed can be answered with this reinjected document", where)
    uid = supplement_uid(found[0], str(document.position))
    result = ResultRun(
        again.run, analysis.stream(), again.analysis.provenance, analysis.outputs(), {}, again.key, uid=uid
    )
    made = Supplement(document, again.run, again.assembler, again.analysis, result, found[0])
    return made, [wanted[n] for n in sorted(wanted)]


class _Reading:
    """The readings that a run's documents give."""

    def __init__(
        self, documents: Sequence[Document], analysis: Analysis, tracker: RunTracker, dark_stream: str | None
    ) -> None:
        self.run: Run | None = None
        self.assembler: Assembler | None = None
        self.analysis: Any = None
        self.key = ""
        self.requests: dict[int, FrameRequest] = {}
        self._stop: Mapping[str, Any] | None = None
        self._loaded, self._dark_stream = analysis, dark_stream
        for document in documents:
            if document.name == "stop":
                self._stop = document.doc
                continue
            try:
                outcomes = tracker.feed(replace(document, headers=()))
                if any(isinstance(o, NeedsRewind) for o in outcomes):
                    outcomes = tracker.adopt(document)
            except DocumentRefused:
                continue  # it was refused before and is a dead letter already
            for outcome in outcomes:
                self._take(outcome, document)
        if self.run is not None:
            self.run.stop = self._stop

    def _take(self, outcome: Any, document: Document) -> None:
        if isinstance(outcome, RunOpened):
            if self.run is None:  # what names no run comes along, and may open another
                self.run = outcome.run
                self.assembler = Assembler(outcome.run, self._loaded.stream(), None, self._dark_stream)
        elif isinstance(outcome, RunUpdated) and self.assembler is not None:
            if outcome.run is not self.run:
                return
            self._begin(outcome)
            for request in self.assembler.feed(outcome.document):
                self.requests[request.seq_num] = request
        elif self.assembler is not None and document.letter is not None:
            # The reinjected message as it was: its readings are taken once more, with their newest bytes.
            for start, stop in own_numbers(document):
                self.assembler.retake(start, stop)
            for part in unpack_document(document):
                described = self.assembler.run.descriptors
                if part.name in ("event", "stream_datum") and part.doc["descriptor"] not in described:
                    continue  # its descriptor was refused, or never came
                for request in self.assembler.feed(part):
                    self.requests[request.seq_num] = request

    def _begin(self, outcome: RunUpdated) -> None:
        run = outcome.run
        if (
            self.analysis is None
            and run.stream_descriptors(self._loaded.stream())
            and self.assembler is not None
        ):
            try:
                key = self._loaded.frame_key(run)
                if key is not None:
                    self.key, self.analysis = key, self._loaded.begin(run)
                    self.assembler.choose(key)
            except RunRefused as error:
                raise DocumentRefused(f"run {run.uid} cannot be analysed: {error.message}") from error
