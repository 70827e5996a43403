"""Source and sink on the real Apache Kafka."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import replace

import numpy as np
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer

from streamproc.documents import BadMessage, Document, Position
from streamproc.errors import ConfigurationError, DeliveryError
from streamproc.settings import DeliverySettings, KafkaSettings, RunsSettings
from streamproc.testing.hostile import hostile_messages
from streamproc.transports.codec import encode
from streamproc.transports.deadletters import dead_letter
from streamproc.transports.kafka import KafkaSink, KafkaSource, check_topics, ensure_topics
from streamproc.transports.ports import Outgoing, Stage
from tests.integration.publishing import ordered_producer

pytestmark = pytest.mark.broker
DEADLINE_S = 30.0


def poll_until(source, count, deadline_s=DEADLINE_S):
    """Poll until ``count`` messages came."""
    got, end = [], time.monotonic() + deadline_s
    while len(got) < count and time.monotonic() < end:
        got += source.poll(0.2)
    assert len(got) >= count, f"{len(got)} of {count} messages in {deadline_s} s"
    return got


def until(condition, deadline_s=DEADLINE_S):
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, "not within the deadline"
        time.sleep(0.02)


@pytest.fixture
def opened():
    """Closes sources and sinks at the end."""
    with contextlib.ExitStack() as stack:

        def keep(thing):
            stack.callback(thing.close)
            return thing

        yield keep


def publish(settings, documents, key=b"k", topic="raw", **producer):
    made = ordered_producer(settings.kafka.bootstrap, **producer)
    for i, message in enumerate(documents):
        value = message if isinstance(message, bytes) else encode(*message)
        own = key[i] if isinstance(key, list) else key
        made.send(settings.topic(topic), value, key=own)
    made.flush(timeout=30)
    made.close()


def source_of(settings, **changes):
    kafka = settings.kafka.model_copy(update=changes)
    return KafkaSource(kafka, settings.topic("raw"), settings.group("test"), settings.runs)


def events(n, size=0):
    return [("event", {"uid": f"e{i}", "seq_num": i, "data": {"a": bytes(size)}}) for i in range(n)]


def run_documents(uid, n_events=3, resource=False):
    """A small run; the resource comes without ``run_start``, as the schema allows."""
    made = [("start", {"uid": uid, "time": 1.0}), ("descriptor", {"uid": f"{uid}-d", "run_start": uid})]
    if resource:
        made.append(("stream_resource", {"uid": f"{uid}-r", "uri": "file://localhost/x.h5"}))
        made += [
            ("stream_datum", {"uid": f"{uid}-r/{i}", "stream_resource": f"{uid}-r", "descriptor": f"{uid}-d"})
            for i in range(n_events)
        ]
    else:
        made += [("event", {"uid": f"{uid}-e{i}", "descriptor": f"{uid}-d"}) for i in range(n_events)]
    return [*made, ("stop", {"uid": f"{uid}-s", "run_start": uid})]


def test_what_is_delivered_is_read_back_in_order_with_key_position_and_time(beamline, opened):
    settings = beamline()
    sink = opened(KafkaSink(settings.kafka, settings.delivery))
    begin = time.time()
    sink.deliver(
        [Outgoing(settings.topic("raw"), b"run", encode(*d), (("h", b"1"),)) for d in events(50)], {}
    )
    got = poll_until(opened(source_of(settings)), 50)
    assert [d.doc["seq_num"] for d in got] == list(range(50))
    assert [d.position.offset for d in got] == list(range(50))
    assert all(d.key == b"run" and d.name == "event" for d in got)
    assert all(abs(d.published_s - begin) < 60 for d in got)


def test_without_transactions_no_stage_is_published_before_the_one_before_is_there(beamline, opened):
    settings = beamline()
    large = 2 * settings.kafka.max_message_bytes
    kafka = settings.kafka.model_copy(update={"max_message_bytes": large})
    at_once = settings.delivery.model_copy(update={"max_in_flight_bytes": 2 * large})
    sink = opened(KafkaSink(kafka, at_once))
    raw = settings.topic("raw")
    parts = [Outgoing(raw, b"k", encode(*d)) for d in events(3)]
    refused = Outgoing(raw, b"k", bytes(large))  # by the broker, once it is there
    head = Outgoing(raw, b"k", encode(*events(4)[3]), stage=Stage.COUNTS)
    with pytest.raises(DeliveryError):
        sink.deliver([*parts, refused, head], {})
    sink.deliver([replace(parts[0], value=encode("event", {"uid": "last", "seq_num": 9}))], {})
    got = poll_until(opened(source_of(settings)), 4)
    assert [d.doc["seq_num"] for d in got] == [0, 1, 2, 9]


@pytest.mark.parametrize("codec", [None, "gzip", "snappy", "lz4", "zstd"])
def test_every_compression_a_facility_may_use_is_read(beamline, opened, codec):
    settings = beamline()
    publish(settings, events(20, size=1000), compression_type=codec)
    got = poll_until(opened(source_of(settings)), 20)
    assert [d.doc["seq_num"] for d in got] == list(range(20))


def test_a_frame_of_20_mb_travels_both_ways_and_is_a_view_on_its_message(beamline, opened):
    settings = beamline()
    frame = np.random.default_rng(0).integers(0, 2**16, (2560, 4096), dtype=np.uint16)
    sink = opened(KafkaSink(settings.kafka, settings.delivery))
    doc = {"uid": "e", "data": {"det": frame}}
    sink.deliver([Outgoing(settings.topic("raw"), b"k", encode("event", doc)) for _ in range(3)], {})
    for message in poll_until(opened(source_of(settings)), 3):
        assert np.array_equal(message.doc["data"]["det"], frame)
        assert np.shares_memory(message.doc["data"]["det"], np.frombuffer(message.raw, np.uint8))


def test_after_an_abrupt_end_the_group_goes_on_at_the_committed_offset(beamline, opened):
    settings = beamline()
    publish(settings, events(30))
    code = f"""
