"""Fuzzed messages through a real broker to a real service: the short form of benchmarks/fuzz.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks" / "fuzz.py"


@pytest.mark.parametrize("partitions", [1, 3])
def test_fuzzed_messages_end_nothing_open_nothing_and_are_all_accounted(partitions):
    options = [
        "--messages",
        "1500",
        "--good-runs",
        "8",
        "--partitions",
        str(partitions),
        "--seed",
        "7",
        "--json",
    ]
    ended = subprocess.run(
        [sys.executable, str(PROGRAM), *options], capture_output=True, text=True, timeout=600
    )
    assert ended.stdout, ended.stderr[-3000:]
    figures = json.loads(ended.stdout)
    assert figures["faults"] == []
    assert ended.returncode == figures["exit_code"] == 0
    accounts = figures["accounts"]
    letters = accounts["dead_letters"]
    assert letters["undecodable"] > 300
    assert letters["refused"] > 100
    assert letters["unexpected"] == 0
    assert accounts["documents_without_a_letter"] > 300
    assert accounts["readings_with_a_letter"] > 10
    assert accounts["accounted"] == accounts["messages"] > 1500
    assert figures["good_runs_complete_and_the_same"] == figures["good_runs"] == 8
    assert not any(figures["seen"][kind] for kind in ("open", "start", "connect", "unpickle"))
    assert {"audit hook", "inotify on decoys"} <= set(figures["watched_by"])
