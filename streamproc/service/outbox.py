"""Outbox: what lanes have to say, delivered together with the positions and the state that go with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import structlog

from streamproc.analysis import Analysis, FrameResult
from streamproc.documents import BadMessage, Document
from streamproc.errors import DeliveryAborted, DeliveryError, Where
from streamproc.ledger import Ledger
from streamproc.results import NamedDocument, ResultRun
from streamproc.runs import Run
from streamproc.service.work import Pending, Published, RunWork
from streamproc.settings import Settings
from streamproc.transports.codec import encode
from streamproc.transports.deadletters import dead_letter, settled_letter
from streamproc.transports.ports import Outgoing

if TYPE_CHECKING:
    from streamproc.service.lane import Lane
    from streamproc.service.loop import ServiceParts

__all__ = ["Outbox", "Unsent"]

_log = structlog.get_logger()

_COMMIT_INTERVAL_S = 1.0
"""Positions alone (nothing to publish) are committed at most this often."""


_MOST_REFUSED = 1_000_000
"""A stop may claim any number of events; no more than this many are written down as failed."""


@dataclass(frozen=True, slots=True)
class Unsent:
    """A message to publish: a result document, or an input message that goes to the dead letters."""

    result_uid: str = ""
    value: bytes = b""
    of_frame: bool = False
    published_s: float | None = None
    """Of a frame's event: Unix time its raw event was produced, where known."""
    settles: bytes | None = None
    """Key of a dead letter that is answered now."""
    refused: Document | BadMessage | None = None
    reason: str = ""
    kind: str = ""
    where: Where | None = None

    @classmethod
    def dead_letter(cls, message: Document | BadMessage, reason: str, kind: str, where: Where | None) -> Self:
        """Return a dead letter."""
        return cls(refused=message, reason=reason, kind=kind, where=where)