import os
from streamproc.settings import Settings
from streamproc.transports.kafka import KafkaSource, KafkaSink
settings = Settings(beamline={settings.beamline!r}, kafka={{"bootstrap": {settings.kafka.bootstrap!r},
    "session_timeout_s": 6.0, "max_poll_messages": 10, "group_instance_id": "one"}})
source = KafkaSource(settings.kafka, settings.topic("raw"), settings.group("test"))
sink = KafkaSink(settings.kafka, settings.delivery, source)
got = []
while len(got) < 20:
    got += source.poll(0.2)
sink.deliver([], {{(settings.topic("raw"), 0): 10}})
while source._pending:  # a commit waits while the group is joined once more, as it may be just after a start
    source.poll(0.2)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=60)
    assert done.returncode == -signal.SIGKILL
    begin = time.monotonic()
    source = opened(source_of(settings, group_instance_id="one"))
    got = poll_until(source, 20)
    assert [d.doc["seq_num"] for d in got] == list(range(10, 30))
    # Static membership: the successor need not wait until the session of the dead one has run out.
    assert time.monotonic() - begin < 5.5


def test_nothing_is_committed_unless_delivered(beamline, opened):
    settings = beamline()
    publish(settings, events(5))
    first = source_of(settings)
    poll_until(first, 5)
    first.close()
    assert len(poll_until(opened(source_of(settings)), 5)) == 5


def test_from_the_end_when_so_configured(beamline, opened):
    settings = beamline()
    publish(settings, events(5))
    source = opened(source_of(settings, from_beginning=False))
    until(lambda: source.poll(0.1) == [] and source.assigned() and source.lag() == 0)
    publish(settings, [("event", {"uid": "new"})])
    assert [d.doc["uid"] for d in poll_until(source, 1)] == ["new"]


def test_lag_counts_what_waits_and_is_never_zero_before_reading(beamline, opened):
    settings = beamline()
    publish(settings, events(30))
    source = opened(source_of(settings, max_poll_messages=10))
    assert source.lag() > 0
    got = list(poll_until(source, 10))
    assert source.lag() == 20
    while len(got) < 30:
        got += source.poll(0.2)
    assert source.lag() == 0


