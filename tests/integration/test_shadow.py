"""`streamproc run --shadow`: another model on the same frames, seen by who asks, felt by nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from streamproc.models.phase_qpa.example import example_run

import streamproc
from streamproc.audit import audit_runs
from streamproc.dashboard.state import Board
from streamproc.documents import Document
from streamproc.errors import ConfigurationError
from streamproc.results import is_shadow
from streamproc.settings import DeliverySettings, load_settings
from streamproc.testing.makers import inline_run
from streamproc.transports.codec import decode, encode
from streamproc.transports.kafka import KafkaSink
from streamproc.transports.kafka.reading import TopicReader
from streamproc.transports.ports import Outgoing
from tests.second_model import SHIPPED, put_second_model

pytestmark = pytest.mark.broker


def patterns(uid, count=8, bad=()):
    """Return a run of the shipped model's patterns, some readings without the axis they need."""
    _, frames = example_run()
    pairs = inline_run([frames[n % len(frames)].array for n in range(count)], uid=uid, key="intensity")
    for name, doc in pairs:
        if name == "descriptor":
            doc["data_keys"]["two_theta"] = {**doc["data_keys"]["intensity"], "units": "deg"}
        if name == "event" and doc["seq_num"] not in bad:
            doc["data"]["two_theta"] = frames[0].readings["two_theta"]
            doc["timestamps"]["two_theta"] = doc["time"]
    return pairs


class Beamline:
    """Topics, a settings file, and what is in the topics."""

    def __init__(self, settings, folder):
        self.settings, self.folder = settings, folder
        self.config = folder / "beamline.toml"
        folder.mkdir(exist_ok=True)
        self.config.write_text(
            f'beamline = "{settings.beamline}"\n[kafka]\nbootstrap = "{settings.kafka.bootstrap}"\n'
            "session_timeout_s = 6.0\n[frames]\nwait_s = 2.0\n[inference]\nwatch_interval_s = 0.0\n"
            '[analysis.phase-map]\naxis_key = "two_theta"\n'
        )

    def publish(self, pairs):
        sink = KafkaSink(self.settings.kafka, DeliverySettings())
        topic, uid = self.settings.topic("raw"), pairs[0][1]["uid"].encode()
        sink.deliver([Outgoing(topic, uid, encode(*pair)) for pair in pairs], {})
        sink.close()

    def command(self, *more):
        return [sys.executable, "-m", "streamproc", "run", "phase-map", "--config", str(self.config), *more]

    def run_once(self, *more):
        return subprocess.run(self.command("--once", *more), capture_output=True, text=True, timeout=180)

    def messages(self, which):
        with TopicReader(self.settings.kafka, self.settings.topic(which)) as reader:
            return [m for m in reader.messages() if m.value]

    def wire(self, *, shadow):
        """Return key and bytes of the results of the shadow, or of the analysis at work."""
        starts = [decode(m.value)[1] for m in self.messages("results") if decode(m.value)[0] == "start"]
        keys = {s["uid"].encode() for s in starts if is_shadow(s) is shadow}
        return [(m.key, m.value) for m in self.messages("results") if m.key in keys]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return put_second_model(tmp_path_factory.mktemp("models"))


def test_the_answers_at_work_are_the_same_bytes_with_and_without_a_shadow(beamline, tmp_path, model):
    alone, both = (Beamline(beamline(), tmp_path / n) for n in ("alone", "both"))
    for line in (alone, both):
        line.publish(patterns("run-shadow-1", bad=(3,)))
        line.publish(patterns("run-shadow-2"))
    assert alone.run_once().returncode == 0
    ended = both.run_once("--shadow", str(model))
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert both.wire(shadow=False) == alone.wire(shadow=False)
    assert not alone.wire(shadow=True)
    # The shadow answered as well, once, in runs of its own, and leaves no dead letters of its own.
    documents = [decode(value) for _, value in both.wire(shadow=True)]
    assert len({d["uid"] for _, d in documents}) == len(documents)
    assert [n for n, _ in documents].count("stop") == 2
    starts = [d for n, d in documents if n == "start"]
    assert {s["streamproc"]["model"].split("@")[0] for s in starts} == {"phase_qpa:50"}
    assert {s["original_run_uid"] for s in starts} == {"run-shadow-1", "run-shadow-2"}
    assert len(both.messages("deadletters")) == len(alone.messages("deadletters")) == 1
    check_readers(both)


