"""Two services, one group, a real broker: killed, frozen or joined in the middle, each document comes once."""

from __future__ import annotations

import itertools
import random
import signal
import threading
import time
from collections import Counter

import pytest

from streamproc.results import deduplicate
from streamproc.testing.makers import inline_run, stream_run
from tests.integration.freezing import freeze
from tests.integration.stage import frames, until

pytestmark = pytest.mark.broker


def assert_each_once(results, runs, count):
    uids = Counter(doc["uid"] for _, doc in results)
    assert [uid for uid, n in uids.items() if n > 1] == []
    stops = [doc for name, doc in results if name == "stop"]
    ledgers = [s["ledger"]["primary"] for s in stops]
    assert [(x["done"], x["failed"]) for x in ledgers] == [(count, 0)] * runs
    means = [doc["data"]["mean"] for name, doc in results if name == "event" and "mean" in doc["data"]]
    assert sorted(means) == sorted(float(n + 1) for n in range(count) for _ in range(runs))
    sums = [doc["data"]["sum"] for name, doc in results if name == "event" and "sum" in doc["data"]]
    assert sums == [count * (count + 1) / 2] * runs


def feed(topics, runs):
    """Publish documents of several runs by turns, each in its partition, while a test does its work."""
    for step in itertools.zip_longest(*runs):
        for number, pair in enumerate(step):
            if pair is not None:
                topics.publish([pair], number % topics.partitions)
        time.sleep(0.02)


def test_killed_again_and_again_every_document_comes_once_and_no_run_is_read_again(stage, tmp_path):
    make_topics, instance = stage
    topics, choose = make_topics(1), random.Random(1)
    runs = [
        inline_run(frames(300), uid="inline"),
        stream_run(frames(300), tmp_path / "s.h5", uid="hdf5"),
    ]
    feeder = threading.Thread(target=feed, args=(topics, runs))
    one = instance(topics.settings, "one", pause_s=0.05)
    feeder.start()
    for _ in range(4):
        before = len(topics.results())
        until(lambda before=before: len(topics.results()) > before + 5)
        time.sleep(choose.uniform(0.0, 0.3))
        one.end(signal.SIGKILL)
        one.start()
    feeder.join()
    until(lambda: topics.stops() == 2)
    assert one.end() == 0
    assert_each_once(topics.results(), runs=2, count=300)
    assert not one.said("joined a run in the middle")
    left = {r.key.decode(): r.value for r in topics.read(topics.settings.state_topic("toy"))}
    assert all(key.startswith("%lane/") for key, value in left.items() if value is not None)


def test_a_service_frozen_past_its_session_is_fenced_and_nothing_comes_twice(stage):
    make_topics, instance = stage
    topics = make_topics(2)
    runs = [inline_run(frames(300), uid="zero"), inline_run(frames(300), uid="one")]
    one = instance(topics.settings, "a", pause_s=0.02)
    two = instance(topics.settings, "b", pause_s=0.02)
    until(lambda: one.said("partition taken over") and two.said("partition taken over"))
    feeder = threading.Thread(target=feed, args=(topics, runs))
    feeder.start()
    until(lambda: len(topics.results()) > 20)
    freeze(one.process)
    taken = two.log.read_text().count("partition taken over")
    until(lambda: two.log.read_text().count("partition taken over") > taken)
    before = len(topics.results())
    until(lambda: len(topics.results()) > before + 10)
    one.process.send_signal(signal.SIGCONT)
    feeder.join()
    until(lambda: topics.stops() == 2 or one.process.poll() is not None)
    if one.process.poll() is not None:
        assert one.process.returncode == 3, one.log.read_text()[-2000:]
        one.start()
    until(lambda: topics.stops() == 2)
    assert_each_once(topics.results(), runs=2, count=300)


def test_partitions_move_to_a_service_that_joins_and_back_without_loss_or_repeat(stage):
    make_topics, instance = stage
    topics = make_topics(3)
    runs = [inline_run(frames(500), uid=f"run-{n}") for n in range(3)]
    one = instance(topics.settings, "a", pause_s=0.01)
    feeder = threading.Thread(target=feed, args=(topics, runs))
    feeder.start()
    until(lambda: len(topics.results()) > 20)
    two = instance(topics.settings, "b", pause_s=0.01)
    until(lambda: two.said("partition taken over"))
    before = len(topics.results())
    until(lambda: len(topics.results()) > before + 30 or topics.stops() == 3)
    assert two.end() == 0
    feeder.join()
    until(lambda: topics.stops() == 3)
    assert one.end() == 0
    assert one.said("partition left to its new owner")
    assert_each_once(topics.results(), runs=3, count=500)


def test_at_least_once_repeats_only_identical_documents_and_loses_none(stage):
    make_topics, instance = stage
    topics, choose = make_topics(1), random.Random(2)
    one = instance(topics.settings, "one", delivery="at-least-once", pause_s=0.05)
    feeder = threading.Thread(target=feed, args=(topics, [inline_run(frames(300), uid="r")]))
    feeder.start()
    for _ in range(3):
        before = len(topics.results())
        until(lambda before=before: len(topics.results()) > before + 5)
        time.sleep(choose.uniform(0.0, 0.3))
        one.end(signal.SIGKILL)
        one.start()
    feeder.join()
    until(lambda: topics.stops() >= 1)
    assert one.end() == 0
    conflicts = []
    once = list(deduplicate(topics.results(), on_conflict=lambda n, d: conflicts.append(d["uid"])))
    assert conflicts == []
    assert_each_once(once, runs=1, count=300)
