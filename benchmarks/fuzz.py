"""Fuzzed messages through a real broker to a real service, good runs between them, and what became of all.

A broker and ``streamproc run phase-map`` are started; hostile and good messages are sent, interleaved; when
all are worked off the service is asked to end. Then the accounts are made: every message is in the dead
letters byte for byte, or was counted as taken or skipped; every good run is complete and has the very
documents that it has without any hostile message; nothing was opened outside the allowed folder (strace,
where it is installed; an audit hook; inotify on decoys), nothing was started, unpickled or connected to.
Exit code 1 when any of it does not hold.
Usage: python benchmarks/fuzz.py [--messages 100000] [--seed 1] [--partitions 1] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from fuzzed.good import EVENTS, GoodRun, good_runs, mixed
from fuzzed.service import ServiceProcess
from fuzzed.verdict import Ledger, account, letters_of, strangers
from kafka import KafkaProducer

from streamproc.settings import Settings, load_settings
from streamproc.testing.fuzzing import Fuzzer, FuzzMessage, sample_documents
from streamproc.testing.traps import Traps, set_traps
from streamproc.testing.watching import DecoyWatch, read_audit, read_trace
from streamproc.transports.broker import Broker
from streamproc.transports.codec import DecodeLimits, decode
from streamproc.transports.kafka import ensure_topics
from streamproc.transports.kafka.reading import Message, TopicReader

MAX_MESSAGE_BYTES = 4 * 2**20
SETTLE_TIMEOUT_S = 900.0


class Bench:
    """Folders, traps and settings of one measurement."""

    def __init__(self, folder: Path, bootstrap: str) -> None:
        self.folder, self.bootstrap = folder, bootstrap
        self.root, self.outside = folder / "root", folder / "outside"
        for made in (self.root, self.outside, folder / "samples"):
            made.mkdir()
        self.canary = folder / "canary"
        self.traps: Traps = set_traps(self.root, self.outside, self.canary)

    def settings(self, partitions: int) -> tuple[Path, Settings]:
        """Write the settings of a beamline of its own, make its topics, return both."""
        own = self.folder / uuid.uuid4().hex[:8]
        own.mkdir()
        config = own / "beamline.toml"
        config.write_text(
            f'beamline = "fuzz{own.name}"\n'
            f'[kafka]\nbootstrap = "{self.bootstrap}"\nmax_message_bytes = {MAX_MESSAGE_BYTES}\n'
            f'[frames]\nroots = ["{self.root}"]\nwait_s = 1.0\n'
            '[observability]\nhttp_port = 0\nlog_format = "json"\n'
            '[analysis.phase-map]\naxis_key = "two_theta"\n'
        )
        settings = load_settings(config)
        ensure_topics(settings, partitions=partitions, analysis="phase-map")
        return config, settings


class _Name(str):
    """The name of a header; surrogates in it stand for bytes that are no UTF-8."""

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return super().encode("utf-8", "surrogateescape")


def publish(settings: Settings, messages: Iterable[FuzzMessage], ledger: Ledger) -> None:
    """Send messages in order and enter each with its place."""
    producer = KafkaProducer(
        bootstrap_servers=settings.kafka.bootstrap, max_request_size=64 * 2**20, enable_idempotence=True,
        linger_ms=5,
    )  # fmt: skip
    sent: list[tuple[FuzzMessage, Any]] = []
    topic = settings.topic("raw")
    for message in messages:
        # The client sends no header without a value, and nothing that has neither key nor value.
        headers = [(_Name(name), value or b"") for name, value in message.headers]
        as_sent = replace(message, headers=tuple(headers))
        key = b"" if message.key is None and message.value is None else message.key
        sent.append((as_sent, producer.send(topic, message.value, key=key, headers=headers)))
        if len(sent) >= 1000:
            _enter(sent, ledger)
    _enter(sent, ledger)
    producer.close(timeout=60)


def _enter(sent: list[tuple[FuzzMessage, Any]], ledger: Ledger) -> None:
    for message, future in sent:
        metadata = future.get(60)
        ledger.sent((metadata.partition, metadata.offset), message)
    sent.clear()


def read(settings: Settings, which: str) -> Iterator[Message]:
    """Yield the committed messages of one of our topics."""
    with TopicReader(settings.kafka, settings.topic(which)) as reader:  # type: ignore[arg-type]
        yield from reader.messages()


def result_documents(settings: Settings, runs: list[GoodRun]) -> dict[str, list[bytes]]:
    """Return the result documents of the good runs, byte for byte, by raw run."""
    raw_of: dict[str, str] = {}
    documents: dict[str, list[bytes]] = {run.uid: [] for run in runs}
    for message in read(settings, "results"):
        assert message.key is not None and message.value is not None
        name, doc = decode(message.value)
        if name == "start":
            raw_of[message.key.decode()] = doc["original_run_uid"]
        run = raw_of.get(message.key.decode(), "")
        if run in documents:
            documents[run].append(message.value)
    return documents


def incomplete(documents: dict[str, list[bytes]]) -> list[str]:
    """Say which runs have not every event once and a full ledger."""
    faults = []
    for run, raws in documents.items():
        decoded = [decode(raw) for raw in raws]
        streams = {d["uid"]: d["name"] for n, d in decoded if n == "descriptor"}
        numbers = [d["seq_num"] for n, d in decoded if n == "event" and streams[d["descriptor"]] == "primary"]
        ledgers = [d["ledger"]["primary"] for n, d in decoded if n == "stop"]
        if numbers != list(range(1, EVENTS + 1)) or [x["done"] for x in ledgers] != [EVENTS]:
            faults.append(f"{run}: events {numbers}, ledgers {ledgers}")
    return faults


def undisturbed(bench: Bench, runs: list[GoodRun]) -> dict[str, list[bytes]]:
    """Return the result documents that the good runs have when nothing else is on the topic."""
    config, settings = bench.settings(1)
    ledger = Ledger(DecodeLimits())
    publish(settings, (FuzzMessage("good", raw, b"run") for run in runs for raw in run.raws), ledger)
    with ServiceProcess(config, config.parent) as service:
        service.wait("the undisturbed runs", lambda: _settled(service, ledger), SETTLE_TIMEOUT_S)
        service.end()
    return result_documents(settings, runs)


def _settled(service: ServiceProcess, ledger: Ledger) -> bool:
    """Tell whether every message was read and no reading waits."""
    if not service.ready():
        return False
    counts = service.counts()
    state = [counts.get((f"streamproc_{name}", ""), 1.0) for name in ("lag_messages", "frames_waiting")]
    read_so_far = sum(n for (name, _), n in counts.items() if name == "streamproc_documents_total")
    return not any(state) and read_so_far >= sum(ledger.names.values())


def measure(folder: Path, messages: int, seed: int, partitions: int, good: int) -> dict[str, Any]:
    """Run it all once and return the figures; ``faults`` is empty when everything held."""
    with Broker() as broker:
        bench = Bench(folder.resolve(), broker.bootstrap)
        runs = good_runs(good, bench.root)
        expected = undisturbed(bench, runs)
        config, settings = bench.settings(partitions)
        ledger = Ledger(DecodeLimits(message_bytes=MAX_MESSAGE_BYTES))
        fuzzer = Fuzzer(
            sample_documents(bench.folder / "samples", _measured()),
            seed,
            bench.canary,
            bench.traps.paths,
            MAX_MESSAGE_BYTES + 2**20,
        )
        with ServiceProcess(config, config.parent) as service, DecoyWatch([bench.outside]) as decoys:
            began = _warm(bench, settings, service, ledger)
            publish(settings, mixed(runs, fuzzer, messages, seed), ledger)
            sent_s = time.time() - began
            service.wait("the end of the topic", lambda: _settled(service, ledger), SETTLE_TIMEOUT_S)
            worked_off_s = time.time() - began
            counts = service.counts()
            exit_code, opened = service.end(), decoys.opened()
        figures = account(ledger, letters_of(read(settings, "deadletters"), settings.topic("raw")), counts)
        found = result_documents(settings, runs)
        faults = [*figures.pop("faults"), *incomplete(found)]
        faults += [f"{run}: other documents than alone" for run in expected if expected[run] != found[run]]
        seen = _seen(bench, config.parent, service, began)
        faults += [f"{kind}: {what}" for kind in _FORBIDDEN for what in seen[kind]]
        faults += [f"decoy opened: {path}" for path in opened]
        faults += [f"exit code {exit_code} after SIGTERM"] if exit_code else []
        faults += ["the canary is there: a pickle was loaded"] if bench.canary.exists() else []
        memory = _memory(service.memory_MB, began)
        faults += [] if memory["flat"] else [f"memory grows: {memory}"]
        return {
            "messages": messages,
            "seed": seed,
            "partitions": partitions,
            "kinds": dict(ledger.kinds),
            "accounts": figures,
            "good_runs": len(runs),
            "good_runs_complete_and_the_same": sum(expected[r] == found[r] for r in expected),
            "watched_by": ["audit hook", "inotify on decoys", *(["strace"] if service.is_traced else [])],
            "seen": seen,
            "memory_MB": memory,
            "sent_s": round(sent_s, 1),
            "worked_off_s": round(worked_off_s, 1),
            "exit_code": exit_code,
            "faults": faults,
        }


_FORBIDDEN = ("open", "start", "connect", "unpickle")


def _warm(bench: Bench, settings: Settings, service: ServiceProcess, ledger: Ledger) -> float:
    """Have the service read each storage form once, so that what it loads for that is loaded; return when."""
    (bench.root / "warm").mkdir()
    runs = good_runs(4, bench.root / "warm", "warm")
    publish(settings, (FuzzMessage("good", raw, b"w") for run in runs for raw in run.raws), ledger)
    service.wait("the warm-up", lambda: _settled(service, ledger), SETTLE_TIMEOUT_S)
    return time.time()


def _seen(bench: Bench, own: Path, service: ServiceProcess, since_s: float) -> dict[str, Any]:
    accesses = [*read_audit(service.audit), *(read_trace(service.trace) if service.is_traced else ())]
    bait = [
        bench.outside,
        *map(Path, ("/etc/passwd", "/etc/shadow", "/dev", "/proc/self/environ", "/proc/self/mem")),
    ]
    return strangers(accesses, since_s, [bench.root], bait)


def _memory(samples: list[tuple[float, float]], since_s: float) -> dict[str, Any]:
    """Return the resident memory at the begin, half-way and at the end (MB), and whether it is flat."""
    sizes = [size for when, size in samples if when >= since_s] or [0.0]
    tenth = max(len(sizes) // 10, 1)
    half, end = (median(sizes[at : at + tenth]) for at in (len(sizes) // 2, len(sizes) - tenth))
    figures = {"begin": sizes[0], "half": half, "end": end, "peak": max(sizes)}
    return {**{k: round(v) for k, v in figures.items()}, "flat": end < 1.1 * half + 20}


def _measured() -> Path | None:
    """Return the folder of measured documents, where there is one beside the project."""
    shared = Path(os.environ.get("STREAMPROC_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    folder = shared / "data" / "real_documents"
    return folder if folder.is_dir() else None


def main() -> None:
    """Print the figures; exit code 1 when anything did not hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=100_000, help="fuzzed messages (100000)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same messages (1)")
    parser.add_argument("--partitions", type=int, default=1, help="of the raw topic (1)")
    parser.add_argument("--good-runs", type=int, default=50, help="sound runs among them (50)")
    parser.add_argument("--keep", type=Path, help="an empty folder for files and logs, kept")
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # broker and service are ended then, too
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        figures = measure(
            folder, arguments.messages, arguments.seed, arguments.partitions, arguments.good_runs
        )
    if arguments.json:
        print(json.dumps(figures, indent=1))
    else:
        _tell(figures)
    sys.exit(bool(figures["faults"]))


def _tell(figures: dict[str, Any]) -> None:
    accounts, memory = figures["accounts"], figures["memory_MB"]
    letters = ", ".join(f"{n} {kind}" for kind, n in accounts["dead_letters"].items())
    print(
        f"{accounts['messages']} messages in {figures['worked_off_s']} s, {accounts['accounted']} accounted:"
    )
    print(f"  dead letters: {letters}; documents taken or skipped: {accounts['documents_without_a_letter']}")
    same = f"{figures['good_runs_complete_and_the_same']} of {figures['good_runs']}"
    print(f"  good runs complete and the same as alone: {same}")
    for kind in _FORBIDDEN:
        print(f"  {kind}: {len(figures['seen'][kind])} that must not be")
    print("  memory: {begin} MB at the begin, {half} half-way, {end} at the end".format(**memory))
    for fault in figures["faults"]:
        print(f"FAULT {fault[:300]}")


if __name__ == "__main__":
    main()
