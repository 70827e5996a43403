"""What is stored: each part once, arrays by content, everything withdrawn at the end."""

from __future__ import annotations

import numpy as np
import pytest

from streamproc.runs.state import pack, unpack
from streamproc.service.records import Record
from streamproc.service.store import LANE, LaneStore, by_owner
from streamproc.transports.codec import decode, encode
from streamproc.transports.plain import Shelf, from_bytes, restore_shelved, to_bytes


def record(key, token, value):
    return Record(key, token, lambda: value)


def write(store, owner, *records):
    changes = store.changes(owner, records)
    store.accept(changes)
    return dict(changes.messages)


def test_a_part_that_does_not_change_is_written_once_and_withdrawn_when_it_is_not_needed():
    store = LaneStore(10**6)
    changing, fixed = record("", None, {"n": 1}), record("document/a", True, {"x": 1})
    assert set(write(store, "run", changing, fixed)) == {"run", "run/document/a"}
    assert set(write(store, "run", changing, fixed)) == {"run"}
    assert write(store, "run", changing)["run/document/a"] is None
    assert write(store, "run") == {"run": None}
    assert store.owners == []


def test_what_was_not_accepted_is_written_again():
    store = LaneStore(10**6)
    fixed = record("document/a", True, {"x": 1})
    first = store.changes("run", [fixed])
    assert dict(store.changes("run", [fixed]).messages) == dict(first.messages)
    store.accept(first)
    assert store.changes("run", [fixed]).messages == []


def test_a_large_array_is_stored_once_however_many_parts_and_commits_refer_to_it():
    image = np.arange(40_000, dtype=np.uint16)
    store = LaneStore(10**6)
    parts = [record("", None, {"dark": pack(image)}), record("reading/1", 5, {"dark": pack(image)})]
    first = write(store, "run", *parts)
    (array,) = [k for k in first if k.startswith("run/array/")]
    assert len(first["run"]) + len(first["run/reading/1"]) < 500
    assert set(write(store, "run", *parts)) == {"run"}
    assert write(store, "run", record("", None, {"dark": None}))[array] is None

    again = LaneStore(10**6)
    stored = by_owner({k: v for k, v in first.items() if v is not None})["run"]
    values = again.restore("run", stored)
    assert np.array_equal(unpack(values[""]["dark"]), image)
    assert np.array_equal(unpack(values["reading/1"]["dark"]), image)
    later = write(again, "run", *parts)
    assert array not in later


def test_runs_are_told_apart_whatever_their_uids_are():
    store = LaneStore(10**6)
    uids = ["a/b", "a", "%lane", "", "ä b", "a/document/x"]
    stored = {}
    for number, uid in enumerate(uids):
        stored |= write(store, uid, record("", None, number), record("document/start/x/y", True, number))
    stored |= write(store, LANE, record("position", None, "lane"))
    found = by_owner(stored)
    values = {uid: LaneStore(10).restore(uid, found[uid]) for uid in uids if uid != "%lane"}
    assert {uid: v[""] for uid, v in values.items()} == {u: n for n, u in enumerate(uids) if u != "%lane"}


def test_a_part_that_no_message_can_hold_is_written_in_pieces_and_only_those_that_changed():
    store = LaneStore(20_000)
    value = {"texts": [str(n) * 50 for n in range(1000)]}
    first = write(store, "run", record("", None, value))
    assert len(first) > 4
    assert all(len(message) <= 20_000 for message in first.values())
    value["texts"].append("one more")
    second = write(store, "run", record("", None, value))
    assert len([key for key, message in second.items() if message is not None]) < len(first) - 2
    stored = {k: v for k, v in (first | second).items() if v is not None}
    again = LaneStore(20_000)
    assert again.restore("run", by_owner(stored)["run"]) == {"": value}
    withdrawn = write(again, "run")
    assert set(withdrawn) == set(stored) and not any(withdrawn.values())


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
