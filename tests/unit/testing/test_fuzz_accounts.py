"""The accounts of benchmarks/fuzz.py find what is wrong: each loss and each deed is a fault."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from streamproc.testing.fuzzing import FuzzMessage
from streamproc.testing.watching import Access
from streamproc.transports.codec import DecodeLimits, encode

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture
def verdict(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from fuzzed import verdict

    return verdict


@pytest.fixture
def case(verdict):
    """A topic with a refused start, an undecodable message, a good event and one for another analysis."""
    ledger = verdict.Ledger(DecodeLimits())
    messages = [
        FuzzMessage("a", encode("start", {"uid": 1})),
        FuzzMessage("b", b"\xc1"),
        FuzzMessage("c", encode("event", {})),
        FuzzMessage("d", b"\xc1", headers=(("streamproc-reinjected", b"other"),)),
    ]
    for offset, message in enumerate(messages):
        ledger.sent((0, offset), message)
    letters = [
        verdict.Letter((0, 0), "refused", "uid", messages[0].value),
        verdict.Letter((0, 1), "undecodable", "0xc1", b"\xc1"),
    ]
    counts = {
        ("streamproc_documents_total", "start"): 1.0,
        ("streamproc_documents_total", "event"): 1.0,
        ("streamproc_dead_letters_total", "refused"): 1.0,
        ("streamproc_dead_letters_total", "undecodable"): 1.0,
        ("streamproc_documents_skipped_total", "reinjected-elsewhere"): 1.0,
    }
    return ledger, letters, counts


def test_when_everything_is_accounted_there_is_no_fault(verdict, case):
    figures = verdict.account(*case)
    assert figures["faults"] == []
    assert figures["messages"] == figures["accounted"] == 4
    assert figures["documents_without_a_letter"] == 1


FAULTS = {
    "a letter is missing": lambda led, let, c: (led, let[:1], c),
    "a letter comes twice": lambda led, let, c: (led, [*let, let[0]], c),
    "a letter has other bytes": lambda led, let, c: (led, [replace(let[0], value=b"x"), let[1]], c),
    "a letter has no reason": lambda led, let, c: (led, [replace(let[0], reason=""), let[1]], c),
    "a letter is of nothing": lambda led, let, c: (led, [*let, replace(let[0], place=None, value=b"?")], c),
    "a document was not counted": lambda led, let, c: (led, let, c | {("streamproc_documents_total", "event"): 0.0}),
    "one was counted twice": lambda led, let, c: (led, let, c | {("streamproc_documents_total", "event"): 2.0}),
    "something unexpected": lambda led, let, c: (led, [replace(let[0], kind="unexpected"), let[1]], c),
    "one was not skipped": lambda led, let, c: (
        led, let, {k: v for k, v in c.items() if k[0] != "streamproc_documents_skipped_total"}
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FAULTS)
def test_every_loss_is_a_fault(verdict, case, what):
    assert verdict.account(*FAULTS[what](*case))["faults"]


def test_deeds_after_the_begin_are_seen_and_what_is_allowed_is_not(verdict, tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    began = 100.0
    before = [Access("open", "/etc/hosts", 50.0), Access("open", str(outside / "decoy"), 50.0)]
    after = [
        Access("open", str(root / "a.h5"), 101.0),
        Access("open", json_file(), 101.0),
        Access("open", "/sys/devices/system/cpu/online", 101.0),
        Access("open", "/etc/hosts", 101.0),
        Access("open", str(outside / "decoy"), 101.0),
        Access("open", f"{root}/../outside/other", 101.0),
        Access("start", "/bin/sh", 101.0),
        Access("connect", "10.0.0.1:80", 101.0),
        Access("unpickle", "builtins open", 101.0),
        Access("load", "libm.so", 101.0),
    ]
    seen = verdict.strangers([*before, *after], began, [root], [outside])
    assert set(seen["open"]) == {str(outside / "decoy"), str(outside / "other")}
    assert seen["known_from_before"] == {"/etc/hosts": 1}
    assert (set(seen["start"]), set(seen["connect"])) == ({"/bin/sh"}, {"10.0.0.1:80"})
    assert set(seen["unpickle"]) == {"builtins open"}


def json_file():
    import json

    return json.__file__