def test_lag_is_zero_after_a_transaction_was_read_to_its_end(beamline, opened):
    settings = beamline()
    producer = KafkaProducer(
        bootstrap_servers=settings.kafka.bootstrap, transactional_id=settings.beamline, retry_backoff_ms=5
    )
    producer.init_transactions()
    for end in (producer.abort_transaction, producer.commit_transaction):
        producer.begin_transaction()
        for d in events(3):
            producer.send(settings.topic("raw"), encode(*d), key=end.__name__.encode())
        producer.flush(timeout=10)
        end()
    producer.close(timeout=5)
    source = opened(source_of(settings))
    got = poll_until(source, 3)
    assert {d.key for d in got} == {b"commit_transaction"}
    until(lambda: source.poll(0.05) == [] and source.lag() == 0)


def test_a_paused_source_gives_nothing_and_goes_on_where_it_was(beamline, opened):
    settings = beamline()
    publish(settings, events(10))
    source = opened(source_of(settings, max_poll_messages=4))
    got = list(poll_until(source, 4))
    source.pause()
    assert source.poll(0.3) == []
    publish(settings, events(5))
    assert source.poll(0.3) == []
    source.resume()
    got += poll_until(source, 15 - len(got))
    assert [d.position.offset for d in got] == list(range(15))


class Polling:
    """Polls a source in a thread of its own, as another process would; keeps what came."""

    def __init__(self, source):
        self.source, self.got, self._stop = source, [], False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._stop:
            self.got += self.source.poll(0.05)

    def close(self):
        self._stop = True
        self._thread.join()


@pytest.mark.parametrize("poll_s", [0.05, 0.003], ids=["patient polls", "polls of a busy service"])
def test_a_partition_that_goes_to_a_second_member_is_told_and_nothing_is_lost(beamline, opened, poll_s):
    settings = beamline(partitions=2)
    first = opened(source_of(settings))
    until(lambda: first.poll(poll_s) == [] and len(first.assigned()) == 2)
    second = opened(source_of(settings))
    polling = opened(Polling(second))
    until(lambda: first.poll(poll_s) == [] and len(first.assigned()) == len(second.assigned()) == 1)
    revoked = first.revoked()
    assert revoked == second.assigned() and first.revoked() == []
    publish(settings, events(40), key=[str(i).encode() for i in range(40)])
    got = []
    end = time.monotonic() + DEADLINE_S
    while len(got) + len(polling.got) < 40 and time.monotonic() < end:
        got += first.poll(poll_s)
    polling.close()
    assert sorted(d.doc["seq_num"] for d in got + polling.got) == list(range(40))
    # The first still thinks of an offset of the partition it lost: that is left to the new owner.
    first.commit({revoked[0]: 1, first.assigned()[0]: 1}, 5.0)
    second.commit({revoked[0]: 2}, 5.0)
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap)
    offsets = admin.list_group_offsets(settings.group("test"))[settings.group("test")]
    admin.close()
    assert {(p.topic, p.partition): o.offset for p, o in offsets.items()} == {
        revoked[0]: 2,
        first.assigned()[0]: 1,
    }


def test_commits_during_a_rebalance_are_kept_and_stored_later(beamline, opened):
    settings = beamline(partitions=2)
    publish(settings, events(400), key=[str(i).encode() for i in range(400)])
    first = opened(source_of(settings, max_poll_messages=1))
    until(lambda: first.poll(0.05) and len(first.assigned()) == 2)
    second = opened(source_of(settings))
    polling = opened(Polling(second))
    done = {}

    def turn():
        done.update({d.position.topic_partition: d.position.offset + 1 for d in first.poll(0.02)})
        first.commit(done, 5.0)
        return len(first.assigned()) == len(second.assigned()) == 1

    until(turn)
    (mine,) = first.assigned()
    until(lambda: turn() and done.get(mine, 0) >= 20)
    first.close()
    resumed = opened(source_of(settings))
    got = []

    def taken():  # by the resumed one, or by the other, which may be quicker and commits nothing
        got.extend(resumed.poll(0.1))
        return [d.position.offset for d in (*got, *polling.got) if d.position.topic_partition == mine]

    until(taken)
    assert taken()[0] == done[mine]


