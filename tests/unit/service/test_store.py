"""What is stored: each part once, arrays by content, everything withdrawn at the end."""

from __future__ import annotations

import numpy as np
import pytest

from streamproc.runs.state import pack, unpack
from streamproc.service.records import Record
from streamproc.service.store import HEAD, LANE, LaneStore
from streamproc.transports.codec import decode, encode
from streamproc.transports.plain import Shelf, from_bytes, restore_shelved, to_bytes
from streamproc.transports.ports import Stage


def record(key, token, value, listed=False):
    return Record(key, token, lambda: value, listed)


def deliver(store, **owners):
    """Have the lane's head and the parts of some owners stored; returns the messages of the latter."""
    changes = [store.changes(LANE, [record(HEAD, None, "here")])]
    changes += [store.changes(owner, records) for owner, records in owners.items()]
    for change in changes:
        store.accept(change)
    return [message for change in changes for message in change.messages]


def write(store, *records):
    """Have the parts of a run stored; returns its messages."""
    return {key: value for _, key, value in deliver(store, run=records) if key != f"{LANE}/{HEAD}"}


def kept(stored, messages):
    """Add messages to what is stored, as a compacted topic keeps them."""
    stored = stored | {key: value for _, key, value in messages}
    return {key: value for key, value in stored.items() if value is not None}


def test_a_part_that_does_not_change_is_written_once_and_withdrawn_when_it_is_not_needed():
    store = LaneStore(10**6)
    changing, fixed = record("", None, {"n": 1}), record("document/a", True, {"x": 1})
    assert set(write(store, changing, fixed)) == {"run", "run/document/a"}
    assert set(write(store, changing, fixed)) == {"run/second/"}
    assert set(write(store, changing, fixed)) == {"run"}
    without = write(store, changing)
    assert set(without) == {"run/second/", "run/document/a", "run/second/document/a"}
    assert without["run/document/a"] is None
    assert write(store) == {"run": None, "run/second/": None}
    assert store.owners == [LANE]


def test_what_was_not_accepted_is_written_again():
    store = LaneStore(10**6)
    fixed = record("document/a", True, {"x": 1})
    first = store.changes("run", [fixed])
    assert store.changes("run", [fixed]).messages == first.messages
    store.accept(first)
    assert store.changes("run", [fixed]).messages == []


def test_a_large_array_is_stored_once_however_many_parts_and_commits_refer_to_it():
    image = np.arange(40_000, dtype=np.uint16)
    store = LaneStore(10**6)
    parts = [record("", None, {"dark": pack(image)}), record("reading/1", 5, {"dark": pack(image)})]
    messages = deliver(store, run=parts)
    first = {key: value for _, key, value in messages}
    (array,) = [k for k in first if k.startswith("run/array/")]
    assert len(first["run"]) + len(first["run/reading/1"]) < 500
    assert set(write(store, *parts)) == {"run/second/"}
    assert write(store, record("", None, {"dark": None}))[array] is None

    again = LaneStore(10**6)
    values = again.restore(kept({}, messages))["run"]
    assert np.array_equal(unpack(values[""]["dark"]), image)
    assert np.array_equal(unpack(values["reading/1"]["dark"]), image)
    assert array not in write(again, *parts)


def test_runs_are_told_apart_whatever_their_uids_are():
    store = LaneStore(10**6)
    uids = ["a/b", "a", "%lane/", "", "ä b", "a/document/x", "second/", "a/second/"]
    parts = {
        uid: [record("", None, n), record("document/start/x/y", True, n)] for n, uid in enumerate(uids, 1)
    }
    for _ in range(2):
        stored = kept({}, deliver(store, **parts))
    values = LaneStore(10).restore(stored)
    assert {uid: v[""] for uid, v in values.items() if uid != LANE} == {u: n for n, u in enumerate(uids, 1)}
    assert values[LANE] == {HEAD: "here"}


def test_a_part_that_no_message_can_hold_is_written_in_pieces_and_only_those_that_changed():
    store = LaneStore(20_000)
    value = {"texts": [str(n) * 50 for n in range(1000)]}
    messages = deliver(store, run=[record("", None, value)])
    assert len(messages) > 4
    assert all(len(message) <= 20_000 for _, _, message in messages)
    value["texts"].append("one more")
    later = deliver(store, run=[record("", None, value)])
    assert len([key for _, key, message in later if message is not None]) < len(messages) - 2
    stored = kept(kept({}, messages), later)
    again = LaneStore(20_000)
    assert again.restore(stored)["run"] == {"": value}
    assert kept(stored, deliver(again, run=[])).keys() == {f"{LANE}/{HEAD}"}


