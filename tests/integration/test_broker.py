"""The broker we start, and what source and sink do when it goes away."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from streamproc.cli.topics import topics_group
from streamproc.errors import ConfigurationError, DeliveryError
from streamproc.loading import analysis_names
from streamproc.settings import DeliverySettings, Settings
from streamproc.transports.broker import Broker
from streamproc.transports.codec import encode
from streamproc.transports.kafka import KafkaSink, KafkaSource, ensure_topics
from streamproc.transports.kafka.mends import joining
from streamproc.transports.ports import Outgoing
from tests.integration.freezing import freeze

pytestmark = pytest.mark.broker


def until(condition, deadline_s=40.0):
    end = time.monotonic() + deadline_s
    while not (value := condition()):
        assert time.monotonic() < end, "not within the deadline"
        time.sleep(0.05)
    return value


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def event(i):
    return encode("event", {"uid": f"e{i}", "seq_num": i})


def test_source_and_sink_live_through_outages_and_say_so(tmp_path, capsys):
    """One broker, frozen, thawed, killed and started again on its folder."""
    broker = Broker(tmp_path / "kept").start()
    port = int(broker.bootstrap.rpartition(":")[2])
    settings = Settings(beamline="x", kafka={"bootstrap": broker.bootstrap, "request_timeout_s": 2.0})
    delivery = DeliverySettings(flush_timeout_s=3.0)
    ensure_topics(settings)
    raw = settings.topic("raw")
    try:
        source = KafkaSource(settings.kafka, raw, "g")
        sink = KafkaSink(settings.kafka, delivery, source)
        sink.deliver([Outgoing(raw, b"k", event(0))], {})
        until(lambda: [d.doc["seq_num"] for d in source.poll(0.2)] == [0])
        # just after a start the group may be joined once more, and a commit waits for that
        until(lambda: not source.poll(0.2) and not joining(source._consumer))
        sink.deliver([], {(raw, 0): 1})

        freeze(broker.processes[0])
        begin = time.monotonic()
        with pytest.raises(DeliveryError) as caught:
            sink.deliver([Outgoing(raw, b"k", event(1))], {})
        assert time.monotonic() - begin < 5, "a frozen broker must not hold a delivery beyond its deadline"
        assert caught.value.exit_code == 3
        begin = time.monotonic()
        with pytest.raises(DeliveryError):
            sink.deliver([], {(raw, 0): 1})
        assert time.monotonic() - begin < 5, "nor a commit"
        begin = time.monotonic()
        assert not source.poll(0.2)
        assert time.monotonic() - begin < 3
        broker.processes[0].send_signal(signal.SIGCONT)
        sink.close()
        sink = KafkaSink(settings.kafka, delivery, source)
        sink.deliver([Outgoing(raw, b"k", event(2))], {})
        got = []
        until(lambda: got.extend(source.poll(0.2)) or any(d.doc["seq_num"] == 2 for d in got))

        os.killpg(broker.processes[0].pid, signal.SIGKILL)
        until(lambda: not source.poll(0.2) and "does not answer" in said(capsys))
        quiet = time.monotonic() + 3
        while time.monotonic() < quiet:
            assert not source.poll(0.2)
        assert "does not answer" not in said(capsys), "said once, not at every poll"
        with pytest.raises(ConfigurationError):
            broker.check()
        broker.stop()
        broker = Broker(tmp_path / "kept", port).start()
        sink = KafkaSink(settings.kafka, delivery, source)
        sink.deliver([Outgoing(raw, b"k", event(3))], {})
        got = []
        until(lambda: got.extend(source.poll(0.2)) or any(d.doc["seq_num"] == 3 for d in got))
        until(lambda: source.poll(0.2) or "answers again" in said(capsys))
        until(lambda: _commits(sink, raw, got[-1].position.offset + 1))
        source.close()
        sink.close()
    finally:
        broker.stop()


def said(capsys):
    """What was logged since: to the console, or to stderr where an earlier command in this process set that."""
    found = capsys.readouterr()
    return found.out + found.err


def _commits(sink, raw, offset):
    try:
        sink.deliver([], {(raw, 0): offset})
    except DeliveryError:
        return False
    return True


@pytest.mark.parametrize("where", ["main", "thread"])
def test_the_broker_ends_with_the_process_that_started_it(where):
    """Also a node that a thread started, which has ended since; the next broker removes the folder."""
    code = f"""
import threading, time
from streamproc.transports.broker import Broker
broker = Broker().start()
if {where == "thread"}:
    thread = threading.Thread(target=broker.restart_node, args=(0,))
    thread.start()
    thread.join()