def test_messages_that_do_not_decode_come_with_reason_and_bytes_and_the_rest_is_read(beamline, opened):
    settings = beamline()
    publish(settings, [*events(2), b"\xc1garbage", b"", *events(2)])
    source = opened(source_of(settings))
    got = poll_until(source, 6)
    assert [type(m) for m in got] == [Document, Document, BadMessage, BadMessage, Document, Document]
    assert got[2].raw == b"\xc1garbage" and got[2].reason and got[2].position.offset == 2


def test_an_oversized_message_is_refused_with_its_beginning_and_does_not_block(beamline, opened):
    settings = beamline()
    publish(settings, [*events(1), ("event", {"a": bytes(3_000_000)}), *events(1)])
    got = poll_until(opened(source_of(settings, max_message_bytes=2_000_000)), 3)
    assert isinstance(got[1], BadMessage) and "3000" in got[1].reason and len(got[1].raw) == 1024 * 1024
    assert isinstance(got[2], Document)


def test_a_dead_letter_keeps_the_bytes_and_says_why_and_where(beamline, opened):
    settings = beamline()
    bad = BadMessage(Position("raw", 2, 7), "not msgpack", None, b"\xc1", 12.5)
    sink = opened(KafkaSink(settings.kafka, settings.delivery))
    sink.deliver([dead_letter(settings.topic("deadletters"), bad, bad.reason, "phase-map", 99.0)], {})
    consumer = KafkaConsumer(
        settings.topic("deadletters"),
        bootstrap_servers=settings.kafka.bootstrap,
        auto_offset_reset="earliest",
    )
    record = next(iter(consumer))
    consumer.close()
    assert record.value == b"\xc1" and record.key == b"raw/2@7"
    assert dict(record.headers) == {
        "reason": b"not msgpack",
        "topic": b"raw",
        "partition": b"2",
        "offset": b"7",
        "analysis": b"phase-map",
        "kind": b"refused",
        "first_s": b"99.000",
        "last_s": b"99.000",
    }


@pytest.mark.parametrize("resource", [False, True], ids=["events", "stream resources"])
@pytest.mark.parametrize("known", [True, False], ids=["run known", "run unknown"])
@pytest.mark.parametrize("apart", [0, 500], ids=["near", "chunks apart"])
def test_rewinding_finds_one_run_among_interleaved_ones_with_one_key(
    beamline, opened, resource, known, apart
):
    settings = beamline()
    a, b = run_documents("A", 4, resource), run_documents("B", 4, resource)
    mixed = [d for pair in zip(a[:-1], b[:-1], strict=True) for d in pair]
    filler = [("event", {"uid": f"f{i}", "descriptor": "other"}) for i in range(apart)]
    publish(settings, [*filler, *mixed[:4], *filler, *mixed[4:], a[-1], b[-1]])
    source = opened(source_of(settings))
    got = poll_until(source, len(filler) * 2 + len(mixed) + 2)
    joined_at = next(d for d in got if d.doc.get("uid") in ("A-e3", "A-r/3"))
    found = source.rewind_to_start("A" if known else None, joined_at)
    expected = [d for d in got if d.position < joined_at.position and d.doc["uid"].startswith("A")]
    assert [(d.name, d.doc) for d in found] == [(d.name, d.doc) for d in expected]
    assert [d.position for d in found] == [d.position for d in expected]
    assert source.poll(0.1) == [] and source.lag() == 0


def test_rewinding_says_nothing_when_the_start_is_beyond_the_bounds(beamline, opened):
    settings = beamline(runs={"rewind_max_messages": 100})
    filler = [("event", {"uid": f"f{i}", "descriptor": "other", "data": bytes(1000)}) for i in range(150)]
    publish(settings, [*run_documents("A", 1)[:-1], *filler, ("event", {"uid": "l", "descriptor": "A-d"})])
    source = opened(source_of(settings))
    last = poll_until(source, 154)[-1]
    assert source.rewind_to_start("A", last) == []
    for runs, count in [
        (RunsSettings(), 3),
        (RunsSettings(rewind_max_bytes=50_000), 0),
    ]:
        wide = opened(KafkaSource(settings.kafka, settings.topic("raw"), str(uuid.uuid4()), runs))
        assert len(wide.rewind_to_start("A", last)) == count
        assert len(wide.rewind_to_start("nonsense", last)) == 0