def test_what_is_newer_than_the_head_does_not_count_and_is_withdrawn():
    store = LaneStore(10**6)
    one = [record("", None, 1), record("document/a", True, "a"), record("reading/1", 5, "r", listed=True)]
    stored = kept({}, deliver(store, run=one, old=[record("", None, "old")]))
    changes = [
        store.changes(LANE, [record(HEAD, None, "there")]),
        store.changes("run", [record("", None, 2), record("document/b", True, "b")]),
        store.changes("new", [record("", None, "new")]),
        store.changes("old", []),
    ]
    torn = [m for change in changes for m in change.messages if m[0] is Stage.SAID]
    assert {key for _, key, _ in torn} == {
        "run/second/", "run/document/b", "run/second/document/a", "new", "old/second/",
    }  # fmt: skip
    again = LaneStore(10**6)
    stored = kept(stored, torn)
    assert again.restore(stored) == {
        LANE: {HEAD: "here"}, "run": {"": 1, "document/a": "a", "reading/1": "r"}, "old": {"": "old"},
    }  # fmt: skip
    stored = kept(stored, deliver(again, run=[record("", None, 3), record("document/a", True, "a")]))
    last = LaneStore(10**6)
    assert last.restore(stored) == {
        LANE: {HEAD: "here"}, "run": {"": 3, "document/a": "a"}, "old": {"": "old"},
    }  # fmt: skip
    assert not any(key.startswith("new") or "document/b" in key for key in stored)


def test_what_ends_has_ended_with_the_head_though_no_tombstone_came():
    store = LaneStore(10**6)
    parts = [record("", None, 1), record("document/a", True, "a"), record("document/b", True, "b")]
    stored = kept({}, deliver(store, run=parts, other=parts))
    messages = deliver(store, run=parts[:2], other=[])
    stored = kept(stored, [m for m in messages if m[0] is not Stage.WITHDRAWN])
    again = LaneStore(10**6)
    assert again.restore(stored) == {LANE: {HEAD: "here"}, "run": {"": 1, "document/a": "a"}}
    stored = kept(stored, deliver(again))
    assert not any(key.startswith("other") or key.endswith("/b") for key in stored)


def test_what_was_stored_before_parts_had_numbers_counts_and_is_replaced():
    old = {
        f"{LANE}/{HEAD}": to_bytes({"offset": 3}), f"{LANE}/failed": to_bytes([["r", "s", [1, 2]]]),
        "run": to_bytes({"n": 1}), "run/document/a": to_bytes({"x": 1}),
    }  # fmt: skip
    store = LaneStore(10**6)
    values = {"": {"n": 1}, "document/a": {"x": 1}}
    assert store.restore(old) == {LANE: {HEAD: {"offset": 3}, "failed": [["r", "s", [1, 2]]]}, "run": values}
    stored = kept(old, deliver(store, run=[record("", None, {"n": 2})]))
    assert LaneStore(10**6).restore(stored) == {LANE: {HEAD: "here"}, "run": {"": {"n": 2}}}


def test_without_a_head_nothing_counts():
    store = LaneStore(10**6)
    changes = store.changes("run", [record("", None, 1)])
    again = LaneStore(10**6)
    stored = kept({}, changes.messages)
    assert again.restore(stored) == {}
    assert kept(stored, deliver(again)).keys() == {f"{LANE}/{HEAD}"}


def test_shelved_pieces_come_back_in_their_places():
    shelf, pieces = Shelf(), {}
    value = {"a": [b"x" * 5000, b"small", {"b": memoryview(b"y" * 5000)}], "c": "text", "d": None}
    raw = to_bytes(shelf.strip(value, pieces))
    assert len(raw) < 200 and len(pieces) == 2
    back = restore_shelved(from_bytes(raw), {k: bytes(v) for k, v in pieces.items()})
    assert back == {"a": [b"x" * 5000, b"small", {"b": b"y" * 5000}], "c": "text", "d": None}
    with pytest.raises(KeyError):
        restore_shelved(from_bytes(raw), {})


@pytest.mark.parametrize(
    "value",
    [1 + 2j, np.complex64(2j), 2**64 - 1, -(2**63), b"x", [None, True, 1.5], np.float32(1.5), np.bool_(True)],
)
def test_whatever_a_message_may_hold_can_be_stored(value):
    _, doc = decode(encode("start", {"uid": "u", "time": 1.0, "odd": value}))
    assert unpack(from_bytes(to_bytes(pack(doc)))) == doc
