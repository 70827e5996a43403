"""``streamproc dlq`` on the real Apache Kafka: letters of the real service, and letters made by hand."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from streamproc.cli import main
from streamproc.documents import BadMessage, Position
from streamproc.errors import DeliveryError, Where
from streamproc.settings import Settings
from streamproc.testing.hostile import hostile_messages
from streamproc.testing.makers import inline_run, stream_run
from streamproc.transports.broker import Broker
from streamproc.transports.broker.users import toml_settings
from streamproc.transports.codec import decode, encode
from streamproc.transports.deadletters import ORIGIN, REINJECTED, dead_letter, settled_letter
from streamproc.transports.kafka import ensure_topics
from streamproc.transports.kafka.connect import client_options
from streamproc.transports.kafka.letters import Poster
from streamproc.transports.kafka.users import Right
from tests.integration.publishing import ordered_producer
from tests.integration.reading import records

pytestmark = pytest.mark.broker
TOY = str(Path(__file__).with_name("toy_consumer.py"))


class Desk:
    """A beamline whose dead letters are written by hand and worked at with the command line."""

    def __init__(self, settings, capsys):
        self.settings, self.capsys = settings, capsys
        self.raw, self.dead = settings.topic("raw"), settings.topic("deadletters")

    def __call__(self, command, *arguments, code=0):
        """Run a command that is to end with this exit code (None: any); return its standard output."""
        options = ["--bootstrap", self.settings.kafka.bootstrap, "--beamline", self.settings.beamline]
        with pytest.raises(SystemExit) as ended:
            main(["dlq", command, *options, *map(str, arguments)])
        captured = self.capsys.readouterr()
        assert code in (None, ended.value.code), captured
        self.err = captured.err
        return captured.out

    def listed(self, *arguments):
        return [json.loads(line) for line in self("list", "--json", *arguments).splitlines()]

    def name(self, offset, partition=0):
        return f"{self.raw}/{partition}@{offset}"

    def letter(self, offset, raw=b"raw", reason="bad", *, partition=0, now_s=100.0, key=b"run", **more):
        analysis = more.pop("analysis", "phase-map")
        position = Position(self.raw, partition, offset)
        message = BadMessage(position, reason, key, raw, None)
        return dead_letter(self.dead, message, reason, analysis, now_s, **more)

    def settle(self, offset, partition=0):
        return settled_letter(self.dead, self.name(offset, partition).encode())

    def publish(self, *messages, **options):
        producer = ordered_producer(self.settings.kafka.bootstrap, **options)
        for m in messages:
            future = producer.send(
                m.topic, m.value, key=m.key, headers=list(m.headers), partition=m.partition
            )
            if not options:
                future.get(30)
        return producer

    def ends(self, which=KafkaConsumer.end_offsets):
        consumer = KafkaConsumer(bootstrap_servers=self.settings.kafka.bootstrap)
        partitions = [
            TopicPartition(topic, number)
            for topic in (self.raw, self.dead)
            for number in consumer.partitions_for_topic(topic)
        ]
        offsets = {(p.topic, p.partition): offset for p, offset in which(consumer, partitions).items()}
        consumer.close()
        return offsets

    def begins(self):
        return self.ends(KafkaConsumer.beginning_offsets)

    def read(self, topic):
        return records(self.settings, topic, "read_uncommitted")


@pytest.fixture
def desk(beamline, capsys):
    return lambda **options: Desk(beamline(**options), capsys)


def run_service(settings, tmp_path, analysis="phase-map"):
    config = tmp_path / "beamline.toml"
    config.write_text(
        f'beamline = "{settings.beamline}"\n[kafka]\nbootstrap = "{settings.kafka.bootstrap}"\n'
        f"session_timeout_s = 6.0\n[frames]\nwait_s = 0.5\nroots = [{json.dumps(str(tmp_path))}]\n"
        '[analysis.phase-map]\naxis_key = "two_theta"\n'
    )
    argv = [sys.executable, "-m", "streamproc", "run", analysis, "--config", str(config), "--once"]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stderr[-3000:]


def test_what_the_service_refused_of_the_hostile_corpus_is_listed_shown_exported_and_purged(desk, tmp_path):
    canary, work = tmp_path / "canary", desk()
    raws = [m.raw for m in hostile_messages(canary) if len(m.raw) < 16 * 2**20]
    producer = work.publish(linger_ms=5)
    for raw in raws:
        producer.send(work.raw, raw, key=b"run")
    producer.flush(60)
    producer.close()
    run_service(work.settings, tmp_path)
    letters = work.listed()
    assert len(letters) > 100
    offsets = [letter["offset"] for letter in letters]
    assert len(set(offsets)) == len(offsets)
    # Every message that is no document is there, and no letter is about anything else than a message.
    undecodable = {n for n, m in enumerate(hostile_messages(canary)) if m.expectation == "undecodable"}
    assert undecodable <= set(offsets) <= set(range(len(raws)))
    for letter in letters:
        assert letter["size"] == len(raws[letter["offset"]])
        assert letter["message_key"] == "run" and letter["analyses"] == ["phase-map"]
    total = sum(int(line.split()[0]) for line in work.err.splitlines()[1:])
    assert total == len(letters)
    assert len(work("list").splitlines()) == len(letters) + 1

    work("export", "--all", "--to", tmp_path / "out")
    files = sorted((tmp_path / "out").iterdir())
    assert len(files) == 2 * len(letters)
    for letter in letters:
        base = tmp_path / "out" / f"letter_{work.raw}_0_{letter['offset']}"
        assert base.with_name(base.name + ".msgpack").read_bytes() == raws[letter["offset"]]
        told = json.loads(base.with_name(base.name + ".json").read_text())
        assert told["key"] == letter["key"] and told["reason"] == letter["reason"]
    for letter in (letters[0], letters[len(letters) // 2], letters[-1]):
        shown = work("show", letter["key"])
        assert all(line.isprintable() for line in shown.splitlines())
        assert letter["key"] in shown

    kinds = {letter["kind"]: letter["key"] for letter in letters}
    work("reinject", *kinds.values())
    run_service(work.settings, tmp_path)
    before, after = ({x["key"]: x["count"] for x in found} for found in (letters, work.listed()))
    assert after == {key: count + (key in kinds.values()) for key, count in before.items()}

    work("purge", "--all", "--yes")
    assert work.listed() == []
    assert work.listed("--settled") == []  # freed: nothing before them was open
    assert not canary.exists()


def test_readings_whose_file_was_missing_are_answered_after_all_and_settled(desk, tmp_path):
    work, path, away = desk(), tmp_path / "run.h5", tmp_path / "away.h5"
    pairs = stream_run([np.full((4, 4), n + 1.0) for n in range(3)], path, uid="late")
    path.rename(away)
    producer = work.publish()
    for pair in pairs:
        producer.send(work.raw, encode(*pair), key=b"late").get(30)
    producer.close()
    run_service(work.settings, tmp_path, TOY)
    failed = work.listed("--kind", "frame", "--run", "late", "--analysis", "toy")
    assert [x["seq_nums"] for x in failed] == [[1], [2], [3]] and len(work.listed()) == 3

    work("reinject", failed[0]["key"])
    run_service(work.settings, tmp_path, TOY)
    again = {x["key"]: x["count"] for x in work.listed()}
    assert again == {failed[0]["key"]: 2, failed[1]["key"]: 1, failed[2]["key"]: 1}

    away.rename(path)
    work("reinject", "--kind", "frame")
    run_service(work.settings, tmp_path, TOY)
    assert work.listed() == []
    assert sorted(x["key"] for x in work.listed("--settled")) == sorted(again)
    documents = [decode(r.value) for r in work.read(work.settings.topic("results"))]
    first, *later = [doc for name, doc in documents if name == "start"]
    assert later and {doc["supplements"] for doc in later} == {first["uid"]}
    means = {d["seq_num"]: d["data"]["mean"] for n, d in documents if n == "event" and "mean" in d["data"]}
    assert means == {1: 1.0, 2: 2.0, 3: 3.0}


def test_letters_are_joined_settled_and_never_seen_before_their_transaction_is_committed(desk):
    work = desk()
    committed = work.publish(transactional_id=f"{work.dead}-a")
    committed.init_transactions()
    for n in range(3):
        committed.begin_transaction()
        for letter in (work.letter(5, reason=str(n), now_s=10.0 + n), work.letter(6 + n)):
            committed.send(letter.topic, letter.value, key=letter.key, headers=list(letter.headers))
        committed.commit_transaction()
    committed.begin_transaction()
    aborted = work.letter(99)
    committed.send(aborted.topic, aborted.value, key=aborted.key, headers=list(aborted.headers))
    committed.flush()
    committed.abort_transaction()
    committed.close()
    work.publish(work.settle(7)).close()
    by_offset = {letter["offset"]: letter for letter in work.listed()}
    assert set(by_offset) == {5, 6, 8}
    five = by_offset[5]
    assert (five["count"], five["first_s"], five["last_s"], five["reason"]) == (3, 10.0, 12.0, "2")
    assert {letter["offset"] for letter in work.listed("--all") if letter["settled"]} == {7}


def test_the_list_can_be_narrowed(desk):
    work = desk(partitions=2)
    about = Where(run_uid="abcdef", stream="primary", seq_num=3)
    work.publish(
        work.letter(1, kind="frame", where=about, now_s=time.time() - 10),
        work.letter(2, partition=1, reason="No Key", analysis="other", now_s=time.time() - 7200),
        work.letter(3, kind="undecodable", now_s=time.time() - 90_000),
    ).close()

    def offsets(*arguments):
        return [letter["offset"] for letter in work.listed(*arguments)]

    assert offsets() == [3, 2, 1]
    assert offsets("--limit", 2) == [2, 1] and "letters: 3," in work.err
    assert offsets("--since", "1h") == offsets("--run", "abc") == offsets("--kind", "frame") == [1]
    assert offsets("--analysis", "other") == offsets("--reason", "no key") == [2]
    assert offsets("--since", "1d") == [2, 1]
    assert offsets("--run", "abc", "--analysis", "other") == []
    assert work("list", "--kind", "unexpected") == "" and "letters: 0" in work.err


def test_a_letter_shows_its_document(desk):
    event = inline_run([[[1.0, 2.0], [3.0, 4.0]]], uid="u")[2]
    work = desk()
    work.publish(work.letter(3, encode(*event)), work.letter(4, b"\xc1\x00")).close()
    shown = work("show", work.name(3))
    assert "document     event" in shown and '"float64"' in shown and '"max": 4.0' in shown
    assert work("show", "0@3") == shown
    told = json.loads(work("show", work.name(3), "--json"))
    assert told["name"] == "event" and told["document"]["seq_num"] == 1
    assert "undecodable  not a decodable document" in work("show", "0@4") and "c1 00" in work("show", "0@4")
    work("show", "0@5", code=2)
    assert "no dead letter 0@5" in work.err and work.err.count("\n") == 1


def test_export_writes_over_nothing_without_force(desk, tmp_path):
    work = desk()
    work.publish(work.letter(1, b"one"), work.letter(2, b"two", reason="../../x", key=b"../../y")).close()
    work("export", "0@1", "--to", tmp_path / "out")
    first = tmp_path / "out" / f"letter_{work.raw}_0_1.msgpack"
    assert first.read_bytes() == b"one"
    first.write_bytes(b"edited")
    work("export", "--all", "--to", tmp_path / "out", code=2)
    assert first.read_bytes() == b"edited" and len(list((tmp_path / "out").iterdir())) == 2
    work("export", "--all", "--to", tmp_path / "out", "--force")
    assert first.read_bytes() == b"one" and len(list((tmp_path / "out").iterdir())) == 4
    assert "letters written to" in work.err and "6 B" in work.err
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_reinjected_letters_lie_in_the_raw_topic_as_they_were(desk):
    work = desk(partitions=3)
    work.publish(
        work.letter(9, b"nine", partition=2, key=None),
        work.letter(8, b"eight", partition=2, key=b"\x00\xff"),
        work.letter(8, b"eight", partition=2, key=b"\x00\xff", analysis="other"),
        work.letter(1, b"one", partition=0, now_s=1.0),
    ).close()
    before = work.ends()
    would = work("reinject", "--all", "--dry-run")
    assert work.ends() == before
    told = work("reinject", "--all")
    assert [line.split(":")[0] for line in would.splitlines()] == [
        line.split(":")[0] for line in told.splitlines()
    ]
    assert len(told.splitlines()) == 4 and "letters reinjected: 3, 12 B" in work.err
    got = [(r.partition, r.key, r.value, dict(r.headers)) for r in work.read(work.raw)]
    expected = [
        (0, b"run", b"one", b"phase-map", 1),
        (2, b"\x00\xff", b"eight", b"phase-map", 8),
        (2, b"\x00\xff", b"eight", b"other", 8),
        (2, None, b"nine", b"phase-map", 9),
    ]
    assert sorted(got, key=lambda g: g[0]) == [
        (p, key, value, {REINJECTED: analysis, ORIGIN: work.name(offset, p).encode()})
        for p, key, value, analysis, offset in expected
    ]
    assert work.ends()[work.dead, 0] == before[work.dead, 0]  # the service says when they are settled
    assert len(work.listed()) == 3


def test_many_letters_go_in_the_original_order_with_few_bytes_in_flight(desk, monkeypatch):
    monkeypatch.setenv("STREAMPROC_DELIVERY__MAX_IN_FLIGHT_BYTES", "10000")
    work = desk()
    letters = [work.letter(n, f"{n}".encode() * 300) for n in range(200)]
    again = [work.letter(n, f"{n}".encode() * 300, now_s=200.0) for n in range(0, 200, 7)]
    producer = work.publish(linger_ms=5)
    for letter in (*letters, *again):
        producer.send(letter.topic, letter.value, key=letter.key, headers=list(letter.headers))
    producer.flush(30)
    producer.close()
    work("reinject", "--all")
    assert [int(dict(r.headers)[ORIGIN].rpartition(b"@")[2]) for r in work.read(work.raw)] == list(range(200))


def test_a_repaired_message_takes_the_place_of_the_kept_bytes(desk, tmp_path):
    work = desk()
    raw = encode("start", {"uid": "u", "time": 1.0})
    path = tmp_path / "repaired.msgpack"
    work.publish(
        work.letter(1, b"\xc1", kind="undecodable"),
        work.letter(
            2, b"x", reason="message of 9 bytes, at most 8 accepted; only its first 1 bytes are kept"
        ),
    ).close()
    path.write_bytes(b"\xc1 still wrong")
    work("reinject", "0@1", "--file", path, code=2)
    assert "repaired.msgpack" in work.err and work.read(work.raw) == []
    path.write_bytes(raw)
    for name in ("0@1", "0@2"):
        work("reinject", name, "--file", path, "--analysis", "phase-map")
    records = work.read(work.raw)
    assert [r.value for r in records] == [raw, raw] and decode(raw)[0] == "start"
    assert [dict(r.headers)[ORIGIN].decode() for r in records] == [work.name(1), work.name(2)]


def test_what_cannot_be_reinjected_is_said_and_the_rest_goes(desk):
    work = desk()
    work.publish(
        work.letter(1, b"one", reason="too long; only its first 3 bytes are kept"),
        work.letter(2, b"", reason="message without a value"),
        work.letter(3, b"three", partition=7),
        work.letter(4, b"four"),
        work.letter(5, b"five"),
        work.settle(5),
    ).close()
    told = work("reinject", "0@1", "0@2", f"{work.raw}/7@3", "0@4", "0@5", code=1)
    why = dict(line.split(": ", 1) for line in told.splitlines())
    assert "--file" in why[work.name(1)] and "--file" in why[work.name(2)]
    assert "partition 7" in why[work.name(3, 7)] and "settled" in why[work.name(5)]
    assert why[work.name(4)].startswith(f"written to {work.raw}/0@0 for phase-map")
    assert "letters reinjected: 1, 4 B; not: 4" in work.err
    assert [r.value for r in work.read(work.raw)] == [b"four"]
    work("reinject", "0@4", "0@77", code=2)
    assert "0@77" in work.err and len(work.read(work.raw)) == 1


def test_a_name_that_no_service_has_is_pointed_out(desk):
    work = desk()
    work.publish(work.letter(1)).close()
    work("reinject", "0@1", "--analysis", "phase-mop", "--dry-run")
    assert "phase-mop" in work.err
    work("reinject", "0@1", "--analysis", "phase-map", "--dry-run")
    assert "no installed analysis" not in work.err


def test_without_a_raw_topic_nothing_is_reinjected(desk, monkeypatch):
    work = desk()
    work.publish(work.letter(1)).close()
    monkeypatch.setenv("STREAMPROC_KAFKA__RAW_TOPIC", "no.such.topic")
    work("reinject", "--all", code=2)
    assert "no.such.topic does not exist" in work.err and "Traceback" not in work.err
    admin = KafkaAdminClient(bootstrap_servers=work.settings.kafka.bootstrap)
    assert "no.such.topic" not in admin.list_topics()
    admin.close()


@pytest.mark.parametrize("command", [["list"], ["show", "0@1"], ["purge", "--all", "--yes"]])
def test_a_missing_dead_letter_topic_is_exit_code_2_and_one_sentence(desk, monkeypatch, command):
    work = desk()
    monkeypatch.setenv("STREAMPROC_KAFKA__DEADLETTERS_TOPIC", "no.such.letters")
    work(*command, code=2)
    assert "no.such.letters does not exist" in work.err and work.err.count("\n") == 1


def test_purged_letters_are_settled_and_the_prefix_is_freed(desk):
    work = desk()
    work.publish(*(work.letter(n, b"x" * 100) for n in range(6))).close()
    before = work.ends(), work.begins()
    would = work("purge", "0@0", "0@1", "0@4", "--dry-run")
    assert (work.ends(), work.begins()) == before
    told = work("purge", "0@0", "0@1", "0@4", "--yes")
    assert would.replace("would be settled", "settled").replace("would be freed", "freed") == told
    assert "partition 0 freed below offset 2" in told and "letters settled: 3, 300 B" in work.err
    assert work.begins()[work.dead, 0] == 2
    assert [letter["offset"] for letter in work.listed()] == [2, 3, 5]
    assert [x["offset"] for x in work.listed("--settled") if x["settled"]] == [4]
    marks = [(r.key.decode(), r.value) for r in work.read(work.dead) if r.value is None]
    assert marks == [(work.name(n), None) for n in (0, 1, 4)]
    work("purge", "0@4", "--yes", code=1)
    work("purge", "--reason", "bad", "--yes")
    assert work.listed("--settled") == [] and work.begins()[work.dead, 0] >= 6
    assert work.ends()[work.raw, 0] == 0


def test_letters_in_several_partitions_are_settled_where_they_lie(desk, kafka):
    work = desk()
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    admin.create_partitions({work.dead: 3})
    admin.close()
    deadline_s = time.monotonic() + 30
    while len([p for p in work.ends() if p[0] == work.dead]) < 3:
        assert time.monotonic() < deadline_s
    letters = [replace(work.letter(n), partition=n % 3) for n in range(9)]
    work.publish(*letters).close()
    work("purge", "0@0", "0@3", "0@1", "0@5", "--yes")
    assert {letter["offset"] for letter in work.listed()} == {2, 4, 6, 7, 8}
    begins = work.begins()
    assert [begins[work.dead, n] for n in range(3)] == [2, 1, 0]


def test_a_topic_that_is_only_compacted_keeps_its_bytes_and_the_letters_are_settled(desk, kafka):
    work = desk()
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    policy = {"cleanup.policy": "compact"}
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, work.dead, configs=policy)])
    admin.close()
    work.publish(work.letter(1)).close()
    deadline_s = time.monotonic() + 30
    while "frees nothing" not in (told := work("purge", "--all", "--yes")):
        assert time.monotonic() < deadline_s, told  # the new policy takes a moment
        work.publish(work.letter(1)).close()
    assert work.listed() == []


def test_older_letters_that_share_a_key_are_purged_together_or_not_at_all(desk):
    work = desk()
    headers = [("reason", b"x"), ("topic", work.raw.encode()), ("partition", b"0"), ("last_s", b"1.0")]
    producer = work.publish(linger_ms=0)
    for n in range(2):
        producer.send(work.dead, b"v", key=b"run", headers=[*headers, ("offset", str(n).encode())])
    producer.flush(30)
    producer.close()
    assert [letter["kind"] for letter in work.listed()] == ["unknown", "unknown"]
    assert "same key" in work("purge", "0@0", "--yes", code=1) and len(work.listed()) == 2
    work("purge", "0@0", "0@1", "--yes")
    assert work.listed() == []


@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, 0), ("n\n", 1, 2)])
def test_purge_asks_on_a_terminal(desk, answer, code, left):
    work = desk()
    work.publish(work.letter(1), work.letter(2)).close()
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "streamproc", "dlq", "purge", "--all", "--beamline", work.settings.beamline]
    argv += ["--bootstrap", work.settings.kafka.bootstrap]
    process = subprocess.Popen(argv, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    os.write(ours, answer.encode())
    out, err = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert "Settle 2 letters, 6 B" in err and process.returncode == code, err
    assert len(work.listed()) == left
    assert out.count("settled,") == (2 if code == 0 else 0)


def test_a_message_that_the_topic_does_not_take_is_said_and_the_rest_goes(desk, kafka):
    work = desk()
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    smaller = {"max.message.bytes": "2000"}
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, work.raw, configs=smaller)])
    admin.close()
    work.publish(work.letter(1, os.urandom(50_000)), work.letter(2, b"two")).close()
    deadline_s = time.monotonic() + 30
    while "the broker refuses it" not in (told := work("reinject", "0@1", code=None)):
        assert time.monotonic() < deadline_s, told  # the new limit takes a moment
    before = work.ends()[work.raw, 0]
    told = work("reinject", "--all", code=1)
    assert f"{work.name(2)}: written to {work.raw}/0@{before}" in told
    assert work.ends()[work.raw, 0] == before + 1


def test_a_broker_that_stops_answering_ends_the_work_and_what_was_done_is_known(capsys):
    delivery = {"flush_timeout_s": 2.0, "max_in_flight_bytes": 300}
    with Broker() as broker:
        settings = Settings(beamline="frozen", kafka={"bootstrap": broker.bootstrap}, delivery=delivery)
        ensure_topics(settings)
        work = Desk(settings, capsys)

        def letters():
            yield 1, work.letter(1, bytes(300))
            broker.freeze_node(0)
            yield 2, work.letter(2, bytes(300))

        told = []
        with Poster(settings) as poster, pytest.raises(DeliveryError, match="did not answer within 2 s"):
            for posted in poster.post(letters()):
                told.append((posted.item, str(posted.place)))
        broker.thaw_node(0)
        assert told == [(1, f"{work.dead}/0@0")]
        assert work.listed()[0]["offset"] == 1


def test_a_missing_right_is_one_sentence_and_exit_code_2(capsys, monkeypatch, tmp_path):
    with Broker(tls=True) as broker:
        admin_table = broker.kafka_table("admin")
        settings = Settings(beamline="guarded", kafka=admin_table)
        ensure_topics(settings)
        raw, dead = settings.topic("raw"), settings.topic("deadletters")
        letter = Desk(settings, capsys).letter(1)
        producer = KafkaProducer(**client_options(settings.kafka))
        producer.send(dead, letter.value, key=letter.key, headers=list(letter.headers)).get(30)
        producer.close()
        broker.users.add("reader")
        path = tmp_path / "reader.toml"
        path.write_text(toml_settings(broker.kafka_table("reader"), "guarded"))

        def dlq(command, *arguments, code):
            with pytest.raises(SystemExit) as ended:
                main(["dlq", command, "--config", str(path), *arguments])
            captured = capsys.readouterr()
            assert ended.value.code == code, captured
            return captured.out + captured.err

        assert dead in dlq("list", code=2)
        broker.users.allow("reader", [Right("topic", dead, "read")])
        assert "letters: 1" in dlq("list", code=0)
        assert raw in dlq("reinject", "0@1", code=2)
        broker.users.allow("reader", [Right("topic", raw, "describe")])
        assert "would be written" in dlq("reinject", "0@1", "--dry-run", code=0)
        assert f"write to topic {raw}" in dlq("reinject", "0@1", code=2)
        assert f"write to topic {dead}" in dlq("purge", "0@1", "--yes", code=2)
        broker.users.allow("reader", [Right("topic", raw, "write"), Right("topic", dead, "write")])
        assert "letters reinjected: 1" in dlq("reinject", "0@1", code=0)
        told = dlq("purge", "0@1", "--yes", code=0)
        assert "frees nothing" in told and "letters settled: 1" in told
        assert "letters: 0" in dlq("list", code=0)
