"""A frame on which the process dies, under a supervisor that starts the service again each time."""

from __future__ import annotations

import time

import pytest

from streamproc.testing.makers import inline_run, stream_run
from tests.integration.stage import frames

pytestmark = pytest.mark.broker


@pytest.mark.parametrize("form", ["inline", "file"])
def test_a_frame_that_kills_is_named_and_the_other_runs_are_answered(stage, tmp_path, form):
    make_topics, instance = stage
    topics = make_topics(2)
    one = instance(topics.settings, "one", deadly=4.0)
    whole = inline_run if form == "inline" else lambda f, uid: stream_run(f, tmp_path / "deadly.h5", uid=uid)
    topics.publish(whole(frames(8), uid="deadly"), 0)
    topics.publish(inline_run(frames(3), uid="same partition"), 0)
    topics.publish(inline_run(frames(2), uid="another"), 1)
    lives, deadline_s = 1, time.monotonic() + 150
    while topics.stops() < 3:
        assert time.monotonic() < deadline_s, f"{topics.stops()} of 3 runs answered after {lives} lives"
        if one.process.poll() is not None:
            one.start()
            lives += 1
        time.sleep(0.1)
    assert one.end() == 0
    ledgers = [doc["ledger"]["primary"] for name, doc in topics.results() if name == "stop"]
    found = {ledger["expected"]: ledger for ledger in ledgers}
    assert {n: (of["done"], of["failed"]) for n, of in found.items()} == {8: (7, 1), 3: (3, 0), 2: (2, 0)}
    (failed,) = found[8]["failed_reasons"]
    assert failed["first_seq_nums"] == [4] and "this reading alone was in work" in failed["reason"]
    events = [doc for n, doc in topics.results() if n == "event" and "in_domain" in doc["data"]]
    assert len(events) == 12
    assert lives <= 7
