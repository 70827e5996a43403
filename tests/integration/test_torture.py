"""The short form of `streamproc torture`: each kind of fault at least once, on a real cluster of three nodes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from streamproc.settings import KafkaSettings
from streamproc.torture.faults import KINDS
from streamproc.transports.kafka.replicas import lagging_partitions

pytestmark = pytest.mark.broker
DEADLINE_S = 280.0


def torture(*arguments, **options):
    argv = [sys.executable, "-m", "streamproc", "torture", *map(str, arguments)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def until(condition, deadline_s=120.0):
    end_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.05)


def test_services_and_nodes_broken_on_purpose_lose_no_frame_and_double_none(tmp_path):
    out = tmp_path / "out.json"
    # How fast a restart is, is a figure of a quiet machine; here it only must not fail to come.
    process = torture("--kills", 5, "--seed", 3, "--pace", 3, "--restart-limit", 90, "--json", out)
    said, told = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, f"{said}\n{told[-6000:]}"
    report = json.loads(out.read_text())
    frames, audit = report["frames"], report["audit"]
    assert {fault["kind"].partition("-")[0] for fault in report["faults"]["timeline"]} == set(KINDS)
    assert frames["answered"] == frames["produced"] > 100
    assert min(frames["runs_by_storage"].get(storage, 0) for storage in ("inline", "hdf5")) >= 2
    assert (frames["lost"], frames["doubled"], frames["unfinished_runs"]) == (0, 0, [])
    assert audit["totals"]["expected"] == audit["totals"]["done"] == frames["produced"]
    assert audit["verdict"] == "no difference"
    assert report["restarts"]["count"] >= 1
    assert "passed" in said


def test_ctrl_c_ends_everything_and_leaves_nothing_behind(tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = torture("--kills", 50, "--pace", 60, env=environment, start_new_session=True)
    try:
        for line in process.stderr:
            if "the beamline begins" in line:
                break
        processes = children(process.pid)
        assert len(processes) >= 5
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 130
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes))
        left = [p.name for p in tmp_path.iterdir() if p.name.startswith("streamproc")]
        assert left == []
    finally:
        process.kill()
        process.communicate()


def children(pid):
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):  # a thread may end while we look
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--faults", "earthquake"], "earthquake"),
        (["--bootstrap", "127.0.0.1:1"], "no Kafka broker answered"),
        (["--keep", Path(__file__).parent], "not empty"),
    ],
)
def test_what_makes_no_sense_is_one_sentence_and_exit_code_2(arguments, words):
    process = torture("--kills", 1, *arguments)
    _, told = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 2, told
    assert words in told.strip().splitlines()[-1]
    assert "Traceback" not in told


def test_a_cluster_of_ones_own_is_tortured_without_its_nodes(kafka, tmp_path):
    out = tmp_path / "out.json"
    process = torture(
        "--kills", 1, "--faults", "kill,node", "--pace", 2, "--bootstrap", kafka, "--json", out,
        "--restart-limit", 90,
    )  # fmt: skip
    said, told = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, f"{said}\n{told[-6000:]}"
    report = json.loads(out.read_text())
    assert report["faults"]["by_kind"] == {"kill": 1}
    assert report["options"]["own_cluster"] is True
    assert report["frames"]["lost"] == report["frames"]["doubled"] == 0


def test_a_whole_cluster_lags_nowhere_and_one_that_is_away_says_nothing(kafka):
    assert lagging_partitions(KafkaSettings(bootstrap=kafka), 10.0) == []
    assert lagging_partitions(KafkaSettings(bootstrap="127.0.0.1:1"), 1.0) is None
