"""How far a run is, told from the documents alone."""

from __future__ import annotations

import pytest

from streamproc.audit.book import ResultBook
from streamproc.audit.findings import Findings
from streamproc.audit.lookup import find_run
from streamproc.audit.published import ResultIndex
from streamproc.audit.raw import RawBook
from streamproc.audit.status import run_status
from streamproc.cli.status import status_lines
from streamproc.documents import Position
from streamproc.errors import ConfigurationError
from streamproc.testing.makers import inline_run
from streamproc.testing.memory import documents
from streamproc.transports.letters import Letter


def status_of(made, letters=(), raw=None, uid="run-inline"):
    findings = Findings()
    book = ResultBook(findings, ResultIndex(), {uid})
    for message in made.results():
        book.feed(message)
    raw_book = RawBook(book, findings, {uid})
    for message in made.raw if raw is None else raw:
        raw_book.feed(message)
    raw_book.finish()
    return run_status(uid, raw_book.runs.get(uid), list(book.runs.values()), letters)


def text(status):
    return "\n".join(status_lines(status))


def letter(seq_nums, run_uid="run-inline", kind="frame"):
    return Letter(
        place=Position("dead", 0, 1), offsets=(1,), key=b"raw/0@4", origin=Position("raw", 0, 4),
        message_key=None, kind=kind, reason="no such row", analyses=("toy",), first_s=1.0, last_s=2.0,
        run_uid=run_uid, stream="primary", seq_nums=seq_nums, size=10, written_s=1.0,
    )  # fmt: skip


def test_an_ended_run_says_what_became_of_every_reading(topics, toy):
    status = status_of(topics(toy=toy(fault=lambda f: f.seq_num == 3)))
    assert (status.state, status.facts["plan_name"], status.facts["scan_id"]) == ("success", "scan", 1)
    assert status.streams["primary"] == {"seen": 7, "announced": 7, "newest_s": 1.7e9 + 7}
    (analysis,) = status.analyses
    assert (analysis.expected, analysis.done, analysis.failed, analysis.dropped) == (7, 6, 1, 0)
    assert (analysis.waiting, analysis.missing, analysis.state, analysis.in_domain) == (0, 0, "fail", 6)
    assert analysis.models == {"toy:1": 6}
    assert "failed 1: analysis failed: ValueError: cannot digest 3 (seq_num 3)" in text(status)


def test_an_open_run_says_how_far_behind_it_is(topics, frames, metadata):
    made = topics(documents(inline_run(frames, metadata=metadata | {"num_points": 20})[:-1]))
    for event in made.events()[4:]:
        made.drop(event)
    status = status_of(made, [letter((5,)), letter((6,), run_uid="another"), letter((7,), kind="refused")])
    assert status.state == "open"
    (analysis,) = status.analyses
    assert (analysis.state, analysis.done, analysis.failed, analysis.dropped) == ("running", 4, 1, None)
    assert (analysis.waiting, analysis.behind_s, analysis.newest_seq_num) == (2, 3.0, 4)
    assert analysis.dead_letters == 2
    assert "still open, 20 readings planned" in text(status)
    assert "done 4 of 7, failed 1, waiting 2" in text(status)
    assert "2 reading(s), 3.0 s behind" in text(status)


def test_latencies_come_from_the_headers_and_odd_headers_are_left_out(topics):
    made = topics()
    values = iter([b"10", b"20", b"30", b"nan", b"soon", b"40", b"50"])
    made.messages = [
        (n, d, (("latency_ms", next(values)),) if d in made.events() else h) for n, d, h in made.messages
    ]
    (analysis,) = status_of(made).analyses
    assert analysis.latency_p50_ms == 30.0
    assert analysis.latency_p95_ms == pytest.approx(48.0)
    assert "median 30 ms, 95 % below 48 ms" in text(status_of(made))


def test_a_reading_in_neither_events_nor_ledger_is_missing(topics):
    made = topics()
    made.drop(made.events()[2])
    status = status_of(made)
    assert status.analyses[0].missing == 1
    assert "streamproc audit" in text(status)


def test_without_results_or_without_raw_documents_it_says_so(topics):
    made = topics()
    gone = status_of(made, raw=[])
    assert gone.state == "unread"
    assert gone.analyses[0].done == 7
    assert "not in the raw topic any more" in text(gone)
    made.messages = []
    assert "no result run" in text(status_of(made))


def test_the_json_form_holds_plain_values(topics, toy):
    import json

    status = status_of(topics(toy=toy(fault=lambda f: f.seq_num == 3)), [letter((3,))])
    known = json.loads(json.dumps(status.to_json()))
    assert known["analyses"][0]["reasons"][0]["first_seq_nums"] == [3]
    assert known["dead_letters"][0]["seq_nums"] == [3]


KNOWN = {"abcdef-1": "abcdef-1", "abcdef-2": "abcdef-2", "9f8e7d6c": "abcdef-1", "abcdef": "abcdef"}


@pytest.mark.parametrize(
    ("uid", "found"),
    [("abcdef-1", "abcdef-1"), ("9f8e7d", "abcdef-1"), ("abcdef", "abcdef"), ("nobody", None)],
)
def test_a_run_is_found_by_either_uid_and_a_whole_uid_wins(uid, found):
    assert find_run(uid, KNOWN) == found


@pytest.mark.parametrize(("uid", "said"), [("abcdef-", "abcdef-1, abcdef-2"), ("9f8e7", "at least 6")])
def test_an_ambiguous_or_short_beginning_is_refused_with_what_to_do(uid, said):
    with pytest.raises(ConfigurationError, match=said):
        find_run(uid, KNOWN)


def test_many_candidates_are_listed_in_part():
    known = {f"abcdef{n:03}": f"abcdef{n:03}" for n in range(200)}
    with pytest.raises(ConfigurationError, match=r"any of 200: .*abcdef009, \.\.\.; give more"):
        find_run("abcdef", known)
