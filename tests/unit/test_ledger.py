from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamproc.ledger import Ledger


def test_every_expected_reading_is_counted_once_whatever_is_said_of_it_again():
    ledger = Ledger()
    for seq_num in (1, 2, 3):
        ledger.expect(seq_num)
    ledger.done(1)
    ledger.failed(2, "file missing")
    ledger.dropped(3, "latest")
    ledger.done(2)
    ledger.failed(1, "again")
    assert ledger.counts == {"expected": 3, "done": 1, "failed": 1, "dropped": 1}


def test_summary_names_reasons_with_their_first_seq_nums_only():
    ledger = Ledger()
    ledger.failed_range(5, 1_000_000_000, "never came")
    summary = ledger.summary()
    assert summary["failed"] == 999_999_995
    assert summary["failed_reasons"] == [
        {"reason": "never came", "count": 999_999_995, "first_seq_nums": list(range(5, 15))}
    ]


def test_distinct_reasons_are_bounded_and_nothing_is_lost_from_the_count():
    ledger = Ledger()
    for n in range(1, 1001):
        ledger.failed(n, f"file {n} missing")
    summary = ledger.summary()
    assert len(summary["failed_reasons"]) <= 101
    assert sum(r["count"] for r in summary["failed_reasons"]) == 1000


@given(st.lists(st.tuples(st.sampled_from(["done", "failed", "dropped"]), st.integers(1, 50)), max_size=80))
def test_counts_match_a_plain_dictionary_and_survive_the_state(calls):
    ledger, plain = Ledger(), {}
    for what, seq_num in calls:
        getattr(ledger, what)(*((seq_num,) if what == "done" else (seq_num, what)))
        plain.setdefault(seq_num, what)
    again = Ledger.from_state(ledger.to_state())
    for book in (ledger, again):
        assert book.counts == {
            "expected": len(plain),
            **{k: sum(v == k for v in plain.values()) for k in ("done", "failed", "dropped")},
        }
    assert again.summary() == ledger.summary()
