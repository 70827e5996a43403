"""Prometheus metrics of one service, in a registry of their own."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["ServiceMetrics"]

_MOST_LEDGERS = 1000
_LATENCY_BUCKETS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


class ServiceMetrics:
    """Everything a service counts.

    Parameters
    ----------
    analysis : str
        Name of the analysis; a label on every metric.
    """

    def __init__(self, analysis: str) -> None:
        self.registry = CollectorRegistry()
        labels = ["analysis"]

        def counter(name: str, text: str, *extra: str) -> Counter:
            return Counter(f"streamproc_{name}", text, [*labels, *extra], registry=self.registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"streamproc_{name}", text, labels, registry=self.registry)

        self._analysis = analysis
        self._documents = counter("documents", "documents read, by name", "name")
        self._skipped = counter("documents_skipped", "documents left aside, by reason", "reason")
        self._dead = counter("dead_letters", "messages sent to the dead-letter topic", "reason")
        self._frames = counter("frames", "readings settled, by outcome", "outcome")
        self._runs = counter("runs", "runs, by what became of them", "outcome")
        self._reloads = counter("reloads", "attempts to put another model to work, by outcome", "outcome")
        self._ledger = Gauge(
            "streamproc_ledger_readings",
            "the ledger of each open run and of the newest finished ones",
            [*labels, "run_uid", "outcome"],
            registry=self.registry,
        )
        self._ledgers: dict[str, tuple[str, ...]] = {}
        self._lag = gauge("lag_messages", "messages waiting in the topic")
        self._waiting = gauge("frames_waiting", "readings waiting or in work")
        self._waiting_bytes = gauge("frames_waiting_bytes", "bytes of frames held in memory")
        self._open_runs = gauge("runs_open", "runs followed now")
        self._paused = gauge("paused", "1 while the topic is paused for back-pressure")
        self._latency = Histogram(
            "streamproc_latency_seconds",
            "from the document that completed a reading to its published result",
            labels,
            buckets=_LATENCY_BUCKETS_S,
            registry=self.registry,
        )

    def document(self, name: str) -> None:
        """Count a document read."""
        self._documents.labels(self._analysis, name).inc()

    def skipped(self, reason: str, count: int = 1) -> None:
        """Count documents left aside."""
        self._skipped.labels(self._analysis, reason).inc(count)

    def dead_letter(self, reason: str) -> None:
        """Count a dead letter by its class of reason."""
        self._dead.labels(self._analysis, reason).inc()

    def frame(self, outcome: str, latency_s: float | None = None) -> None:
        """Count a settled reading (``done``, ``failed``, ``dropped``) and its latency."""
        self._frames.labels(self._analysis, outcome).inc()
        if latency_s is not None:
            self._latency.labels(self._analysis).observe(max(latency_s, 0.0))

    def reload(self, outcome: str) -> None:
        """Count an attempt to reload (``accepted``, ``refused``, ``unchanged``)."""
        self._reloads.labels(self._analysis, outcome).inc()

    def ledger(self, run_uid: str, counts: Mapping[str, int]) -> None:
        """Set the ledger of a run; the one that changed longest ago is dropped beyond a thousand."""
        self._ledgers.pop(run_uid, None)
        self._ledgers[run_uid] = tuple(counts)
        for outcome, count in counts.items():
            self._ledger.labels(self._analysis, run_uid, outcome).set(count)
        if len(self._ledgers) > _MOST_LEDGERS:
            oldest = next(iter(self._ledgers))
            for outcome in self._ledgers.pop(oldest):
                self._ledger.remove(self._analysis, oldest, outcome)

    def run(self, outcome: str) -> None:
        """Count a run (``answered``, ``refused``, ``idle``, ``not_for_us``)."""
        self._runs.labels(self._analysis, outcome).inc()

    def state(self, *, lag: int, waiting: int, waiting_bytes: int, open_runs: int, paused: bool) -> None:
        """Set the gauges."""
        self._lag.labels(self._analysis).set(lag)
        self._waiting.labels(self._analysis).set(waiting)
        self._waiting_bytes.labels(self._analysis).set(waiting_bytes)
        self._open_runs.labels(self._analysis).set(open_runs)
        self._paused.labels(self._analysis).set(float(paused))

    def text(self) -> bytes:
        """Return the Prometheus exposition text."""
        return generate_latest(self.registry)
