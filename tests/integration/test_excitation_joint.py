"""`streamproc excitation-fit --joint`: archived runs, one set of couplings, and whether the runs agree."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from streamproc.models.excitations.maps.example import example_case, simulated_counts

from streamproc.cli import _group

TRUTH = {"J": 32.0, "J2": 1.8, "D": -0.2}
ENERGY = np.arange(10.0, 140.0, 2.0)
PATHS = {"first": ((0.5, 0.5), (0.75, 0.25)), "second": ((0.5, 0.0), (0.5, 0.5))}
CONFIG = """
[analysis.excitation-fit]
model = "magnon-square"
key = "counts"
"""


def recorded(folder: Path, name: str, scan_id: int, values: dict[str, float]) -> None:
    """A scan of spectra along one path as a suitcase-jsonl file."""
    first, last = (np.array([*c, 0.0]) for c in PATHS[name])
    q = first + np.linspace(0, 1, 10)[:, None] * (last - first)
    counts = simulated_counts(example_case(), q, ENERGY, values, 40.0, scan_id, 140.0)
    uid = f"{name}-0b6f8f0e-3f0c-4a36-8a27"
    array = {"dtype": "array", "dtype_numpy": "<f8", "shape": [len(ENERGY)], "source": "simulation"}
    number = {"dtype": "number", "dtype_numpy": "<f8", "shape": [], "source": "simulation"}
    keys = {"counts": array, "energy": array, "h": number, "k": number, "l": number}
    lines: list[tuple[str, dict[str, Any]]] = [
        ("start", {"uid": uid, "time": 1.7e9 + scan_id, "scan_id": scan_id, "plan_name": "scan"}),
        ("descriptor", {
            "uid": f"{uid}-d", "run_start": uid, "name": "primary", "time": 1.7e9, "data_keys": keys,
            "configuration": {}, "hints": {}, "object_keys": {k: [k] for k in keys},
        }),
    ]  # fmt: skip
    for n, (place, y) in enumerate(zip(q, counts, strict=True), start=1):
        data = {
            "counts": y.tolist(),
            "energy": ENERGY.tolist(),
            **dict(zip("hkl", map(float, place), strict=True)),
        }
        lines.append(("event", {
            "uid": f"{uid}-{n}", "descriptor": f"{uid}-d", "seq_num": n, "time": 1.7e9 + n, "data": data,
            "timestamps": dict.fromkeys(data, 1.7e9 + n), "filled": {},
        }))  # fmt: skip
    lines.append(("stop", {
        "uid": f"{uid}-s", "run_start": uid, "time": 1.7e9 + 60, "exit_status": "success",
        "num_events": {"primary": len(q)},
    }))  # fmt: skip
    (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    (folder / "runs").mkdir()
    (folder / "other").mkdir()
    recorded(folder / "runs", "first", 1, TRUTH)
    recorded(folder / "runs", "second", 2, TRUTH)
    recorded(folder / "other", "second", 3, {**TRUTH, "J": 30.0})
    (folder / "beamline.toml").write_text(CONFIG, encoding="utf-8")
    return folder


def asked(archive: Path, *arguments: str) -> Any:
    config = str(archive / "beamline.toml")
    return CliRunner().invoke(
        _group, ["excitation-fit", *arguments, "-c", config], prog_name="streamproc", standalone_mode=False
    )


def ended(archive: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as a process of its own."""
    places = ("--source", str(archive / "runs"), "-c", str(archive / "beamline.toml"))
    command = [sys.executable, "-m", "streamproc", "excitation-fit", "--joint", *arguments, *places]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def two_paths(archive: Path) -> dict[str, Any]:
    done = ended(archive, "first-", "second-", "--json")  # by the begin of their uids
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_two_paths_together_tell_what_one_alone_does_not(two_paths: dict[str, Any]) -> None:
    report = two_paths
    for name, truth in TRUTH.items():
        found = report["joint"][f"Zc*{name}"]
        assert abs(found["value"] - truth) < 4 * found["sigma"], (name, found)
    alone = [run["alone"]["Zc*J2"]["sigma"] for run in report["runs"]]
    assert report["joint"]["Zc*J2"]["sigma"] < 0.2 * alone[0]
    assert sum(run["share"] for run in report["runs"]) == pytest.approx(1.0)
    for name in report["joint"]:
        assert sum(run["shares"][name] for run in report["runs"]) == pytest.approx(1.0)
    assert report["agree"] and all(run["tension_sigma"] < 3 for run in report["runs"])
    covariance = np.array(report["covariance"])
    assert np.sqrt(covariance[0, 0]) == pytest.approx(report["joint"]["Zc*J"]["sigma"], rel=1e-6)
    assert "each bond once" in report["convention"] or "every bond counted once" in report["convention"]


def test_runs_of_different_magnets_are_said_to_disagree_in_table_and_exit_code(archive: Path) -> None:
    sources = ["--source", str(archive / "runs"), "--source", str(archive / "other")]
    done = asked(archive, "--joint", "1", "3", *sources)
    assert done.return_value == 1, done.output
    assert "!" in done.stdout and "Zc*J alone" in done.stdout and "share" in done.stdout
    said = re.search(r"of chi-square, ([\d.]+) sigma", done.stdout)
    assert said is not None and float(said[1]) > 5


def test_a_temperature_is_that_of_the_run_it_is_told_for(archive: Path, two_paths: dict[str, Any]) -> None:
    arguments = ("--joint", "1", "2", "--temperature", "2=200", "--source", str(archive / "runs"), "--json")
    cold, warm = two_paths["runs"], json.loads(asked(archive, *arguments).stdout)["runs"]
    assert [run["temperature_K"] for run in cold] == [0.0, 0.0]
    assert [run["temperature_K"] for run in warm] == [0.0, 200.0]
    assert warm[0]["alone"] == cold[0]["alone"]
    assert warm[1]["alone"] != cold[1]["alone"]


def test_a_run_that_is_not_there_ends_the_process_with_a_sentence_and_code_2(archive: Path) -> None:
    done = ended(archive, "1", "9")
    assert done.returncode == 2
    assert "no run '9'" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("1", "2"), "without --joint"),
        (("--joint", "1"), "got 1 run"),
        (("--joint", "1", "9"), "no run '9'"),
        (("--joint", "1", "1"), "the same run twice"),
        (("--joint", "1", "2", "--temperature", "7=40"), "expected RUN=KELVIN"),
        (("--joint", "1", "2", "--model", "dho"), "temperature_K"),
    ],
)
def test_what_is_asked_wrongly_is_said_in_one_sentence(
    archive: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = asked(archive, *arguments, "--source", str(archive / "runs"))
    assert said in str(done.exception)
    assert type(done.exception).__name__ == "ConfigurationError"
