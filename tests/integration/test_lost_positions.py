"""A topic that does not hold any more what a service was to read next: deleted messages, a topic made anew."""

from __future__ import annotations

import contextlib
import json
import signal
import time

import pytest
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import TopicAlreadyExistsError

from streamproc.testing.makers import inline_run
from tests.integration.freezing import freeze
from tests.integration.stage import frames, until

pytestmark = pytest.mark.broker


def events(topics):
    return sum(name == "event" for name, _ in topics.results())


def ledgers(topics):
    stops = [doc for name, doc in topics.results() if name == "stop"]
    return {doc["num_events"]["primary"]: (doc["ledger"]["primary"], doc["reason"]) for doc in stops}


def warned(instance, words):
    lines = [json.loads(line) for line in instance.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["level"] == "error" and words in line["event"]]


def admin_of(topics):
    return KafkaAdminClient(bootstrap_servers=topics.settings.kafka.bootstrap)


def make_anew(topics):
    raw, admin = topics.settings.topic("raw"), admin_of(topics)
    admin.delete_topics([raw])
    deadline_s = time.monotonic() + 30
    while raw in admin.list_topics() and time.monotonic() < deadline_s:
        time.sleep(0.2)
    time.sleep(1)
    with contextlib.suppress(TopicAlreadyExistsError):
        admin.create_topics([NewTopic(raw, topics.partitions, 1)])
    time.sleep(1)
    admin.close()


def begun(stage, count):
    """A service that has answered ``count`` readings of a run, all committed."""
    make_topics, instance = stage
    topics = make_topics(1)
    one = instance(topics.settings, "one")
    until(lambda: one.said("partition taken over"))
    run = inline_run(frames(20), uid="a")
    topics.publish(run[: 2 + count], 0)
    until(lambda: events(topics) == count)
    return topics, one, run


def test_messages_deleted_before_they_were_read_are_counted_and_named(stage):
    topics, one, run = begun(stage, 8)
    assert one.end() == 0
    topics.publish(run[10:14], 0)
    topics.publish(inline_run(frames(5), uid="lost as a whole"), 0)
    raw = topics.settings.topic("raw")
    first = len(topics.read(raw))
    admin_of(topics).delete_records({TopicPartition(raw, 0): first})
    topics.publish(run[14:], 0)
    topics.publish(inline_run(frames(6), uid="later"), 0)
    one.start()
    until(lambda: topics.stops() == 2)
    assert one.end() == 0
    found = ledgers(topics)
    cut, reason = found[16]
    assert (cut["expected"], cut["done"], cut["failed"]) == (20, 16, 4)
    assert cut["failed_reasons"][0]["first_seq_nums"] == [9, 10, 11, 12]
    assert f"{first - 10} messages (10 to {first - 1}) were deleted" in reason
    assert found[6][0]["done"] == 6 and found[6][1] == ""
    (line,) = warned(one, "were deleted from the topic before they were read")
    assert (line["position"], line["goes_on_at"]) == (10, first)
    one.start()  # said once, not at every start
    until(lambda: one.log.read_text().count('"ready"') == 3)
    assert one.end() == 0
    assert len(warned(one, "were deleted")) == 1


@pytest.mark.parametrize("more", [0, 30], ids=["shorter", "longer"])
def test_a_topic_made_anew_while_nobody_reads_is_read_from_its_beginning(stage, more):
    """Also where it already holds more messages than were read of the old one."""
    topics, one, run = begun(stage, 8)
    assert one.end() == 0
    make_anew(topics)
    topics.reopen()
    topics.publish(inline_run(frames(5 + more), uid="new"), 0)
    topics.publish(run[10:], 0)  # a scan that went on
    one.start()
    until(lambda: topics.stops() == 2)
    assert one.end() == 0
    found = ledgers(topics)
    assert found[5 + more][0]["done"] == 5 + more
    rest, reason = found[20]
    assert (rest["done"], rest["failed"]) == (20, 0)
    assert "made anew" in reason
    assert len(warned(one, "made anew")) == 1


def test_a_topic_made_anew_under_a_running_service_is_read_from_its_beginning(stage):
    topics, one, _ = begun(stage, 8)
    make_anew(topics)
    topics.reopen()
    topics.publish(inline_run(frames(5), uid="new"), 0)
    until(lambda: topics.stops() == 1)
    assert one.end() == 0
    assert ledgers(topics)[5][0]["done"] == 5
    assert len(warned(one, "made anew")) == 1


def test_messages_deleted_under_a_running_service_end_it_and_the_restart_names_them(stage):
    topics, one, run = begun(stage, 8)
    freeze(one.process)  # it falls behind
    time.sleep(2)  # the fetch that is under way ends without messages
    topics.publish(run[10:15], 0)
    raw = topics.settings.topic("raw")
    admin_of(topics).delete_records({TopicPartition(raw, 0): 15})
    topics.publish(run[15:], 0)
    one.process.send_signal(signal.SIGCONT)
    assert one.process.wait(60) == 1
    assert one.said("does not hold the position any more")
    one.start()
    until(lambda: topics.stops() == 1)
    assert one.end() == 0
    cut, reason = ledgers(topics)[15]
    assert (cut["expected"], cut["done"], cut["failed"]) == (20, 15, 5)
    assert "5 messages (10 to 14) were deleted" in reason


def test_what_comes_while_a_new_service_is_away_is_answered(stage):
    """It began at the topic's end and nothing came; that end is its position, not the one it finds later."""
    make_topics, instance = stage
    topics = make_topics(1)
    topics.publish(inline_run(frames(5), uid="before"), 0)
    one = instance(topics.settings, "one", from_beginning=False)
    until(lambda: one.said("partition taken over"))
    assert one.end() == 0
    topics.publish(inline_run(frames(6), uid="away"), 0)
    one.start()
    until(lambda: topics.stops() == 1)
    assert one.end() == 0
    assert ledgers(topics)[6][0]["done"] == 6


def test_partitions_added_under_a_running_service_are_read_from_their_beginning(stage):
    """Also by a service that otherwise begins at the end; its state topic grows with them."""
    make_topics, instance = stage
    topics = make_topics(1)
    one = instance(topics.settings, "one", from_beginning=False)
    until(lambda: one.said("partition taken over"))
    admin = admin_of(topics)
    admin.create_partitions({topics.settings.topic("raw"): 3})
    admin.close()
    topics.reopen()
    topics.publish(inline_run(frames(6), uid="added"), 2)
    topics.publish(inline_run(frames(5), uid="as ever"), 0)
    until(lambda: topics.stops() == 2)
    assert one.end() == 0
    assert {count: ledger["done"] for count, (ledger, _) in ledgers(topics).items()} == {5: 5, 6: 6}


def test_a_state_topic_that_became_too_small_while_nobody_was_there_grows_at_the_start(stage):
    topics, one, run = begun(stage, 8)
    assert one.end() == 0
    admin = admin_of(topics)
    admin.create_partitions({topics.settings.topic("raw"): 2})
    admin.close()
    topics.reopen()
    topics.publish(inline_run(frames(6), uid="added"), 1)
    topics.publish(run[10:], 0)
    one.start()
    until(lambda: topics.stops() == 2)
    assert one.end() == 0
    assert {count: ledger["done"] for count, (ledger, _) in ledgers(topics).items()} == {6: 6, 20: 20}
