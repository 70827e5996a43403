from __future__ import annotations

import numpy as np

from streamproc.transports.archive.repair import as_array, interleave, repaired


def merged(count=4, first=1):
    start = ("start", {"uid": "r", "time": 0.0})
    described = ("descriptor", {"uid": "d", "name": "primary", "data_keys": {}})
    events = [
        ("event", {"descriptor": "d", "seq_num": n, "uid": f"e{n}"}) for n in range(first, first + count)
    ]
    resource = ("stream_resource", {"uid": "s", "data_key": "det"})
    datum = {
        "uid": "m", "stream_resource": "s", "descriptor": "d", "indices": {"start": 0, "stop": count},
        "seq_nums": {"start": first, "stop": first + count},
    }  # fmt: skip
    return [start, described, *events, resource, ("stream_datum", datum), ("stop", {"uid": "x"})]


def test_a_merged_stream_datum_comes_before_each_event():
    pairs = merged()
    notes = []
    done = list(interleave(pairs, pairs, notes.append))
    names = [n for n, _ in done]
    assert names == ["start", "descriptor", "stream_resource", *["stream_datum", "event"] * 4, "stop"]
    pieces = [d for n, d in done if n == "stream_datum"]
    assert [p["seq_nums"] for p in pieces] == [{"start": n, "stop": n + 1} for n in range(1, 5)]
    assert [p["indices"]["start"] for p in pieces] == [0, 1, 2, 3]
    assert len({p["uid"] for p in pieces}) == 4 and notes


def test_without_events_it_stays_whole_and_comes_before_the_stop():
    pairs = [p for p in merged() if p[0] != "event"]
    done = list(interleave(pairs, pairs, lambda _: None))
    assert [n for n, _ in done] == ["start", "descriptor", "stream_resource", "stream_datum", "stop"]
    assert done[3][1]["seq_nums"] == {"start": 1, "stop": 5}


def test_an_empty_stop_is_no_stop():
    notes = []
    assert list(repaired([("start", {"uid": "r"}), ("stop", {})], notes.append)) == [("start", {"uid": "r"})]
    assert "never finished" in notes[0]


def test_lists_become_the_declared_arrays_only_where_no_value_changes():
    assert as_array([1.0, 2.0], {"dtype_numpy": "<u2"}).dtype == np.uint16
    assert as_array([1.5, 2.0], {"dtype_numpy": "<u2"}).dtype == np.float64
    assert as_array([70000], {"dtype_numpy": "<u2"}).dtype == np.int64
    assert as_array(["a", "b"], {}) == ["a", "b"]
    assert as_array([[1], [2, 3]], {}) == [[1], [2, 3]]
