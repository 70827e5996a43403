"""The own count: readings published against events in the results topic, without the audit's help."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from streamproc.documents import BadMessage, Document

__all__ = ["OwnCount", "Wait", "count_results"]

_STREAM = "primary"


@dataclass(frozen=True, slots=True)
class Wait:
    """How long a reading waited for its answer.

    Attributes
    ----------
    latency_ms : float
        From the reading's publication to that of its event, as the event's header says.
    run_uid : str
        The raw run.
    seq_num : int
        The reading.
    published_s : float
        When the reading was published (Unix time, s).
    """

    latency_ms: float
    run_uid: str
    seq_num: int
    published_s: float


@dataclass(slots=True)
class OwnCount:
    """What the results topic has.

    Attributes
    ----------
    produced, answered : int
        Readings published; those of them that have an event.
    missing : dict
        By raw run: seq_nums without an event.
    repeated : Counter
        Result documents that are there more than once, by uid: how often too many.
    answered_twice : dict
        By raw run: seq_nums with more than one event.
    unknown : int
        Events for readings that were never published.
    unfinished : list of str
        Raw runs without a result stop.
    failed : int
        Readings that the stops' ledgers call failed or dropped.
    waits : list of Wait
        Of all events.
    """

    produced: int = 0
    answered: int = 0
    missing: dict[str, list[int]] = field(default_factory=dict)
    repeated: Counter[str] = field(default_factory=Counter)
    answered_twice: dict[str, list[int]] = field(default_factory=dict)
    unknown: int = 0
    unfinished: list[str] = field(default_factory=list)
    failed: int = 0
    waits: list[Wait] = field(default_factory=list)

    @property
    def latencies_ms(self) -> list[float]:
        """How long the readings waited (ms)."""
        return [wait.latency_ms for wait in self.waits]

    @property
    def lost(self) -> int:
        """Readings without an event."""
        return sum(map(len, self.missing.values()))

    @property
    def doubled(self) -> int:
        """Result documents too many."""
        twice = sum(map(len, self.answered_twice.values()))
        return max(twice, self.repeated.total())


def count_results(readings: Mapping[str, int], messages: Iterable[Document | BadMessage]) -> OwnCount:
    """Count the events of each run.

    Parameters
    ----------
    readings : Mapping
        How many readings were published, by raw run uid.
    messages : iterable of Document or BadMessage
        The results topic under ``read_committed``; in any order of partitions.
    """
    count, seen = OwnCount(), set[str]()
    raw_of: dict[str, str] = {}
    result_of: dict[str, str] = {}
    events: dict[str, Counter[int]] = {}
    stopped: set[str] = set()
    for message in messages:
        if isinstance(message, BadMessage):
            continue
        name, doc = message.name, message.doc
        if doc["uid"] in seen:
            count.repeated[doc["uid"]] += 1
        seen.add(doc["uid"])
        if name == "start":
            raw_of[doc["uid"]] = doc["original_run_uid"]
        elif name == "descriptor" and doc["name"] == _STREAM:
            result_of[doc["uid"]] = doc["run_start"]
        elif name == "event" and doc["descriptor"] in result_of:
            raw_uid = raw_of[result_of[doc["descriptor"]]]
            events.setdefault(raw_uid, Counter())[doc["seq_num"]] += 1
            count.waits += _waits(message, raw_uid)
        elif name == "stop":
            stopped.add(raw_of[doc["run_start"]])
            ledger = doc["ledger"].get(_STREAM, {})
            count.failed += ledger.get("failed", 0) + ledger.get("dropped", 0)
    _compare(count, readings, events)
    count.unfinished = [uid for uid in readings if uid not in stopped]
    return count


def _compare(count: OwnCount, readings: Mapping[str, int], events: Mapping[str, Counter[int]]) -> None:
    count.produced = sum(readings.values())
    for uid in readings.keys() | events.keys():
        expected, got = set(range(1, readings.get(uid, 0) + 1)), events.get(uid, Counter())
        count.answered += len(expected & got.keys())
        count.unknown += len(got.keys() - expected)
        if missing := sorted(expected - got.keys()):
            count.missing[uid] = missing
        if twice := sorted(n for n, times in got.items() if times > 1):
            count.answered_twice[uid] = twice


def _waits(message: Document, raw_uid: str) -> list[Wait]:
    headers = {name: float(value) for name, value in message.headers if name in ("latency_ms", "produced_s")}
    if len(headers) < 2:
        return []
    latency_ms = headers["latency_ms"]
    begun_s = headers["produced_s"] - latency_ms / 1000
    return [Wait(latency_ms, raw_uid, message.doc["seq_num"], begun_s)]
