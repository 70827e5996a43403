"""Result documents as the service publishes them, made by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

NamedDocument = tuple[str, dict[str, Any]]
Make = Callable[..., list[NamedDocument]]

PHASES = ("corundum", "zincite")


def _descriptor(uid: str) -> NamedDocument:
    number = {"dtype": "number", "shape": [], "source": "phase_map"}
    keys: dict[str, Any] = {}
    for name in (*PHASES, "amorphous"):
        for ending in ("", "_sigma", "_lo90", "_hi90"):
            keys[name + ending] = {**number, "units": "1"}
    keys["rwp"] = {**number, "units": "1"}
    keys["in_domain"] = {"dtype": "boolean", "shape": [], "source": "phase_map"}
    keys["reasons"] = keys["model"] = {"dtype": "string", "shape": [], "source": "phase_map"}
    keys["sample_x"] = keys["sample_y"] = {**number, "units": "mm"}
    hints = {"phase_map": {"fields": list(PHASES)}, "sample_x": {"fields": ["sample_x"]}}
    doc = {
        "uid": f"{uid}-d",
        "run_start": uid,
        "name": "primary",
        "time": 0.0,
        "data_keys": keys,
        "hints": hints,
    }
    return "descriptor", doc


def _data(x: float, y: float, share: float, trusted: bool) -> dict[str, Any]:
    data: dict[str, Any] = {
        "sample_x": x,
        "sample_y": y,
        "rwp": 0.1,
        "in_domain": trusted,
        "model": "m 1 abc",
    }
    data["reasons"] = "" if trusted else "unknown-material"
    for name, value in zip((*PHASES, "amorphous"), (share, 1 - share, 0.0), strict=True):
        data |= {
            name: value,
            f"{name}_sigma": 0.01,
            f"{name}_lo90": value - 0.02,
            f"{name}_hi90": value + 0.02,
        }
    return data


def _documents(
    uid: str = "run", columns: int = 3, rows: int = 2, motors: int = 2, doubtful: tuple[int, ...] = ()
) -> Iterator[NamedDocument]:
    n = columns * rows
    dimensions = [[["sample_y"], "primary"], [["sample_x"], "primary"]][2 - motors :]
    yield "start", {
        "uid": uid, "time": 0.0, "original_run_uid": f"raw-{uid}", "num_points": n, "sample": "mixture",
        "scan_id": 7, "hints": {"dimensions": dimensions or [[["time"], "primary"]]},
        "streamproc": {"analysis": "phase-map"},
    }  # fmt: skip
    yield _descriptor(uid)
    for i in range(n):
        data = _data(float(i % columns), float(i // columns), (i + 1) / (n + 1), i + 1 not in doubtful)
        event = {"uid": f"{uid}-{i}", "descriptor": f"{uid}-d", "seq_num": i + 1, "time": 0.0, "data": data}
        yield "event", event
    reasons: dict[str, Any] = {"failed_reasons": [], "dropped_reasons": []}
    ledger = {"expected": n, "done": n, "failed": 0, "dropped": 0, **reasons}
    yield (
        "stop",
        {"uid": f"{uid}-s", "run_start": uid, "exit_status": "success", "ledger": {"primary": ledger}},
    )


@pytest.fixture
def documents() -> Make:
    """Makes the documents of one result run."""
    return lambda **options: list(_documents(**options))