def check_readers(line):
    """Whoever reads results leaves the shadow aside unless asked."""
    settings = load_settings(line.config)
    own = streamproc.open_results(settings, "run-shadow-1")
    shadow = streamproc.open_results(settings, "run-shadow-1", model="phase_qpa:50")
    assert own.seq_num.values.tolist() == shadow.seq_num.values.tolist() == [1, 2, 4, 5, 6, 7, 8]
    assert own.attrs["result_uid"] != shadow.attrs["result_uid"] and shadow.attrs["shadow"] == "true"
    assert (abs(own.corundum - shadow.corundum) > 1e-4).any()
    printed = subprocess.run(
        [sys.executable, "-m", "streamproc", "results", "--source", str(line.config), "--run", "run-shadow-2"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert len([x for x in printed.stdout.splitlines() if not x.startswith("#")]) == 1 + 8
    pairs = [decode(m.value) for m in line.messages("results")]
    quiet, curious = Board(), Board(shadows=True)
    for name, doc in pairs:
        quiet.feed(name, doc)
        curious.feed(name, doc)
    assert (len(quiet.runs), len(curious.runs)) == (2, 4)
    raw, results = (
        [Document(*decode(m.value), m.position, m.key, m.value) for m in line.messages(w)]
        for w in ("raw", "results")
    )
    report = audit_runs(raw, results)
    assert not report.differs and len(report.runs) == 2
    report = audit_runs(raw, results, analysis="phase-map (shadow)")
    assert not report.differs and report.totals()["done"] == 15


def until(condition, timeout_s=60.0):
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s, "not within the deadline"
        time.sleep(0.1)


def shadow_pid(service):
    """Return the process number of the child that is the shadow."""
    tasks = Path(f"/proc/{service.pid}/task").iterdir()
    children = [int(c) for task in tasks for c in (task / "children").read_text().split()]
    return children[0] if children else None


def test_a_shadow_that_dies_or_is_killed_touches_nothing_and_comes_back(beamline, tmp_path, model):
    line = Beamline(beamline(), tmp_path / "line")
    log = tmp_path / "log"
    with log.open("wb") as out:
        service = subprocess.Popen(line.command("--shadow", str(model)), stdout=out, stderr=out)
    try:
        line.publish(patterns("run-killed-1"))
        until(lambda: len(line.wire(shadow=True)) == len(line.wire(shadow=False)) > 9)
        first = shadow_pid(service)
        os.kill(first, signal.SIGKILL)
        line.publish(patterns("run-killed-2"))
        until(lambda: log.read_text().count("run answered") >= 3)
        until(lambda: len(line.wire(shadow=True)) == len(line.wire(shadow=False)) > 20)
        assert shadow_pid(service) not in (None, first)
        documents = [decode(value) for _, value in line.wire(shadow=True)]
        assert len({d["uid"] for _, d in documents}) == len(documents)
        service.send_signal(signal.SIGTERM)
        assert service.wait(30) == 0, log.read_text()[-2000:]
    finally:
        service.kill()


def test_the_shadow_ends_with_a_service_that_is_killed(beamline, tmp_path, model):
    line = Beamline(beamline(), tmp_path / "line")
    service = subprocess.Popen(line.command("--shadow", str(model)), stderr=subprocess.DEVNULL)
    until(lambda: shadow_pid(service) is not None)
    pid = shadow_pid(service)
    time.sleep(3)
    service.kill()
    service.wait()
    until(lambda: not os.path.exists(f"/proc/{pid}"), 40)


def test_a_shadow_that_is_the_model_at_work_or_no_model_is_refused_at_once(beamline, tmp_path):
    line = Beamline(beamline(), tmp_path / "line")
    for model, says in ((SHIPPED, "the very model"), ("phase_qpa:77", "no model 'phase_qpa:77'")):
        ended = line.run_once("--shadow", model)
        assert ended.returncode == 2 and says in ended.stderr, ended.stderr


def test_a_damaged_shadow_model_leaves_the_analysis_at_work_alone(beamline, tmp_path, model):
    line = Beamline(beamline(), tmp_path / "line")
    line.publish(patterns("run-damaged"))
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(model.read_bytes()[:-5000])
    ended = line.run_once("--shadow", str(damaged))
    assert ended.returncode == 0 and "the shadow cannot run" in ended.stderr
    assert [decode(v)[0] for _, v in line.wire(shadow=False)].count("stop") == 1
    assert not line.wire(shadow=True)


def test_an_analysis_without_a_model_has_no_shadow(beamline, tmp_path):
    from streamproc.cli.shadow import plan_shadow

    with pytest.raises(ConfigurationError, match="no setting `model`"):
        plan_shadow("tests/integration/toy_consumer.py", beamline(), "phase_qpa")
