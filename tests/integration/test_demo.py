"""The demo as a user runs it: real broker, real RunEngine, real service, each a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from event_model import DocumentNames, schema_validators

from streamproc.dashboard.state import Board
from streamproc.demo.devices import STORAGES
from streamproc.transports.broker import Broker
from streamproc.transports.codec import decode

pytestmark = pytest.mark.broker

POINTS = 5
DEADLINE_S = 120.0
STREAMPROC = (sys.executable, "-m", "streamproc")


@pytest.fixture(scope="module")
def bootstrap() -> Iterator[str]:
    with Broker() as broker:
        yield broker.bootstrap


def _demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*STREAMPROC, "demo", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


@pytest.fixture(scope="module", params=STORAGES)
def kept(
    request: pytest.FixtureRequest, bootstrap: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp(request.param) / "kept"
    done = _demo(
        "--points", str(POINTS), "--rate", "0", "--storage", request.param, "--bootstrap", bootstrap,
        "--keep", str(folder), "--json", str(folder.parent / "out.json"),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return request.param, folder


@pytest.fixture(scope="module")
def values_of_first() -> list[tuple[str, list[dict[str, Any]]]]:
    """Collects the values of each storage, to be compared with the first."""
    return []


def _results(folder: Path) -> list[tuple[str, Any]]:
    return _documents(folder / "documents" / "results.msgpack")


def _documents(file: Path) -> list[tuple[str, Any]]:
    unpacker = msgpack.Unpacker(raw=True, strict_map_key=False)
    data = file.read_bytes()
    unpacker.feed(data)
    ends = [unpacker.tell() for _ in unpacker]
    return [decode(data[a:b]) for a, b in zip([0, *ends[:-1]], ends, strict=True)]


def test_every_storage_gives_a_complete_ledger_and_the_promised_json(kept: tuple[str, Path]) -> None:
    storage, folder = kept
    summary = json.loads((folder.parent / "out.json").read_text(encoding="utf-8"))
    assert summary["points"] == POINTS
    assert summary["ledger"] == {"expected": POINTS, "done": POINTS, "failed": 0, "dropped": 0}
    assert summary["accuracy"]["fraction_mae"] <= 0.03
    assert 0 < summary["latency_ms"]["p50"] <= summary["latency_ms"]["p95"]
    assert summary["frames_per_s"] > 0
    assert len(summary["result_run_uids"]) == 1
    assert (summary["storage"], bool(summary["model"])) == (storage, True)


def test_what_is_kept_is_whole(kept: tuple[str, Path]) -> None:
    _, folder = kept
    names = {p.name for p in folder.iterdir()}
    assert {
        "beamline.toml",
        "geometry.poni",
        "mask.tif",
        "dark.tif",
        "truth.json",
        "logs",
        "summary.json",
    } <= names
    board = Board()
    for name, doc in _results(folder):
        board.feed(name, doc)
    (run,) = board.runs.values()
    assert (run.count, run.exit_status) == (POINTS, "success")


def test_all_storages_give_the_same_values(
    kept: tuple[str, Path], values_of_first: list[tuple[str, list[dict[str, Any]]]]
) -> None:
    storage, folder = kept
    values = [doc["data"] for name, doc in _results(folder) if name == "event" and "in_domain" in doc["data"]]
    values_of_first.append((storage, values))
    assert len(values) == POINTS
    first_storage, first = values_of_first[0]
    # As text, so that NaN equals NaN.
    assert json.dumps(values) == json.dumps(first), f"{storage} differs from {first_storage}"


@pytest.fixture(scope="module")
def magnon(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("magnon") / "kept"
    done = _demo(
        "--experiment", "magnon", "--points", "370", "--rate", "0", "--seed", "3", "--bootstrap", bootstrap,
        "--keep", str(folder), "--json", str(folder.parent / "out.json"),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (folder.parent / "said.txt").write_text(done.stdout, encoding="utf-8")
    return folder


def test_a_triple_axis_scan_is_fitted_while_it_counts_and_ends_near_the_truth(magnon: Path) -> None:
    summary = json.loads((magnon.parent / "out.json").read_text(encoding="utf-8"))
    assert summary["ledger"] == {"expected": 370, "done": 370, "failed": 0, "dropped": 0}
    assert summary["in_domain"], summary["reasons"]
    # one after each scan at constant Q from which a fit can be made, one of the whole scan at its end
    assert summary["course"][-1]["seq_num"] == 370 and 10 <= summary["fits"] <= 13
    for key, found in summary["couplings"].items():
        apart = abs(found["value_meV"] - found["truth_meV"])
        assert apart < 4 * found["sigma_meV"] + 1e-3, (key, found)
    first, last = summary["course"][2], summary["course"][-1]
    assert last["Zc*J"] < 0.5 * first["Zc*J"]
    said = (magnon.parent / "said.txt").read_text(encoding="utf-8")
    assert "fit of readings 1 to 370: Zc*J=" in said and "the truth" in said


def test_the_documents_of_the_scan_are_valid_and_replay_to_the_same_answers(magnon: Path) -> None:
    documents = magnon / "documents"
    for name, doc in _documents(documents / "raw.msgpack"):
        schema_validators[DocumentNames[name]].validate(doc)
    command = [*STREAMPROC, "replay", str(documents), "--analysis", "excitation-fit"]
    command += ["--config", str(magnon / "beamline.toml")]
    done = subprocess.run(
        [*command, "--verify", str(documents / "results.msgpack")],
        capture_output=True, text=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def deformation(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deformation") / "kept"
    done = _demo(
        "--experiment", "deformation", "--rate", "0", "--seed", "4", "--bootstrap", bootstrap,
        "--keep", str(folder), "--json", str(folder.parent / "out.json"),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (folder.parent / "said.txt").write_text(done.stdout, encoding="utf-8")
    return folder


def test_the_alarm_of_a_tensile_test_rises_at_the_yield_point_and_the_run_says_why(deformation: Path) -> None:
    summary = json.loads((deformation.parent / "out.json").read_text(encoding="utf-8"))
    assert summary["ledger"] == {"expected": 40, "done": 40, "failed": 0, "dropped": 0}
    assert summary["first_alarm_after"] <= 3 and summary["false_alarms"] == 0
    assert summary["bad_readings"] == sorted(map(int, summary["true_bad_readings"]))
    assert {a["seq_num"] for a in summary["alarms"]}.isdisjoint(summary["bad_readings"])
    assert "alarm" in summary["said"] and "beam_loss" in summary["said"] and "saturated" in summary["said"]
    said = (deformation.parent / "said.txt").read_text(encoding="utf-8")
    assert "ALARM " in said and "good reading" in said


def test_the_documents_of_the_tensile_test_are_valid_and_replay_to_the_same_bytes(deformation: Path) -> None:
    documents = deformation / "documents"
    for file in ("raw.msgpack", "results.msgpack"):
        for name, doc in _documents(documents / file):
            schema_validators[DocumentNames[name]].validate(doc)
    alarms = [d["name"] for n, d in _documents(documents / "results.msgpack") if n == "descriptor"]
    assert {"primary", "data_flags", "defect_flags", "alarms", "defect_checks", "summary"} == set(alarms)
    command = [*STREAMPROC, "replay", str(documents), "--analysis", "defect-flags"]
    command += ["--config", str(deformation / "beamline.toml")]
    done = subprocess.run(
        [*command, "--verify", str(documents / "results.msgpack")],
        capture_output=True, text=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_storage_of_frames_with_counts_is_refused_in_one_sentence() -> None:
    done = _demo("--experiment", "magnon", "--storage", "hdf5")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1 and "--storage hdf5" in done.stderr


def test_a_broker_that_is_not_there_is_one_sentence_and_exit_code_2() -> None:
    done = _demo("--bootstrap", "127.0.0.1:1", "--points", "1")
    assert done.returncode == 2
    (said,) = done.stderr.strip().splitlines()
    assert "no Kafka broker answered at 127.0.0.1:1" in said


def test_a_folder_in_use_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious", encoding="utf-8")
    done = _demo("--keep", str(tmp_path), "--points", "1", "--bootstrap", "127.0.0.1:1")
    assert done.returncode == 2
    assert "not empty" in done.stderr
    assert (tmp_path / "mine").read_text(encoding="utf-8") == "precious"


def _children(pid: int) -> list[int]:
    """Return all processes below ``pid``."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    below, todo = [], [pid]
    while todo:
        mother = todo.pop()
        found = [child for child, parent in parents.items() if parent == mother]
        below += found
        todo += found
    return below


