from __future__ import annotations

import pytest

from streamproc.errors import ConfigurationError
from streamproc.transports.archive.ports import Query, RunRef
from streamproc.transports.archive.select import select


def ref(uid, time_s, **start):
    return RunRef(uid, {"uid": uid, "time": time_s, **start}, None, "here")


RUNS = [
    ref("aaaaaa-2", 20.0, scan_id=7, sample={"name": "LaB6"}),
    ref("aaaaaa-1", 10.0, scan_id=7, plan_name="scan"),
    ref("bbbbbb", 30.0, scan_id=8, dry=True),
    ref("result", 40.0, scan_id=8, streamproc={"analysis": "x"}),
]


@pytest.mark.parametrize(
    ("query", "uids"),
    [
        (Query(), ["aaaaaa-1", "aaaaaa-2", "bbbbbb"]),
        (Query(("-1",)), ["bbbbbb"]),
        (Query(("-3", "8")), ["aaaaaa-1", "bbbbbb"]),
        (Query(("7",)), ["aaaaaa-2"]),
        (Query(("aaaaaa-1",)), ["aaaaaa-1"]),
        (Query(("bbbbbb",)), ["bbbbbb"]),
        (Query(since_s=15.0, until_s=25.0), ["aaaaaa-2"]),
        (Query(search=(("sample.name", "LaB6"),)), ["aaaaaa-2"]),
        (Query(search=(("dry", "true"), ("scan_id", "8"))), ["bbbbbb"]),
        (Query(results=True), ["result"]),
    ],
)
def test_runs_are_found_by_what_people_call_them(query, uids):
    assert [r.uid for r in select(RUNS, query, "here")] == uids


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (Query(("aaaaaa",)), "may be any of aaaaaa-1, aaaaaa-2"),
        (Query(("aaa",)), "no run 'aaa'"),
        (Query(("-4",)), "no run '-4'"),
        (Query(("99",)), "the newest: bbbbbb"),
        (Query(search=(("x", "y"),)), "no run fits"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(query, words):
    with pytest.raises(ConfigurationError, match=words):
        select(RUNS, query, "here")
