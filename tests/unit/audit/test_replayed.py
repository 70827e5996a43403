"""A replay that published into the results topic again is no difference; one that says other things is."""

from __future__ import annotations

import pytest

from streamproc.results import REPLAYED, document_uid


def replayed(topics, upto=None):
    """The messages once more as a replay publishes them, the first ``upto`` only and then its aborted stop."""
    headers = ((REPLAYED, b"1"),)
    copies = [(name, dict(doc), headers) for name, doc, _ in topics.messages]
    if upto is None:
        return copies
    uid = copies[0][1]["uid"]
    primary = {d["uid"] for n, d, _ in copies if n == "descriptor" and d["name"] == "primary"}
    kept = [m for m in copies[:upto] if m[0] != "stop"]
    done = sum(n == "event" and d["descriptor"] in primary for n, d, _ in kept)
    ledger = {
        "expected": 7, "done": done, "failed": 0, "dropped": 7 - done, "failed_reasons": [],
        "dropped_reasons": [{"reason": "interrupted", "count": 7 - done, "first_seq_nums": [done + 1]}],
    }  # fmt: skip
    stop = {
        **topics.of("stop")[0], "uid": document_uid(uid, "stop", "interrupted", str(done)), "time": 5.0,
        "exit_status": "abort", "interrupted": True, "ledger": {"primary": ledger},
        "num_events": {"primary": done},
    }  # fmt: skip
    return [*kept, ("stop", stop, headers)]


def verdict(topics, messages):
    topics.messages = messages
    report = topics.audit()
    [row] = report.runs
    return report, row


def test_the_whole_run_once_more_is_no_difference(topics):
    made = topics()
    report, row = verdict(made, [*made.messages, *replayed(made)])
    assert not report.differs and (row.verdict, row.done, row.doubled) == ("complete", 7, 0)
    assert report.findings.counts["repeated"] == len(made.messages) // 2


def test_the_same_without_the_header_of_a_replay_is_doubled(topics):
    made = topics()
    report, _ = verdict(made, [*made.messages, *made.messages])
    assert report.differs and report.findings.counts["doubled"]


@pytest.mark.parametrize("order", ["before", "after", "both"])
def test_an_aborted_copy_beside_the_whole_run_is_no_difference(topics, order):
    made = topics()
    aborted = replayed(made, 5)
    copies = {
        "before": [*aborted, *replayed(made)], "after": [*made.messages, *aborted],
        "both": [*aborted, *replayed(made), *replayed(made, 4)],
    }  # fmt: skip
    report, row = verdict(made, copies[order])
    assert not report.differs, report.findings.kept
    assert (row.verdict, row.done) == ("complete", 7)


def test_an_aborted_copy_alone_is_accounted_for_by_the_one_that_got_further(topics):
    made = topics()
    for first, second in ((4, 5), (5, 4)):
        report, row = verdict(topics(), [*replayed(made, first), *replayed(made, second)])
        assert not report.differs, report.findings.kept
        assert row.verdict == "accounted for" and row.done + row.dropped == 7
        assert row.done == 3  # start, descriptor, three events


def test_a_replay_that_says_something_else_is_a_conflict(topics):
    made = topics()
    other = replayed(made)
    event = next(doc for name, doc, _ in other if name == "event")
    event["data"] = {k: 0.25 if isinstance(v, float) else v for k, v in event["data"].items()}
    report, _ = verdict(made, [*made.messages, *other])
    assert report.differs and report.findings.counts["conflict"] == 1
