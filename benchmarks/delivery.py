"""What exactly once costs: transactions, at least once, and none, side by side on one real broker.

Throughput: a topic that is full already is worked off. Latency: frames come at a steady rate; from the
producer's time stamp to the arrival at a read-committed reader of the results. The modes take turns; figures
are medians over the rounds. The analysis is a mean, so that delivery is what is measured.
Usage: python benchmarks/delivery.py [--frames 1000] [--rate 50] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import structlog
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from streamproc.analysis import Estimate, FrameResult, Output, Provenance
from streamproc.frames.paths import PathPolicy
from streamproc.frames.readers import FrameReader
from streamproc.observability.metrics import ServiceMetrics
from streamproc.runs import RunTracker
from streamproc.service import Service, ServiceParts
from streamproc.settings import Settings
from streamproc.testing.makers import inline_run
from streamproc.transports.broker import Broker
from streamproc.transports.codec import decode, encode
from streamproc.transports.kafka import KafkaSink, KafkaSource, KafkaState, TransactionalSink, ensure_topics
from streamproc.transports.kafka.sink import make_producer
from streamproc.transports.ports import Outgoing
from streamproc.watchdog import Watchdog

MODES = {
    "none": 0.0,
    "at least once": 0.0,
    "transactions": 0.0,
    "transactions, every 50 ms": 0.05,
    "transactions, every 200 ms": 0.2,
}


class Mean:
    """The cheapest analysis there is."""

    name, version, provenance_ = "mean", "1", Provenance("mean", "1", "m", "s", "c")

    def outputs(self):
        return (Output("mean", "estimate"),)

    def run_outputs(self):
        return {}

    def stream(self):
        return "primary"

    def provenance(self):
        return self.provenance_

    def frame_key(self, run):
        return "det"

    def begin(self, run):
        return MeanRun()


class MeanRun:
    provenance = Mean.provenance_

    def process(self, frames):
        values = [float(f.array.mean()) for f in frames]
        return [
            FrameResult(f.seq_num, {"mean": Estimate(v, 1.0, True, "m")}, True, (), "mean:1")
            for f, v in zip(frames, values, strict=True)
        ]

    def update(self, results):
        return []

    def end(self):
        return []

    def snapshot(self):
        return {}

    def restore(self, state):
        pass


class FireAndForget:
    """No promise at all: results are handed to the client, nothing is waited for, stored or committed."""

    def __init__(self, settings: Settings) -> None:
        self._producer, self._results = (
            make_producer(settings.kafka, settings.delivery),
            settings.topic("results"),
        )

    def deliver(self, outgoing: Sequence[Outgoing], consumed: Mapping[tuple[str, int], int]) -> None:
        for o in outgoing:
            if o.topic == self._results:
                self._producer.send(o.topic, o.value, key=o.key, headers=list(o.headers))

    def close(self) -> None:
        self._producer.close(timeout=5)


def service_of(settings: Settings, mode: str) -> Service:
    group = settings.group("mean")
    source = KafkaSource(settings.kafka, settings.topic("raw"), group)
    if mode == "none":
        sink = FireAndForget(settings)
    elif mode == "at least once":
        sink = KafkaSink(settings.kafka, settings.delivery, source)
    else:
        sink = TransactionalSink(settings.kafka, settings.delivery, group, source, Watchdog())
    parts = ServiceParts(
        source=source,
        sink=sink,
        state=KafkaState(
            settings.kafka, settings.delivery, settings.state_topic("mean"), settings.topic("raw"), group
        ),
        analysis=Mean(),
        make_tracker=RunTracker,
        reader=FrameReader(PathPolicy((), {})),
        metrics=ServiceMetrics("mean"),
    )
    return Service(parts, settings)


def stage(bootstrap: str, mode: str) -> Settings:
    settings = Settings(
        beamline=f"b{uuid.uuid4().hex[:10]}",
        kafka={"bootstrap": bootstrap, "session_timeout_s": 6.0},
        delivery={"commit_interval_s": MODES[mode]},
        service={"workers": 1},
    )
    ensure_topics(settings, analysis="mean")
    return settings


def arrivals(settings: Settings, count: int) -> dict[int, float]:
    """Return the arrival time (s) of each result at a read-committed reader."""
    consumer = KafkaConsumer(
        bootstrap_servers=settings.kafka.bootstrap,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        fetch_max_wait_ms=5,
    )
    consumer.assign([TopicPartition(settings.topic("results"), 0)])
    seen: dict[int, float] = {}
    end_s = time.monotonic() + 120
    while len(seen) < count and time.monotonic() < end_s:
        for batch in consumer.poll(timeout_ms=20).values():
            now_s = time.time()
            for record in batch:
                name, doc = decode(record.value)
                if name == "event":
                    seen.setdefault(doc["seq_num"], now_s)
    consumer.close()
    if len(seen) < count:
        raise SystemExit(f"{len(seen)} of {count} results came")
    return seen


def publish(settings: Settings, pairs: Sequence, rate_Hz: float | None) -> dict[int, float]:
    """Publish a run; returns when each event was sent (Unix s)."""
    producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap, enable_idempotence=True, linger_ms=0)
    sent: dict[int, float] = {}
    begin_s = time.monotonic()
    for name, doc in pairs:
        if name == "event":
            if rate_Hz is not None:
                time.sleep(max(0.0, begin_s + len(sent) / rate_Hz - time.monotonic()))
            sent[doc["seq_num"]] = time.time()
        producer.send(settings.topic("raw"), encode(name, doc), key=b"r")
    producer.flush(60)
    producer.close()
    return sent


def serving(settings: Settings, mode: str, work: Callable[[], dict]) -> dict:
    service = service_of(settings, mode)
    thread = threading.Thread(target=service.run)
    thread.start()
    try:
        return work()
    finally:
        service.stop()
        thread.join(30)


def throughput(bootstrap: str, mode: str, frames: int) -> float:
    settings = stage(bootstrap, mode)
    publish(settings, inline_run([np.zeros((64, 64), np.uint16)] * frames, uid="r"), None)
    arrived = serving(settings, mode, lambda: arrivals(settings, frames))
    times = sorted(arrived.values())
    tenth = len(times) // 10
    return (len(times) - tenth) / (times[-1] - times[tenth])


def latencies_ms(bootstrap: str, mode: str, frames: int, rate_Hz: float) -> list[float]:
    settings = stage(bootstrap, mode)
    pairs = inline_run([np.zeros((64, 64), np.uint16)] * frames, uid="r")
    sent: dict[int, float] = {}

    def work() -> dict:
        time.sleep(2.0)
        thread = threading.Thread(target=lambda: sent.update(publish(settings, pairs, rate_Hz)))
        thread.start()
        got = arrivals(settings, frames)
        thread.join()
        return got

    arrived = serving(settings, mode, work)
    return [(arrived[n] - sent[n]) * 1000 for n in sorted(sent)[frames // 10 :]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--frames", type=int, default=1000, help="frames of each trial")
    parser.add_argument("--rate", type=float, default=50.0, help="frames per second of the latency trial")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    speeds: dict[str, list[float]] = {mode: [] for mode in MODES}
    times: dict[str, list[list[float]]] = {mode: [] for mode in MODES}
    with Broker() as broker:
        for number in range(arguments.rounds):
            for mode in MODES:
                print(f"round {number + 1}: {mode}", file=sys.stderr, flush=True)
                speeds[mode].append(throughput(broker.bootstrap, mode, arguments.frames))
                times[mode].append(
                    latencies_ms(broker.bootstrap, mode, arguments.frames // 2, arguments.rate)
                )
    rows = {
        mode: {
            "frames_per_s": median(speeds[mode]),
            "p50_ms": median(float(np.percentile(t, 50)) for t in times[mode]),
            "p95_ms": median(float(np.percentile(t, 95)) for t in times[mode]),
        }
        for mode in MODES
    }
    base = rows["none"]
    print(f"{'':<28}{'frames/s':>10}{'ratio':>8}{'p50 ms':>9}{'p95 ms':>9}")
    for mode, row in rows.items():
        ratio = row["frames_per_s"] / base["frames_per_s"]
        print(
            f"{mode:<28}{row['frames_per_s']:>10.0f}{ratio:>8.2f}{row['p50_ms']:>9.1f}{row['p95_ms']:>9.1f}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps({"rate_Hz": arguments.rate, "modes": rows}, indent=1))


if __name__ == "__main__":
    main()
