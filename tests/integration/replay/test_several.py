"""Several runs at once: what goes wrong with one keeps no other from its turn, and the exit code tells."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from streamproc.testing.makers import inline_run
from streamproc.transports.codec import encode


@pytest.fixture(scope="module")
def three(beam):
    """A folder with three runs: the second cut off, the third without results to compare it with."""
    folder = beam.folder / "three"
    folder.mkdir()
    raws = {form: b"".join(encode(*p) for p in beam.run(form)) for form in ("inline", "hdf5", "tiff")}
    (folder / "a.msgpack").write_bytes(raws["tiff"])
    (folder / "b.msgpack").write_bytes(raws["inline"][: len(raws["inline"]) // 2])
    (folder / "c.msgpack").write_bytes(raws["hdf5"])
    results = beam.folder / "three-results.msgpack"
    results.write_bytes(b"".join((*beam.live("tiff"), *beam.live("inline"))))
    return folder, results


def replay(*arguments):
    ended = subprocess.run(
        [sys.executable, "-m", "streamproc", "replay", *map(str, arguments)], capture_output=True, text=True,
        timeout=180, check=False,
    )  # fmt: skip
    assert "Traceback" not in ended.stderr
    return ended


def named(*numbers):
    return [part for number in numbers for part in ("--run", str(number))]


def test_a_damaged_run_in_the_middle_does_not_stop_the_ones_after_it(beam, three, tmp_path):
    folder, _ = three
    out = tmp_path / "all.jsonl"
    ended = replay(folder, "--config", beam.config, *named(102, 100, 101), "--to", out)
    assert ended.returncode == 1 and "2 of 3 runs good" in ended.stdout, ended.stdout
    stops = [json.loads(line)[1] for line in out.read_text().splitlines() if line.startswith('["stop"')]
    assert [stop["exit_status"] for stop in stops] == ["success", "abort", "success"]
    assert "cut off" in stops[1]["reason"]
    assert not out.with_name("all.jsonl.resume").exists()


def test_a_run_without_a_reference_is_said_and_the_others_are_compared(beam, three):
    folder, results = three
    ended = replay(folder, "--config", beam.config, *named(101, 102), "--verify", results, "--json")
    assert ended.returncode == 1
    first, second = json.loads(ended.stdout)
    assert "no results of phase-map for this run" in first["uncompared"] and first["ending"] == "complete"
    assert second["verify"]["identical"] and second["good"]


def test_no_reference_for_any_run_is_said_before_any_work(beam, three):
    folder, results = three
    ended = replay(folder, "--config", beam.config, "--run", "101", "--verify", results)
    assert ended.returncode == 2 and "no results of phase-map for run" in ended.stderr and not ended.stdout


def test_a_run_named_twice_is_replayed_once(beam, three):
    folder, results = three
    uid = beam.run("tiff")[0][1]["uid"]
    ended = replay(folder, "--config", beam.config, *named(102, uid, uid[:8]), "--verify", results, "--json")
    assert ended.returncode == 0 and len(json.loads(ended.stdout)) == 1


def test_a_name_that_is_not_there_is_said_before_any_work(beam, three, tmp_path):
    folder, _ = three
    out = tmp_path / "out.jsonl"
    ended = replay(folder, "--config", beam.config, *named(102, 4711), "--to", out)
    assert ended.returncode == 2 and "no run '4711'" in ended.stderr and not out.exists()


def test_an_analysis_that_hangs_leaves_a_ledger_and_the_process_ends(tmp_path):
    """Its thread sleeps on for an hour; whoever waits for the command need not."""
    toy = Path(__file__).parents[1] / "toy_consumer.py"
    pairs = inline_run([np.ones((4, 4), np.uint16)] * 3, uid="hanging-run-1")
    (tmp_path / "raw.msgpack").write_bytes(b"".join(encode(*pair) for pair in pairs))
    config, out = tmp_path / "beamline.toml", tmp_path / "out.jsonl"
    config.write_text("[service]\nframe_timeout_s = 1.0\n[analysis.toy]\npause_s = 3600.0\n")
    ended = replay(tmp_path / "raw.msgpack", "--config", config, "--analysis", toy, "--to", out)
    assert ended.returncode == 1 and "hangs" in ended.stdout, ended.stdout + ended.stderr
    [stop] = [json.loads(line)[1] for line in out.read_text().splitlines() if line.startswith('["stop"')]
    ledger = stop["ledger"]["primary"]
    assert ledger["dropped"] == ledger["expected"] == 3
    assert "frame_timeout_s" in ledger["dropped_reasons"][0]["reason"]
