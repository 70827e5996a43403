"""`streamproc excitation-fit --joint`: archived runs, one set of couplings, and whether the runs agree."""

from __future__ import annotations

import json
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


def test_two_paths_together_tell_what_one_alone_does_not(archive: Path) -> None:
    done = asked(archive, "--joint", "1", "2", "--source", str(archive / "runs"), "--json")
    assert done.return_value == 0, done.output
    report = json.loads(done.stdout)
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
    report = json.loads(asked(archive, "--joint", "1", "3", *sources, "--json").stdout)
    assert not report["agree"] and report["tension_sigma"] > 5


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