def _alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at /proc")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_an_interrupted_demo_leaves_no_process(number: signal.Signals, code: int) -> None:
    command = [*STREAMPROC, "demo", "--points", "500", "--rate", "2"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as demo:
        assert demo.stdout is not None
        first = next((line for line in demo.stdout if line.startswith("1/500 ")), None)
        assert first is not None, "no answer came"
        children = _children(demo.pid)
        assert len(children) >= 3
        demo.send_signal(number)
        assert demo.wait(10.0) == code
    deadline = time.monotonic() + 5.0
    while left := [pid for pid in children if _alive(pid)]:
        assert time.monotonic() < deadline, f"processes {left} still live"
        time.sleep(0.05)


def test_two_demos_on_one_broker_do_not_mix(bootstrap: str, tmp_path: Path) -> None:
    long = [
        *STREAMPROC,
        "demo",
        "--points",
        "500",
        "--rate",
        "2",
        "--storage",
        "tiff",
        "--bootstrap",
        bootstrap,
    ]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(long, stdout=subprocess.PIPE, text=True, env=environment) as first:
        assert first.stdout is not None
        assert next((line for line in first.stdout if line.startswith("1/500 ")), None)
        out = tmp_path / "out.json"
        second = _demo("--points", "3", "--storage", "tiff", "--bootstrap", bootstrap, "--json", str(out))
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=10.0)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "another service answers demo.*" in second.stdout
    assert json.loads(out.read_text(encoding="utf-8"))["ledger"]["done"] == 3


def test_watch_shows_what_is_in_the_topic(bootstrap: str, kept: tuple[str, Path]) -> None:
    _, folder = kept
    raw_uid = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["raw_run_uid"]
    command = [*STREAMPROC, "watch", "--bootstrap", bootstrap, "--beamline", "demo", "--run", raw_uid]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as watch:
        assert watch.stdout is not None
        said = []
        for line in watch.stdout:
            said.append(line)
            if "ended" in line and raw_uid in line:
                break
        watch.send_signal(signal.SIGINT)
        assert watch.wait(10.0) == 0
    assert sum(line.startswith(f"{i + 1}/{POINTS} ") for line in said for i in range(POINTS)) == POINTS
    assert f"{POINTS} of {POINTS} done" in said[-1]