def test_rewinding_from_the_first_message_gives_nothing(beamline, opened):
    settings = beamline()
    publish(settings, [("event", {"uid": "l", "descriptor": "A-d"})])
    source = opened(source_of(settings))
    (only,) = poll_until(source, 1)
    assert source.rewind_to_start(None, only) == []


# -- start-up failures: one sentence, in time -----------------------------------------------------------


def fails_within(seconds, make):
    begin = time.monotonic()
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert time.monotonic() - begin < seconds
    assert "\n" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no.such.host.invalid:9092"])
def test_no_broker_is_one_sentence_within_the_deadline(address):
    kafka = KafkaSettings(bootstrap=address, connect_timeout_s=2)
    for make in (
        lambda: KafkaSource(kafka, "t", "g"),
        lambda: KafkaSink(kafka, DeliverySettings()),
    ):
        said = fails_within(4, make)
        assert address in said and "streamproc broker" in said


def test_an_unknown_topic_is_one_sentence_and_is_not_created(kafka):
    settings = KafkaSettings(bootstrap=kafka, connect_timeout_s=5)
    said = fails_within(8, lambda: KafkaSource(settings, "nosuch.bluesky.runengine.documents", "g"))
    assert "nosuch.bluesky.runengine.documents does not exist" in said and "topics create" in said
    fails_within(8, lambda: KafkaSource(settings, "nosuch.bluesky.runengine.documents", "g"))


@pytest.mark.parametrize("address", ["localhost", "", "host:port", ":9092"])
def test_a_malformed_address_is_told_at_once(address):
    assert "kafka.bootstrap" in fails_within(
        1, lambda: KafkaSource(KafkaSettings(bootstrap=address), "t", "g")
    )


def test_encryption_against_a_plain_broker_is_told(kafka):
    settings = KafkaSettings(bootstrap=kafka, security_protocol="SSL", connect_timeout_s=3)
    assert "security_protocol" in fails_within(5, lambda: KafkaSource(settings, "t", "g"))


def test_incomplete_log_in_settings_and_missing_files_are_told(tmp_path):
    sasl = KafkaSettings(security_protocol="SASL_SSL", username="me")
    assert "STREAMPROC_KAFKA__PASSWORD" in fails_within(1, lambda: KafkaSource(sasl, "t", "g"))
    tls = KafkaSettings(security_protocol="SSL", ssl_cafile=tmp_path / "none.pem")
    assert "none.pem" in fails_within(1, lambda: KafkaSource(tls, "t", "g"))


# -- topics --------------------------------------------------------------------------------------------


def test_topics_are_made_once_and_reported_as_they_are(beamline, kafka):
    settings = beamline(partitions=3)
    again = ensure_topics(settings)
    assert [(r.role, r.partitions, r.created) for r in again] == [
        ("raw", 3, False),
        ("results", 3, False),
        ("deadletters", 1, False),
    ]
    larger = settings.model_copy(
        update={"kafka": settings.kafka.model_copy(update={"max_message_bytes": 100_000_000})}
    )
    assert any("max.message.bytes" in p for r in check_topics(larger) for p in r.problems)
    missing = settings.model_copy(update={"beamline": "nothing-there"})
    assert [r.partitions for r in check_topics(missing)] == [0, 0, 0]
    assert [r.partitions for r in check_topics(missing)] == [0, 0, 0], "checking must not create"


def test_the_hostile_corpus_is_read_through_and_good_documents_between_come_out(beamline, opened, tmp_path):
    settings = beamline()
    canary = tmp_path / "executed"
    corpus = list(hostile_messages(canary))
    messages = [m for i, h in enumerate(corpus) for m in (encode("event", {"good": i}), h.raw)]
    publish(settings, messages)
    got = poll_until(opened(source_of(settings)), len(messages), 60)
    assert [m.doc["good"] for m in got[::2]] == list(range(len(corpus)))
    for sent, message in zip(corpus, got[1::2], strict=True):
        if sent.expectation == "undecodable":
            assert isinstance(message, BadMessage) and message.reason, sent.label
            assert message.raw == sent.raw[: len(message.raw)]
    assert not canary.exists()
