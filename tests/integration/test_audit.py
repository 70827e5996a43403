"""`streamproc audit` and `streamproc status` on the real Apache Kafka, after a real service."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass

import numpy as np
import pytest
from kafka import KafkaProducer

from streamproc.audit import audit_runs
from streamproc.cli import main
from streamproc.inference.registry import find_model
from streamproc.settings import InferenceSettings
from streamproc.testing.makers import inline_run
from streamproc.transports.codec import decode, encode
from streamproc.transports.kafka.reading import TopicReader
from tests.integration.publishing import ordered_producer

METADATA = {"motors": ["motor"], "hints": {"dimensions": [[["motor"], "primary"]]}, "sample": "golden"}
RUNS = {"3f2a91c4-whole": 8, "3f2a91c4-twin": 5, "b7c0d1e2-failing": 6}
FAILING = 3


def pattern_run(uid, count, time_s):
    """A run of patterns that the shipped model was released with."""
    with np.load(find_model("phase_qpa", InferenceSettings()).with_name("golden.npz")) as golden:
        sound = golden["x"][golden["x"].any(axis=1)]
    patterns = list(np.round(np.resize(sound, (count, sound.shape[1])).astype(float) ** 2 * 1e5))
    axis = np.linspace(20.0, 100.0, sound.shape[1])
    pairs = inline_run(patterns, uid=uid, key="intensity", metadata=METADATA, time_s=time_s)
    for name, doc in pairs:
        if name == "descriptor":
            doc["data_keys"]["two_theta"] = {**doc["data_keys"]["intensity"], "units": "deg"}
        if name == "event":
            doc["data"]["two_theta"], doc["timestamps"]["two_theta"] = axis, doc["time"]
    return pairs


def all_runs():
    now_s = time.time()
    runs = {uid: pattern_run(uid, count, now_s) for uid, count in RUNS.items()}
    failing = [doc for name, doc in runs["b7c0d1e2-failing"] if name == "event"][FAILING - 1]
    failing["data"]["intensity"] = np.zeros((2, 2, 2))
    return runs


@dataclass
class Ended:
    """What a command said."""

    exit_code: int
    output: str
    error: str


def command(*arguments):
    output, error = io.StringIO(), io.StringIO()
    with redirect_stdout(output), redirect_stderr(error), pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return Ended(ended.value.code, output.getvalue(), error.getvalue())


@dataclass
class Answered:
    """A beamline whose runs were answered by a service that has ended."""

    settings: object

    def command(self, *arguments):
        return command(
            *arguments, "--bootstrap", self.settings.kafka.bootstrap, "--beamline", self.settings.beamline
        )

    def json(self, *arguments):
        return json.loads(self.command(*arguments, "--json").output)

    def publish(self, which, messages):
        producer = ordered_producer(self.settings.kafka.bootstrap)
        for key, value in messages:
            producer.send(self.settings.topic(which), value, key=key)
        producer.flush(30)
        producer.close()

    def messages(self, which):
        with TopicReader(self.settings.kafka, self.settings.topic(which)) as reader:
            return list(reader.messages())


def serve(settings, folder):
    config = folder / "beamline.toml"
    config.write_text(
        f'beamline = "{settings.beamline}"\n[kafka]\nbootstrap = "{settings.kafka.bootstrap}"\n'
        'session_timeout_s = 6.0\n[analysis.phase-map]\naxis_key = "two_theta"\n'
    )
    argv = [sys.executable, "-m", "streamproc", "run", "phase-map", "--once", "--config", str(config)]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=180)
    assert ended.returncode == 0, ended.stderr[-3000:]


@pytest.fixture(scope="module")
def original(kafka, tmp_path_factory):
    """The messages of a raw topic with interleaved runs, and what a real service published about them."""
    from streamproc.settings import Settings
    from streamproc.transports.kafka import ensure_topics

    settings = Settings(beamline="audited", kafka={"bootstrap": kafka})
    ensure_topics(settings)
    answered = Answered(settings)
    runs = all_runs()
    longest = max(map(len, runs.values()))
    for n in range(longest):
        answered.publish(
            "raw", [(uid.encode(), encode(*pairs[n])) for uid, pairs in runs.items() if n < len(pairs)]
        )
    serve(settings, tmp_path_factory.mktemp("audited"))
    return answered


@pytest.fixture
def copied(original, beamline):
    """Make a beamline with the same raw messages, and the result messages after some change."""

    def make(change):
        answered = Answered(beamline())
        answered.publish("raw", [(m.key, m.value) for m in original.messages("raw")])
        results = [(m.key, m.value) for m in original.messages("results")]
        answered.publish("results", change(results))
        return answered

    return make


def event_of(results, uid, seq_num):
    """Index of the result event of a reading."""
    decoded = [decode(value) for _, value in results]
    run_uid = next(d["uid"] for n, d in decoded if n == "start" and d["original_run_uid"] == uid)
    described = {
        d["uid"]
        for n, d in decoded
        if n == "descriptor" and (d["run_start"], d["name"]) == (run_uid, "primary")
    }
    return next(
        i for i, (n, d) in enumerate(decoded)
        if n == "event" and d["descriptor"] in described and d["seq_num"] == seq_num
    )  # fmt: skip


def test_a_real_service_passes_the_audit_and_failed_readings_are_counted(original):
    result = original.command("audit", "--all")
    assert result.exit_code == 0, result.output
    assert "no difference in 3 run(s), 19 reading(s): 1 failed" in result.output
    report = original.json("audit", "--all", "--analysis", "phase-map")
    assert report["totals"]["done"] == 18
    assert {run["verdict"] for run in report["runs"]} == {"complete", "accounted for"}


def test_one_run_is_found_by_raw_uid_result_uid_or_the_beginning_of_either(original):
    report = original.json("audit", "--run", "b7c0d1")
    (run,) = report["runs"]
    assert (run["expected"], run["done"], run["failed"]) == (6, 5, 1)
    for uid in (run["run_uid"], run["result_uid"], run["result_uid"][:8]):
        again = original.command("audit", "--run", uid)
        assert again.exit_code == 0
        assert "no difference in 1 run(s), 6 reading(s)" in again.output


def test_an_ambiguous_or_unknown_run_is_a_sentence_and_exit_code_2(original):
    for asked in (("status",), ("audit", "--run")):
        for uid, said in (
            ("3f2a91", "3f2a91c4-twin, 3f2a91c4-whole"), ("no-such-run", "neither in"), ("3f2a", "at least 6"),
        ):  # fmt: skip
            ended = original.command(*asked, uid)
            assert ended.exit_code == 2
            assert said in ended.error
            assert ended.error.count("\n") == 1


def test_a_doubled_result_is_found_by_its_seq_num(copied):
    damaged = copied(lambda results: [*results, results[event_of(results, "3f2a91c4-whole", 4)]])
    result = damaged.command("audit", "--all")
    assert result.exit_code == 1
    assert "doubled" in result.output
    assert "seq_num 4" in result.output
    assert damaged.command("audit", "--run", "3f2a91c4-twin").exit_code == 0
    (run,) = damaged.json("audit", "--run", "3f2a91c4-whole")["runs"]
    assert (run["doubled"], run["lost"]) == (1, 0)


def test_a_lost_result_is_found_by_its_seq_num(copied):
    def change(results):
        lost = event_of(results, "3f2a91c4-whole", 6)
        return [m for i, m in enumerate(results) if i != lost]

    damaged = copied(change)
    result = damaged.command("audit", "--run", "3f2a91c4-whole")
    assert result.exit_code == 1
    assert "lost: expected an event or a place in the ledger, got neither" in result.output
    assert "seq_num 6" in result.output
    assert damaged.json("status", "3f2a91c4-whole")["analyses"][0]["missing"] == 1


def test_a_run_whose_results_are_all_gone_is_lost(copied):
    damaged = copied(lambda results: [])
    assert damaged.command("audit", "--all", "--grace", "3600").exit_code == 0
    assert damaged.command("audit", "--all", "--grace", "0").exit_code == 1
    report = damaged.json("audit", "--run", "b7c0d1e2", "--grace", "0")
    assert report["findings_by_kind"] == {"lost-run": 1}
    assert "no result run" in damaged.command("status", "b7c0d1e2").output


def test_only_what_came_since_is_compared(original):
    report = original.json("audit", "--all", "--since", "0")
    assert report["counts"]["raw_messages"] == 0
    assert original.json("audit", "--all", "--since", "86400")["totals"]["expected"] == 19
    assert "expected an age" in original.command("audit", "--all", "--since", "noon").error


def test_the_status_of_an_ended_run_says_what_became_of_every_reading(original):
    status = original.json("status", "b7c0d1e2")
    assert (status["state"], status["plan_name"], status["sample"]) == ("success", "scan", "golden")
    assert status["streams"]["primary"]["seen"] == status["streams"]["primary"]["announced"] == 6
    (analysis,) = status["analyses"]
    assert (analysis["expected"], analysis["done"], analysis["failed"], analysis["dropped"]) == (6, 5, 1, 0)
    assert analysis["state"] == "fail"
    assert analysis["reasons"][0]["first_seq_nums"] == [FAILING]
    assert 0 < analysis["latency_p50_ms"] <= analysis["latency_p95_ms"]
    assert sum(analysis["models"].values()) == 5
    text = original.command("status", "b7c0d1e2").output
    assert "done 5 of 6, failed 1, dropped 0" in text
    assert f"seq_num {FAILING}" in text


def test_the_status_of_an_open_run_says_how_far_behind_the_analysis_is(copied):
    def change(results):
        gone = {event_of(results, "3f2a91c4-whole", n) for n in (6, 7, 8)}
        return [
            m for i, m in enumerate(results)
            if i not in gone and decode(m[1])[0] != "stop"
        ]  # fmt: skip

    running = copied(change)
    audit = running.json("audit", "--run", "3f2a91c4-whole", "--grace", "3600")
    assert [run["verdict"] for run in audit["runs"]] == ["waiting"]
    (analysis,) = running.json("status", "3f2a91c4-whole")["analyses"]
    assert (analysis["state"], analysis["done"], analysis["waiting"]) == ("running", 5, 3)
    assert analysis["behind_s"] == 3.0
    assert "3 reading(s), 3.0 s behind" in running.command("status", "3f2a91c4-whole").output


def test_aborted_transactions_are_no_results_and_markers_do_not_hold_the_reader_up(original, beamline):
    settings = beamline()
    answered = Answered(settings)
    answered.publish("raw", [(m.key, m.value) for m in original.messages("raw")])
    producer = KafkaProducer(
        bootstrap_servers=settings.kafka.bootstrap, transactional_id="audit-test", retry_backoff_ms=5
    )
    producer.init_transactions()
    results = original.messages("results")
    for commit in (False, True):
        producer.begin_transaction()
        for message in results:
            producer.send(settings.topic("results"), message.value, key=message.key)
        producer.flush(30)
        (producer.commit_transaction if commit else producer.abort_transaction)()
    producer.close()
    assert answered.command("audit", "--all").exit_code == 0
    assert len(answered.messages("results")) == len(results)


def test_the_documents_as_read_from_kafka_go_into_the_pure_comparison(original):
    topics = {}
    for which in ("raw", "results"):
        with TopicReader(original.settings.kafka, original.settings.topic(which)) as reader:
            topics[which] = list(reader.documents())
    report = audit_runs(topics["raw"], topics["results"], now_s=time.time(), grace_s=0.0)
    assert not report.differs
    assert report.totals()["expected"] == 19


def test_a_broker_that_does_not_answer_and_a_topic_that_is_not_there_are_exit_code_2(kafka, tmp_path):
    config = tmp_path / "b.toml"
    config.write_text('[kafka]\nbootstrap = "127.0.0.1:9"\nconnect_timeout_s = 1')
    for arguments in (["audit", "--all"], ["status", "3f2a91c4"]):
        ended = command(*arguments, "--config", str(config))
        assert ended.exit_code == 2
        assert "127.0.0.1:9" in ended.error
        ended = command(*arguments, "--bootstrap", kafka, "--beamline", "nobody")
        assert ended.exit_code == 2
        assert "nobody.bluesky" in ended.error


def test_a_topic_that_cannot_be_read_to_its_end_in_time_is_exit_code_2_and_says_how_far_it_came(original):
    ended = original.command("audit", "--all", "--timeout", "0.000001")
    assert ended.exit_code == 2
    assert "not read to its end within 1e-06 s (0 of " in ended.error
    assert ended.output == ""