class Outbox:
    """Collects messages in their lanes and hands them to the sink with positions and state.

    Parameters
    ----------
    parts : ServiceParts
        For sink, clocks and metrics.
    settings : Settings
        For topics and the commit interval.
    """

    def __init__(self, parts: ServiceParts, settings: Settings) -> None:
        self._parts = parts
        self._settings = settings
        self._interval_s = settings.delivery.commit_interval_s
        self._state_topic = settings.state_topic(parts.analysis.name)
        self._last_sent_s = parts.clock()
        self._aborted_since_s: float | None = None

    def add(self, lane: Lane, work: RunWork, published: Published) -> None:
        """Take the documents of a run and the readings they settle."""
        if not (published.documents or published.settled):
            return
        lane.touch(work.run.uid)
        times = {p.request.seq_num: p.request.published_s for p in published.settled}
        for pending in published.settled:
            self._settled(lane, work, pending)
        self._parts.metrics.ledger(work.run.uid, work.ledger.counts)
        for name, doc in published.documents:
            of_frame = name == "event" and "in_domain" in doc["data"]
            published_s = times.get(doc["seq_num"]) if of_frame else None
            lane.unsent.append(Unsent(work.result.uid, encode(name, doc), of_frame, published_s))

    def finish(self, lane: Lane, work: RunWork) -> None:
        """Take the end of a result run."""
        lane.touch(work.run.uid)
        lane.unsent += [Unsent(work.result.uid, encode(*named)) for named in work.finish()]
        self._parts.metrics.ledger(work.run.uid, work.ledger.counts)
        self._parts.metrics.run("answered")
        _log.info("run answered", **work.to_log())

    def refused_run(self, lane: Lane, analysis: Analysis, run: Run, reason: str) -> None:
        """Publish a result run that says why nothing could be said: every reading failed."""
        lane.touch(run.uid)
        result = ResultRun(run, analysis.stream(), analysis.provenance(), analysis.outputs(), {})
        ledger = Ledger()
        counts = (run.stop or {}).get("num_events") or {}
        count = counts.get(analysis.stream(), 0) if isinstance(counts, Mapping) else 0
        ledger.failed_range(1, 1 + min(int(count), _MOST_REFUSED), reason)
        documents: list[NamedDocument] = [result.start(run), result.stop(run, ledger, reason)]
        lane.unsent += [Unsent(result.uid, encode(*named)) for named in documents]
        self._parts.metrics.run("refused")

    def send(self, lanes: Sequence[Lane], *, force: bool = False) -> bool:
        """Deliver what the lanes have, with state and positions; True when something was delivered.

        Raises
        ------
        DeliveryError
            Not delivered in its deadline, or aborted again and again.
        """
        now_s = self._parts.clock()
        busy = [lane for lane in lanes if lane.changed]
        since_s = now_s - self._last_sent_s
        due = since_s >= (self._interval_s if any(lane.unsent for lane in busy) else _COMMIT_INTERVAL_S)
        if not busy or not (due or force):
            return False
        changes = [lane.state_changes() if self._parts.keeps_state else [] for lane in busy]
        sent = [len(lane.unsent) for lane in busy]
        outgoing = [self._message(unsent) for lane in busy for unsent in lane.unsent]
        for lane, changed in zip(busy, changes, strict=True):
            outgoing += [
                Outgoing(self._state_topic, key.encode(), value, partition=lane.partition[1], stage=stage)
                for change in changed
                for stage, key, value in change.messages
            ]
        outgoing.sort(key=lambda message: message.stage)
        try:
            self._parts.sink.deliver(outgoing, {lane.partition: lane.offset for lane in busy})
        except DeliveryAborted as error:
            self._aborted(error, now_s)
            return False
        self._aborted_since_s = None
        self._last_sent_s = now_s
        for lane, changed, count in zip(busy, changes, sent, strict=True):
            self._measure(lane.unsent[:count])
            lane.stored(changed, count)
        return True

    def _aborted(self, error: DeliveryAborted, now_s: float) -> None:
        _log.info("delivery aborted, made anew at the next turn", reason=error.message)
        self._aborted_since_s = self._aborted_since_s or now_s
        longest_s = 2 * self._settings.kafka.session_timeout_s + self._settings.delivery.transaction_timeout_s
        if now_s - self._aborted_since_s > longest_s:
            raise DeliveryError(f"no delivery succeeded for {longest_s:g} s: {error.message}") from error

    def _settled(self, lane: Lane, work: RunWork, pending: Pending) -> None:
        answer = pending.answer
        if pending.dropped is not None:
            self._parts.metrics.frame("dropped", None)
        elif isinstance(answer, FrameResult):  # it is counted when it is delivered
            self._answered_late(lane, work, pending)
        else:
            self._parts.metrics.frame("failed", None)
            self._failed(lane, work, pending, getattr(answer, "reason", ""))

    def _failed(self, lane: Lane, work: RunWork, pending: Pending, reason: str) -> None:
        request = pending.request
        _log.warning("frame failed", run_uid=work.run.uid, seq_num=request.seq_num, reason=reason)
        origin = request.origin
        if origin is not None and work.first_failure_of(pending):
            message = BadMessage(origin.position, reason, origin.key, origin.raw, letter=origin.letter)
            lane.dead_letter(message, reason, "frame", Where(work.run.uid, request.stream, request.seq_num))

    def _answered_late(self, lane: Lane, work: RunWork, pending: Pending) -> None:
        """Settle the dead letter of a reinjected message with the last of its readings, if none failed."""
        origin = pending.request.origin
        if origin is not None and origin.letter is not None and not work.owes(origin):
            lane.unsent.append(Unsent(settles=origin.letter))

    def _measure(self, delivered: Sequence[Unsent]) -> None:
        now_s = self._parts.wall_clock()
        for unsent in delivered:
            if unsent.of_frame:
                known = unsent.published_s is not None
                self._parts.metrics.frame("done", now_s - (unsent.published_s or 0.0) if known else None)

    def _message(self, unsent: Unsent) -> Outgoing:
        now_s = self._parts.wall_clock()
        topic, analysis = self._settings.topic("deadletters"), self._parts.analysis.name
        if unsent.settles is not None:
            return settled_letter(topic, unsent.settles)
        if unsent.refused is not None:
            return dead_letter(
                topic, unsent.refused, unsent.reason, analysis, now_s, kind=unsent.kind, where=unsent.where
            )
        headers = [("produced_s", f"{now_s:.6f}".encode())]
        if unsent.published_s is not None:
            headers.append(("latency_ms", f"{(now_s - unsent.published_s) * 1000:.3f}".encode()))
        return Outgoing(
            self._settings.topic("results"), unsent.result_uid.encode(), unsent.value, tuple(headers)
        )
