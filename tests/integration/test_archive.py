"""`streamproc archive` as a process: real Apache Kafka on one side, a real Tiled server on the other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

import streamproc
from streamproc.settings import DeliverySettings
from streamproc.transports.codec import encode
from streamproc.transports.kafka import KafkaSink
from streamproc.transports.kafka.groups import active_groups
from streamproc.transports.ports import Outgoing
from streamproc.transports.tiled.reading import run_documents
from tests.integration.tiled_server import KEY, TiledServer
from tests.unit.export.runs import raw_run, result_documents

pytestmark = pytest.mark.broker


@pytest.fixture
def server(tmp_path):
    server = TiledServer(tmp_path / "tiled").start()
    yield server
    server.kill()


class Archive:
    """A running `streamproc archive`."""

    def __init__(self, settings, server, folder, *more, key=KEY, session_s=6):
        self.log = folder / f"archive-{time.monotonic_ns()}.log"
        command = [
            sys.executable, "-m", "streamproc", "archive", "--to", server.url, "--spool", str(folder / "spool"),
            "--bootstrap", settings.kafka.bootstrap, "--beamline", settings.beamline, "--give-up", "1", *more,
        ]  # fmt: skip
        env = {**os.environ, "TILED_API_KEY": key, "STREAMPROC_KAFKA__SESSION_TIMEOUT_S": f"{session_s}"}
        self.process = subprocess.Popen(
            command, stderr=self.log.open("wb"), stdout=subprocess.DEVNULL, env=env
        )

    def wait(self, timeout_s=90):
        return self.process.wait(timeout_s)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.wait(20)

    def said(self):
        return self.log.read_text()


def publish(settings, runs):
    sink = KafkaSink(settings.kafka, DeliverySettings())
    topic = settings.topic("results")
    sink.deliver([Outgoing(topic, r[0][1]["uid"].encode(), encode(n, d)) for r in runs for n, d in r], {})
    sink.close()


def runs(first, last, points=20):
    return [
        result_documents(raw_run(f"raw-{k:04d}", k), seq_nums=range(1, points + 1))
        for k in range(first, last)
    ]


def check_stored(server, made):
    """Every run is there, and every document comes back with its bytes."""
    client = server.client()
    for run in made:
        back = {(n, d["uid"]): d for n, d in run_documents(client[run[0][1]["uid"]])}
        assert len(back) == len(run)
        for name, doc in run:
            got = back[name, doc["uid"]]
            assert encode(name, {k: got[k] for k in doc}) == encode(name, doc)


def wait_for(condition, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.1)


def stored(server):
    return len(server.client())


def test_a_topic_is_drained_once_and_a_second_time_changes_nothing(beamline, server, tmp_path):
    settings, made = beamline(), runs(1, 6)
    publish(settings, made)
    archive = Archive(settings, server, tmp_path, "--once", session_s=45)
    assert archive.wait() == 0, archive.said()
    check_stored(server, made)
    publish(settings, made)  # as an at-least-once service does after a crash
    archive = Archive(settings, server, tmp_path, "--once", session_s=45)
    assert archive.wait() == 0 and '"skipped"' in archive.said()
    check_stored(server, made)
    ds = streamproc.open_results(server.url, "raw-0003", api_key=KEY)
    assert ds.sizes["seq_num"] == 20 and ds.attrs["scan_id"] == 3


def test_tiled_killed_in_the_middle_costs_no_run_and_doubles_none(beamline, server, tmp_path):
    settings, made = beamline(), runs(1, 17)
    archive = Archive(settings, server, tmp_path)
    publish(settings, made[:10])
    wait_for(lambda: stored(server) >= 3)
    server.kill()
    publish(settings, made[10:])
    spool = tmp_path / "spool"
    wait_for(lambda: len(list(spool.glob("*.jsonl"))) >= 6)
    server.start()
    wait_for(lambda: not list(spool.glob("*.jsonl")) and stored(server) == 16, 90)
    assert archive.stop() == 0, archive.said()
    check_stored(server, made)


def test_killed_archivers_leave_no_gap_whenever_it_happens(beamline, server, tmp_path):
    settings, made = beamline(), runs(1, 13)
    publish(settings, made)
    for _ in range(2):
        archive, before = Archive(settings, server, tmp_path), stored(server)
        wait_for(lambda before=before: stored(server) > before or stored(server) == 12)
        archive.process.kill()
        archive.wait()
        wait_for(lambda: f"streamproc-{settings.beamline}-archive" not in active_groups(settings.kafka), 30)
    archive = Archive(settings, server, tmp_path, "--once")
    assert archive.wait() == 0, archive.said()
    check_stored(server, made)


def test_the_spool_is_named_by_the_exit_code_and_sigterm_ends_it_with_the_server_away(
    beamline, server, tmp_path
):
    settings, made = beamline(), runs(1, 3)
    publish(settings, made)
    server.kill()
    archive = Archive(settings, server, tmp_path, "--once")
    assert archive.wait() == 1, archive.said()
    assert len(list((tmp_path / "spool").glob("*.jsonl"))) == 2
    archive = Archive(settings, server, tmp_path)
    wait_for(lambda: "ready" in archive.said())
    assert archive.stop() == 0, archive.said()
    server.start()
    assert Archive(settings, server, tmp_path, "--once").wait() == 0
    check_stored(server, made)


def test_a_wrong_key_is_said_at_once(beamline, server, tmp_path):
    archive = Archive(beamline(), server, tmp_path, key="wrong")
    assert archive.wait() == 2
    assert "refuses the key" in archive.said()


def test_metrics_and_health_are_served(beamline, server, tmp_path, monkeypatch):
    settings = beamline()
    publish(settings, runs(1, 3))
    monkeypatch.setenv("STREAMPROC_OBSERVABILITY__HTTP_PORT", str(port := free_port()))
    archive = Archive(settings, server, tmp_path)

    def text(path):
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2).read().decode()
        except OSError:
            return ""

    wait_for(lambda: 'streamproc_archive_runs_total{outcome="stored"} 2.0' in text("/metrics"))
    assert '"ok": true' in text("/healthz") and '"ok": true' in text("/readyz")
    assert archive.stop() == 0


def free_port():
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
