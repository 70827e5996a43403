"""A new model goes to work while the service runs; a bad one is refused and the old one stays."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time

import pytest
from streamproc.models.phase_qpa.example import example_run

from streamproc.inference.card import CARD_KEY
from streamproc.inference.onnxfile import inspect_onnx, replace_metadata
from streamproc.inference.registry import find_model
from streamproc.settings import InferenceSettings
from streamproc.testing.makers import inline_run
from streamproc.transports.codec import encode
from tests.integration.publishing import ordered_producer
from tests.integration.reading import results
from tests.second_model import SHIPPED

pytestmark = pytest.mark.broker


def until(condition, deadline_s=60.0):
    end_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_s, "not within the deadline"
        time.sleep(0.05)


def put_model(root, version, *, damaged=False):
    """A copy of the shipped model under a higher version."""
    shipped = find_model("phase_qpa", InferenceSettings())
    folder = root / "phase_qpa" / version
    folder.mkdir(parents=True)
    shutil.copy(shipped.with_name("golden.npz"), folder / "golden.npz")
    path = folder / "model.onnx"
    shutil.copy(shipped, path)
    metadata = inspect_onnx(path.read_bytes()).metadata
    card = {**json.loads(metadata[CARD_KEY]), "version": version}
    data = replace_metadata(path.read_bytes(), {**metadata, CARD_KEY: json.dumps(card)})
    path.write_bytes(data[:-5000] if damaged else data)


def example_pairs(count):
    _, frames = example_run()
    axis = frames[0].readings["two_theta"]
    pairs = inline_run([frames[n % len(frames)].array for n in range(count)], uid="r", key="intensity")
    for name, doc in pairs:
        if name == "descriptor":
            doc["data_keys"]["two_theta"] = {**doc["data_keys"]["intensity"], "units": "deg"}
        if name == "event":
            doc["data"]["two_theta"], doc["timestamps"]["two_theta"] = axis, doc["time"]
    return pairs


def test_new_models_are_taken_or_refused_while_a_run_goes_on_and_no_frame_is_lost(beamline, tmp_path):
    settings, root, log = beamline(), tmp_path / "models", tmp_path / "log"
    put_model(root, "2")
    config = tmp_path / "c.toml"
    config.write_text(
        f"""beamline = "{settings.beamline}"
[kafka]
bootstrap = "{settings.kafka.bootstrap}"
[inference]
model_roots = ["models"]
watch_interval_s = 0.2
[analysis.phase-map]
axis_key = "two_theta"
"""
    )
    producer = ordered_producer(settings.kafka.bootstrap)
    pairs = example_pairs(60)

    def publish(some):
        for pair in some:
            producer.send(settings.topic("raw"), encode(*pair), key=b"r")
        producer.flush(20)

    def models():
        return [d["data"]["model"] for n, d in results(settings) if n == "event" and "model" in d["data"]]

    argv = [sys.executable, "-m", "streamproc", "run", "phase-map", "--config", str(config)]
    with log.open("wb") as out:
        process = subprocess.Popen(argv, stdout=out, stderr=out)
    try:
        publish(pairs[:22])
        until(lambda: len(models()) == 20)
        put_model(root, "50", damaged=True)
        until(lambda: "reload refused" in log.read_text())
        publish(pairs[22:32])
        until(lambda: len(models()) == 30)
        shutil.rmtree(root / "phase_qpa" / "50")
        put_model(root, "51")
        process.send_signal(signal.SIGHUP)
        until(lambda: "analysis swapped" in log.read_text())
        publish(pairs[32:])
        until(lambda: any(n == "stop" for n, _ in results(settings)))
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        producer.close(timeout=2)
    versions = [m.split("@")[0] for m in models()]
    assert versions == [SHIPPED] * 30 + ["phase_qpa:51"] * 30
    ledger = results(settings)[-1][1]["ledger"]["primary"]
    assert (ledger["expected"], ledger["done"]) == (60, 60)
