"""What a shadow costs the analysis at work: latency at a steady rate, with and without one, on a real broker.

The analysis is phase-map as shipped (network and classical fit) on 1-D patterns; the shadow is the same model
under another version. Latencies are those in the headers of the results at work. The modes take turns.
Usage: python benchmarks/shadow.py [--frames 100] [--rate 5] [--rounds 2]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import numpy as np
from streamproc.models.phase_qpa.example import example_run

from streamproc.inference.card import CARD_KEY
from streamproc.inference.onnxfile import inspect_onnx, replace_metadata
from streamproc.inference.registry import find_model
from streamproc.results import is_shadow
from streamproc.settings import DeliverySettings, InferenceSettings, Settings
from streamproc.testing.makers import inline_run
from streamproc.transports.broker import Broker
from streamproc.transports.codec import decode, encode
from streamproc.transports.kafka import KafkaSink, ensure_topics
from streamproc.transports.kafka.reading import TopicReader
from streamproc.transports.ports import Outgoing


def other_version(folder: Path) -> Path:
    """Return a copy of the shipped model with another version in its card."""
    shipped = find_model("phase_qpa", InferenceSettings())
    shutil.copy(shipped.with_name("golden.npz"), folder / "golden.npz")
    metadata = inspect_onnx(shipped.read_bytes()).metadata
    card = {**json.loads(metadata[CARD_KEY]), "version": "99"}
    path = folder / "model.onnx"
    path.write_bytes(replace_metadata(shipped.read_bytes(), {**metadata, CARD_KEY: json.dumps(card)}))
    return path


def raw_run(uid: str, count: int):
    _, frames = example_run()
    pairs = inline_run([frames[n % len(frames)].array for n in range(count)], uid=uid, key="intensity")
    for name, doc in pairs:
        if name == "descriptor":
            doc["data_keys"]["two_theta"] = {**doc["data_keys"]["intensity"], "units": "deg"}
        if name == "event":
            doc["data"]["two_theta"] = frames[0].readings["two_theta"]
            doc["timestamps"]["two_theta"] = doc["time"]
    return pairs


def result_messages(settings: Settings):
    with TopicReader(settings.kafka, settings.topic("results")) as reader:
        return [(decode(m.value), dict(m.headers)) for m in reader.messages() if m.value]


def stops(settings: Settings) -> int:
    return sum(name == "stop" for (name, _), _ in result_messages(settings))


def one_round(bootstrap: str, folder: Path, shadow: Path | None, frames: int, rate_Hz: float) -> list[float]:
    """Return the latencies (ms) of the results at work."""
    settings = Settings(beamline=f"b{uuid.uuid4().hex[:8]}", kafka={"bootstrap": bootstrap})
    ensure_topics(settings, partitions=1, analysis="phase-map")
    config = folder / f"{settings.beamline}.toml"
    config.write_text(
        f'beamline = "{settings.beamline}"\n[kafka]\nbootstrap = "{bootstrap}"\n[service]\nworkers = 1\n'
        '[analysis.phase-map]\naxis_key = "two_theta"\n'
    )
    command = [sys.executable, "-m", "streamproc", "run", "phase-map", "--config", str(config)]
    command += ["--shadow", str(shadow)] if shadow else []
    expected = 2 if shadow else 1
    service = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    sink = KafkaSink(settings.kafka, DeliverySettings())

    def send(pairs, pace_s: float) -> None:
        for pair in pairs:
            uid = pairs[0][1]["uid"].encode()
            sink.deliver([Outgoing(settings.topic("raw"), uid, encode(*pair))], {})
            time.sleep(pace_s if pair[0] == "event" else 0)

    def wait(count: int) -> None:
        while stops(settings) < count:
            if service.poll() is not None:
                raise SystemExit("the service ended")
            time.sleep(0.5)

    try:
        send(raw_run("warm-up", 4), 0)
        wait(expected)
        send(raw_run("measured", frames), 1 / rate_Hz)
        wait(2 * expected)
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait(30)
        sink.close()
    return _latencies(result_messages(settings))


def _latencies(messages) -> list[float]:
    starts = [doc for (name, doc), _ in messages if name == "start"]
    mine = {d["uid"] for d in starts if not is_shadow(d) and d["original_run_uid"] == "measured"}
    described = {d["uid"] for (n, d), _ in messages if n == "descriptor" and d["run_start"] in mine}
    return [
        float(headers["latency_ms"])
        for (name, doc), headers in messages
        if name == "event" and doc["descriptor"] in described and "latency_ms" in headers
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--rate", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    found: dict[str, list[float]] = {"without a shadow": [], "with a shadow": []}
    with tempfile.TemporaryDirectory() as text, Broker() as broker:
        folder = Path(text)
        model = other_version(folder)
        for _ in range(given.rounds):
            for mode, values in found.items():
                shadow = model if mode.startswith("with a") else None
                values += one_round(broker.bootstrap, folder, shadow, given.frames, given.rate)
    print(f"{given.frames} frames at {given.rate:g}/s, {given.rounds} rounds, {os.cpu_count()} cores")
    for mode, values in found.items():
        p50, p95 = np.percentile(values, [50, 95])
        print(f"{mode:18} {len(values)} answers: latency p50 {p50:.1f} ms, p95 {p95:.1f} ms")


if __name__ == "__main__":
    main()
