"""The report: all that was seen, counted and judged, as plain values."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import streamproc
from streamproc.audit import AuditReport, audit_runs
from streamproc.documents import BadMessage, Document
from streamproc.settings import Settings
from streamproc.torture.beamline import Beamline
from streamproc.torture.count import OwnCount, count_results
from streamproc.torture.monkey import Done
from streamproc.torture.options import ANALYSIS, TortureOptions
from streamproc.torture.services import Supervised
from streamproc.torture.verdict import judge, longest_waits, memory_figures, percentile, restart_figures
from streamproc.transports.kafka.letters import read_letters
from streamproc.transports.kafka.reading import TopicReader

__all__ = ["Evidence", "own_count", "report"]

_READ_TIMEOUT_S = 300.0
_PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
_MOST_MISSING_LISTED = 100

Messages = Iterable[Document | BadMessage]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a torture leaves behind; times as ``time.monotonic()`` has them (s), one in Unix time."""

    options: TortureOptions
    settings: Settings
    begin_s: float
    begin_unix_s: float
    end_s: float
    own: OwnCount
    services: Sequence[Supervised]
    faults: Sequence[Done]
    beamline: Beamline
    longest_silence_s: float
    loads: Sequence[float]


@dataclass(slots=True)
class _Tally:
    """Counts the raw documents that come by."""

    documents: int = 0
    repeated: int = 0
    _seen: set[str] = field(default_factory=set)

    def through(self, messages: Messages) -> Iterator[Document | BadMessage]:
        for message in messages:
            self.documents += 1
            uid = str(message.doc.get("uid")) if isinstance(message, Document) else str(message.position)
            self.repeated += uid in self._seen
            self._seen.add(uid)
            yield message


def own_count(settings: Settings, readings: Mapping[str, int]) -> OwnCount:
    """Read the results topic under ``read_committed`` and count."""
    with TopicReader(settings.kafka, settings.topic("results"), timeout_s=_READ_TIMEOUT_S) as reader:
        return count_results(readings, reader.documents())


def report(evidence: Evidence) -> dict[str, Any]:
    """Audit the topics, judge, and return everything as plain values."""
    settings, own, tally = evidence.settings, evidence.own, _Tally()
    letters = read_letters(settings, _READ_TIMEOUT_S).letters()
    with (
        TopicReader(settings.kafka, settings.topic("raw"), timeout_s=_READ_TIMEOUT_S) as raw,
        TopicReader(settings.kafka, settings.topic("results"), timeout_s=_READ_TIMEOUT_S) as results,
    ):
        messages = tally.through(raw.documents())
        audit = audit_runs(messages, results.documents(), letters, analysis=ANALYSIS)
    options, lives = evidence.options, {s.name: s.lives for s in evidence.services}
    restarts = restart_figures(lives, options.restart_limit_s, evidence.end_s)
    memory = {s.name: memory_figures(s.memory) for s in evidence.services}
    exits = Counter(str(life.exit_code) for own_lives in lives.values() for life in own_lives)
    problems = judge(own, audit, restarts, memory, exits)
    events = sum((s.events() for s in evidence.services), Counter[str]())
    return {
        "passed": not problems,
        "problems": problems,
        "version": streamproc.__version__,
        "seed": options.seed,
        "begun": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(evidence.begin_unix_s)),
        "duration_s": round(evidence.end_s - evidence.begin_s, 1),
        "options": _asked(options),
        "faults": {
            "count": len(evidence.faults),
            "by_kind": dict(Counter(done.fault.kind for done in evidence.faults)),
            "timeline": [done.to_json(evidence.begin_s) for done in evidence.faults],
        },
        "restarts": restarts.to_json(options.restart_limit_s),
        "exits": dict(exits),
        "log_events": dict(events.most_common()),
        "services": {s.name: s.to_json(evidence.begin_s) for s in evidence.services},
        "frames": _frames(evidence, tally),
        "latency_ms": {n: percentile(own.latencies_ms, share) for n, share in _PERCENTILES.items()},
        "longest_waits": longest_waits(own.waits, evidence.begin_unix_s),
        "longest_silence_s": round(evidence.longest_silence_s, 1),
        "memory": memory,
        "machine": {"cores": os.cpu_count(), "load_median": percentile(evidence.loads, 0.5)},
        "dead_letters": len(letters),
        "audit": _audit(audit),
    }


def _asked(options: TortureOptions) -> dict[str, Any]:
    return {
        "kills": options.kills,
        "faults": dict(options.faults),
        "rate_Hz": options.rate_Hz,
        "pace_s": options.pace_s,
        "restart_limit_s": options.restart_limit_s,
        "own_cluster": options.bootstrap is not None,
    }


def _frames(evidence: Evidence, tally: _Tally) -> dict[str, Any]:
    own, beamline = evidence.own, evidence.beamline
    return {
        "produced": own.produced,
        "answered": own.answered,
        "lost": own.lost,
        "doubled": own.doubled,
        "failed": own.failed,
        "unknown": own.unknown,
        "runs": len(beamline.readings),
        "runs_by_storage": dict(beamline.storages),
        "unfinished_runs": own.unfinished,
        "missing": dict(list(own.missing.items())[:_MOST_MISSING_LISTED]),
        "answered_twice": dict(list(own.answered_twice.items())[:_MOST_MISSING_LISTED]),
        "raw_documents": tally.documents,
        "raw_repeated": tally.repeated,
        "longest_publication_s": round(beamline.longest_stall_s, 2),
    }


def _audit(audit: AuditReport) -> dict[str, Any]:
    whole = audit.to_json()
    return {name: whole[name] for name in ("verdict", "totals", "findings", "findings_by_kind", "counts")}


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Write a report as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
