"""Supplementary runs are added up with what they supplement; dead letters are remarked on."""

from __future__ import annotations

import copy
import time

import pytest

from streamproc.documents import Document, Position
from streamproc.results import document_uid
from streamproc.testing.makers import datum_run, inline_run, stream_run
from streamproc.testing.memory import MemorySource
from streamproc.transports.codec import decode, encode
from streamproc.transports.letters import Letter

SUPPLEMENT = "5cb81e40-0000-5000-8000-000000000001"


@pytest.fixture
def failed(topics, toy):
    """A run whose readings 3 and 5 failed."""
    return topics(toy=toy(fault=lambda f: f.seq_num in (3, 5)))


def supplement(made, seq_nums, uid=SUPPLEMENT, **ledger):
    """Publish late answers in a run of their own; values as in an answered reading, raw facts as they are."""
    first = made.of("start")[0]
    start = {**copy.deepcopy(first), "uid": uid, "supplements": first["uid"]}
    descriptor = copy.deepcopy(made.of("descriptor")[0])
    descriptor |= {"uid": document_uid(uid, "descriptor", "primary"), "run_start": uid}
    made.messages += [("start", start, ()), ("descriptor", descriptor, ())]
    raw = {d.doc["seq_num"]: d.doc for d in made.raw if d.name == "event"}
    for n in seq_nums:
        event = copy.deepcopy(made.events()[0])
        event |= {"uid": document_uid(uid, "primary", str(n)), "descriptor": descriptor["uid"], "seq_num": n}
        event["time"] = raw[n]["time"]
        event["data"]["motor"] = raw[n]["data"]["motor"]
        event["timestamps"] = dict.fromkeys(event["timestamps"], raw[n]["time"])
        made.messages.append(("event", event, ()))
    n = len(seq_nums)
    account = {
        "expected": n,
        "done": n,
        "failed": 0,
        "dropped": 0,
        "failed_reasons": [],
        "dropped_reasons": [],
    }
    stop = {
        **made.of("stop")[0], "uid": document_uid(uid, "stop"), "run_start": uid,
        "num_events": {"primary": n}, "ledger": {"primary": account | ledger},
    }  # fmt: skip
    made.messages.append(("stop", stop, ()))


def kinds(report):
    return {(f.kind, f.seq_num) for f in report.findings.kept if f.severity == "fault"}


def test_a_reading_that_failed_and_was_answered_later_is_late(failed):
    supplement(failed, [3])
    report = failed.audit()
    assert not report.differs
    (row,) = report.runs
    assert (row.expected, row.done, row.failed, row.late, row.lost) == (7, 5, 1, 1, 0)
    assert row.supplements == (SUPPLEMENT,)


def test_two_supplements_add_up(failed):
    supplement(failed, [3])
    supplement(failed, [5], uid=SUPPLEMENT[:-1] + "2")
    report = failed.audit()
    assert not report.differs
    assert (report.runs[0].late, report.runs[0].failed, report.runs[0].verdict) == (2, 0, "complete")


def test_a_late_answer_to_a_reading_that_has_one_is_doubled(failed):
    supplement(failed, [3, 4])
    report = failed.audit()
    assert kinds(report) == {("doubled", 4)}
    assert (report.runs[0].doubled, report.runs[0].late) == (1, 1)


def test_a_reading_answered_late_twice_is_doubled(failed):
    supplement(failed, [3])
    supplement(failed, [3], uid=SUPPLEMENT[:-1] + "2")
    assert kinds(failed.audit()) == {("doubled", 3)}


def test_a_late_answer_is_compared_with_the_raw_reading_too(failed):
    supplement(failed, [3])
    failed.messages[-2][1]["data"]["motor"] = 99.0
    assert kinds(failed.audit()) == {("unlike", 3)}


def test_a_lost_reading_that_is_answered_late_is_not_lost_but_the_ledger_is_wrong(topics):
    made = topics()
    made.drop(made.events()[3])
    supplement(made, [4])
    report = made.audit()
    assert report.runs[0].lost == 0
    assert {kind for kind, _ in kinds(report)} == {"ledger", "num-events"}


def test_a_supplement_has_a_ledger_and_a_stop_of_its_own(failed):
    supplement(failed, [3], expected=2)
    assert kinds(failed.audit()) == {("ledger", None)}
    failed.messages.pop()
    assert kinds(failed.audit()) == {("no-stop", None)}


def test_a_supplement_of_nothing_is_a_fault(failed):
    supplement(failed, [3])
    failed.messages[-4][1]["supplements"] = "no-such-run"
    assert kinds(failed.audit()) == {("no-first-run", None)}


class Fault:
    """Breaks some frames until it is mended."""

    def __init__(self, *numbers):
        self.numbers = set(numbers)

    def __call__(self, frame):
        return frame.seq_num in self.numbers


def as_read(pairs, first=0, headers=()):
    raws = [encode(*pair) for pair in pairs]
    return [
        Document(*decode(raw), Position("memory", 0, first + i), b"k", raw, None, headers)
        for i, raw in enumerate(raws)
    ]


def reinjected(letter, offset):
    headers = (("streamproc-reinjected", b"toy"), ("streamproc-origin", letter.key))
    return as_read([decode(bytes(letter.value))], offset, headers)[0]


@pytest.mark.parametrize("over", [True, False], ids=["ended", "open"])
@pytest.mark.parametrize("form", ["inline", "stream", "datum"])
def test_what_the_service_answers_late_stands_the_comparison(
    bench, topics_of, toy, frames, metadata, tmp_path, form, over
):
    pairs = {
        "inline": lambda: inline_run(frames, metadata=metadata),
        "stream": lambda: stream_run(frames, tmp_path / "f.h5", metadata=metadata),
        "datum": lambda: datum_run(frames, tmp_path, metadata=metadata),
    }[form]()
    messages, fault = as_read(pairs), Fault(3, 5)
    b = bench([], tmp_path, source=MemorySource(messages[: None if over else -1]), toy=toy(fault=fault))
    end_s = time.monotonic() + 30
    while len(b.dead()) < 2 or (over and not b.ledgers()):
        b.service.step()
        assert time.monotonic() < end_s
    fault.numbers = {5}
    more = [reinjected(letter, 500 + n) for n, letter in enumerate(b.dead())]
    more += [] if over else as_read(pairs[-1:], 510)
    b.source.append(*more)
    b.run()
    raw = [*messages[: None if over else -1], *more]
    report = topics_of(raw, b).audit()
    assert not report.differs
    (row,) = report.runs
    assert (row.expected, row.done, row.failed, row.late) == ((7, 5, 1, 1) if over else (7, 6, 1, 0))
    assert len(row.supplements) == over


def letter(**more):
    known = {
        "place": Position("dead", 0, 1), "offsets": (1,), "key": b"raw/0@4", "origin": Position("raw", 0, 4),
        "message_key": None, "kind": "frame", "reason": "no such row", "analyses": ("toy",), "first_s": 1.0,
        "last_s": 2.0, "run_uid": "run-inline", "stream": "primary", "seq_nums": (3,), "size": 10,
        "written_s": 1.0,
    }  # fmt: skip
    return Letter(**{**known, **more})


def test_dead_letters_of_a_run_are_remarked_on_and_no_difference(failed):
    report = failed.audit([letter(), letter(run_uid="another"), letter(analyses=("other",))])
    assert not report.differs
    (finding,) = report.findings.kept
    assert (finding.kind, finding.seq_num, finding.positions) == ("dead-letter", 3, ("raw/0@4",))
    assert report.runs[0].dead_letters == len(report.letters) == 1
