"""Outbox: everything that is to be published, and the input positions it completes, delivered together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import structlog

from streamproc.analysis import FrameResult
from streamproc.documents import BadMessage, Document
from streamproc.ledger import Ledger
from streamproc.results import NamedDocument, ResultRun
from streamproc.runs import Run
from streamproc.service.offsets import OffsetBook
from streamproc.service.work import Pending, Published, RunWork
from streamproc.settings import Settings
from streamproc.transports.codec import encode
from streamproc.transports.deadletters import dead_letter
from streamproc.transports.ports import Outgoing

if TYPE_CHECKING:
    from streamproc.service.loop import ServiceParts

__all__ = ["Outbox"]

_log = structlog.get_logger()

_COMMIT_INTERVAL_S = 1.0
"""Positions alone (nothing to publish) are committed at most this often."""


_MOST_REFUSED = 1_000_000
"""A stop may claim any number of events; no more than this many are written down as failed."""


class Outbox:
    """Collects messages and hands them to the sink with the positions they complete.

    Parameters
    ----------
    parts : ServiceParts
        For sink, clocks, metrics and the analysis's name.
    settings : Settings
        For topics and the publication interval.
    offsets : OffsetBook
        Knows what may be committed.
    """

    def __init__(self, parts: ServiceParts, settings: Settings, offsets: OffsetBook) -> None:
        self._parts = parts
        self._offsets = offsets
        self._interval_s = settings.delivery.commit_interval_s
        self._results_topic = settings.topic("results")
        self._dead_topic = settings.topic("deadletters")
        self._outgoing: list[Outgoing] = []
        self._last_sent_s = parts.clock()

    def dead_letter(self, message: Document | BadMessage, reason: str, kind: str) -> None:
        """Keep a message that cannot be used, with the reason."""
        now_s = self._parts.wall_clock()
        self._outgoing.append(
            dead_letter(self._dead_topic, message, reason, self._parts.analysis.name, now_s, kind=kind)
        )
        self._parts.metrics.dead_letter(kind)
        _log.warning("dead letter", position=str(message.position), reason=reason)

    def add(self, work: RunWork, published: Published) -> None:
        """Take the documents of a run and the readings they settle."""
        latencies: dict[int, float | None] = {}
        for pending in published.settled:
            latency_s = self._latency_s(pending)
            latencies[pending.request.seq_num] = latency_s
            # Nothing is committed before everything collected here is published: see send().
            self._offsets.release(pending.request.position)
            done = isinstance(pending.answer, FrameResult) and pending.dropped is None
            outcome = "done" if done else "dropped" if pending.dropped is not None else "failed"
            self._parts.metrics.frame(outcome, latency_s if done else None)
            if outcome == "failed":
                reason = getattr(pending.answer, "reason", "")
                _log.warning(
                    "frame failed", run_uid=work.run.uid, seq_num=pending.request.seq_num, reason=reason
                )
        for name, doc in published.documents:
            of_frame = name == "event" and "in_domain" in doc["data"]
            latency_s = latencies.get(doc["seq_num"]) if of_frame else None
            self._outgoing.append(self._message(work.result.uid, (name, doc), latency_s))

    def finish(self, work: RunWork) -> None:
        """Take the end of a result run."""
        for named in work.finish():
            self._outgoing.append(self._message(work.result.uid, named, None))
        self._parts.metrics.run("answered")
        _log.info("run answered", **work.to_log())

    def refused_run(self, run: Run, reason: str) -> None:
        """Publish a result run that says why nothing could be said: every reading failed."""
        analysis = self._parts.analysis
        result = ResultRun(run, analysis.stream(), analysis.provenance(), analysis.outputs(), {})
        ledger = Ledger()
        counts = (run.stop or {}).get("num_events") or {}
        count = counts.get(analysis.stream(), 0) if isinstance(counts, Mapping) else 0
        for seq_num in range(1, min(int(count), _MOST_REFUSED) + 1):
            ledger.failed(seq_num, reason)
        for named in (result.start(run), result.stop(run, ledger, reason)):
            self._outgoing.append(self._message(result.uid, named, None))
        self._parts.metrics.run("refused")

    def send(self, *, force: bool = False) -> bool:
        """Deliver what there is, then let go of the positions it completes; True when something was sent."""
        now_s = self._parts.clock()
        ready = self._offsets.committable()
        since_s = now_s - self._last_sent_s
        due = since_s >= self._interval_s if self._outgoing else bool(ready) and since_s >= _COMMIT_INTERVAL_S
        if not (due or (force and (self._outgoing or ready))):
            return False
        self._parts.sink.deliver(self._outgoing, ready)
        self._offsets.committed(ready)
        self._outgoing = []
        self._last_sent_s = now_s
        return True

    def _latency_s(self, pending: Pending) -> float | None:
        published_s = pending.request.published_s
        return None if published_s is None else self._parts.wall_clock() - published_s

    def _message(self, result_uid: str, named: NamedDocument, latency_s: float | None) -> Outgoing:
        headers = [("produced_s", f"{self._parts.wall_clock():.6f}".encode())]
        if latency_s is not None:
            headers.append(("latency_ms", f"{latency_s * 1000:.3f}".encode()))
        return Outgoing(self._results_topic, result_uid.encode(), encode(*named), tuple(headers))