print(broker.processes[0].pid, broker.nodes[0].folder.parent, flush=True)
time.sleep(100)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        pid, _, folder = process.stdout.readline().strip().partition(" ")
        assert alive(int(pid)) and Path(folder).is_dir()
        process.kill()
    until(lambda: not alive(int(pid)), 20)
    assert Path(folder).is_dir()
    with Broker() as another:
        assert not Path(folder).exists() and another.nodes[0].folder.is_dir()


def test_stop_removes_processes_and_temporary_folder():
    with Broker() as broker:
        (process,) = broker.processes
        folder = broker.nodes[0].folder.parent
        assert folder.is_dir()
    assert not alive(process.pid) and not folder.exists()


def test_a_port_in_use_is_one_sentence(kafka):
    port = int(kafka.rpartition(":")[2])
    with pytest.raises(ConfigurationError, match=f"port {port} .* in use"):
        Broker(port=port).start()


def test_a_broker_that_cannot_start_says_why():
    with pytest.raises(ConfigurationError) as caught:
        Broker(properties={"log.retention.ms": "soon"}, start_timeout_s=30).start()
    assert "soon" in caught.value.message


def test_the_command_prints_the_address_makes_topics_and_ends_on_ctrl_c(tmp_path):
    command = "from streamproc.cli import main; main(['broker', '--port', '0', '--create-topics', 'lab'])"
    with subprocess.Popen(
        [sys.executable, "-c", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        address = process.stdout.readline().strip()
        assert address.startswith("127.0.0.1:")
        runner = CliRunner()
        result = runner.invoke(topics_group, ["check", "--bootstrap", address, "--beamline", "lab"])
        assert result.exit_code == 0 and result.output.count("present") == 3 + len(analysis_names())
        javas = [p.pid for p in psutil.Process(process.pid).children(recursive=True)]
        assert javas
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=20)
        assert process.returncode == 0 and time.monotonic() - begin < 5
        assert "topic lab.bluesky.runengine.documents: made" in told and "Traceback" not in told
    assert not any(alive(pid) for pid in javas)


def test_topics_are_created_and_checked_from_the_command_line(kafka):
    runner, all_topics = CliRunner(), 3 + len(analysis_names())
    options = ["--bootstrap", kafka, "--beamline", "cmdline"]
    missing = runner.invoke(topics_group, ["check", *options], standalone_mode=False)
    assert missing.return_value == 2 and missing.output.count("missing") == all_topics
    made = runner.invoke(topics_group, ["create", *options, "--partitions", "2"], standalone_mode=False)
    assert made.return_value == 0 and made.output.count("made, partitions: 2") == all_topics - 1
    again = runner.invoke(topics_group, ["create", *options], standalone_mode=False)
    assert again.return_value == 0 and again.output.count("present, partitions: 2") == all_topics - 1
    one = runner.invoke(topics_group, ["check", *options, "--analysis", "other"], standalone_mode=False)
    assert one.return_value == 2 and one.output.count("missing") == 1
    assert "cmdline.bluesky.streamproc.state.other  missing" in one.output


def free_ports(count):
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@pytest.fixture(scope="module")
def guarded():
    """A broker that wants a log-in on a second port, for user "me" with password "right"."""
    plain, sasl, control = free_ports(3)
    login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    properties = {
        "listeners": f"PLAINTEXT://127.0.0.1:{plain},SASL_PLAINTEXT://127.0.0.1:{sasl},"
        f"CONTROLLER://127.0.0.1:{control}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{plain},SASL_PLAINTEXT://127.0.0.1:{sasl}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,"
        "CONTROLLER:PLAINTEXT",
        "controller.quorum.voters": f"1@127.0.0.1:{control}",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": f'{login} user_me="right";',
    }
    with Broker(port=plain, properties=properties):
        yield {
            "bootstrap": f"127.0.0.1:{sasl}",
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "PLAIN",
            "username": "me",
        }


def test_a_right_password_is_let_in(guarded):
    settings = Settings(beamline="safe", kafka=guarded | {"password": "right"})
    assert all(report.created for report in ensure_topics(settings))
    KafkaSource(settings.kafka, settings.topic("raw"), "g").close()


@pytest.mark.parametrize("make", ["source", "sink", "topics"])
def test_a_wrong_password_is_told_at_once_and_does_not_show_it(guarded, make):
    settings = Settings(
        beamline="safe", kafka=guarded | {"password": "wrong-secret", "connect_timeout_s": 90}
    )
    begin = time.monotonic()
    with pytest.raises(ConfigurationError, match="refuses the log-in of user 'me'") as caught:
        {
            "source": lambda: KafkaSource(settings.kafka, "t", "g"),
            "sink": lambda: KafkaSink(settings.kafka, settings.delivery),
            "topics": lambda: ensure_topics(settings),
        }[make]()
    assert time.monotonic() - begin < 20, "said when the broker says it, not at the deadline of 90 s"
    assert "wrong-secret" not in caught.value.message and "\n" not in caught.value.message
