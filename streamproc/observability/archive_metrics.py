"""Prometheus metrics of the archiver, in a registry of their own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["ArchiveMetrics"]

_BUCKETS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


class ArchiveMetrics:
    """Everything `streamproc archive` counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._documents = Counter(
            "streamproc_archive_documents", "result documents read", registry=self.registry
        )
        self._runs = Counter(
            "streamproc_archive_runs",
            "result runs, by what became of them: stored, replaced, skipped, spooled, open, lost_start",
            ["outcome"],
            registry=self.registry,
        )
        self._failures = Counter(
            "streamproc_archive_failures", "attempts to store a run that failed", registry=self.registry
        )
        self._spool = Gauge("streamproc_archive_spool_runs", "runs kept on disk", registry=self.registry)
        self._open = Gauge(
            "streamproc_archive_open_runs", "result runs without a stop", registry=self.registry
        )
        self._lag = Gauge("streamproc_archive_lag_messages", "messages waiting", registry=self.registry)
        self._seconds = Histogram(
            "streamproc_archive_store_seconds", "time to store a run", buckets=_BUCKETS_S,
            registry=self.registry,
        )  # fmt: skip

    def document(self) -> None:
        """Count a document read."""
        self._documents.inc()

    def run(self, outcome: str) -> None:
        """Count what became of a run."""
        self._runs.labels(outcome).inc()

    def failure(self) -> None:
        """Count a failed attempt."""
        self._failures.inc()

    def took(self, seconds: float) -> None:
        """Note how long storing a run took (s)."""
        self._seconds.observe(seconds)

    def state(self, *, spool: int, open_runs: int, lag: int) -> None:
        """Set the gauges."""
        self._spool.set(spool)
        self._open.set(open_runs)
        self._lag.set(lag)

    def text(self) -> bytes:
        """Return the Prometheus exposition text."""
        return generate_latest(self.registry)
