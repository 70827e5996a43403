"""A recorded scan of spectra through the service's own loop: every reading answered, the dispersion published."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from streamproc.models.excitations.oscillators.example import example_run

from streamproc.cli import _group

CONFIG = """
[analysis.excitation-fit]
axis_key = "energy"
temperature_K = 300
dispersion = "sine"
target_energy_sigma = 0.05
[analysis.excitation-fit.resolution]
fwhm = 1.5
"""


def recorded(folder: Path) -> Path:
    """The example's run as a suitcase-jsonl file."""
    run, frames = example_run()
    descriptor = dict(next(iter(run.descriptors.values())))
    lines = [("start", dict(run.start)), ("descriptor", descriptor)]
    for f in frames:
        data = {
            "spectrum": f.array.tolist(),
            "energy": np.asarray(f.readings["energy"]).tolist(),
            "q": f.readings["q"],
        }
        lines.append(("event", {
            "uid": f"e{f.seq_num}", "descriptor": descriptor["uid"], "seq_num": f.seq_num, "time": f.time_s,
            "data": data, "timestamps": dict.fromkeys(data, f.time_s), "filled": {},
        }))  # fmt: skip
    lines.append(("stop", {
        "uid": "s", "run_start": run.uid, "time": 1.7e9 + 20, "exit_status": "success",
        "num_events": {"primary": len(frames)},
    }))  # fmt: skip
    file = folder / f"{run.uid}.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    return file


def test_a_recorded_scan_is_answered_event_by_event_and_the_dispersion_follows(tmp_path):
    (tmp_path / "beamline.toml").write_text(CONFIG)
    out = tmp_path / "results.jsonl"
    asked = ["replay", str(recorded(tmp_path)), "--analysis", "excitation-fit"]
    asked += ["--config", str(tmp_path / "beamline.toml"), "--to", str(out)]
    done = CliRunner().invoke(_group, asked, prog_name="streamproc")
    assert done.exit_code == 0, done.output
    documents = [json.loads(line) for line in out.read_text().splitlines()]
    streams = {d["uid"]: d["name"] for kind, d in documents if kind == "descriptor"}
    events = [(streams[d["descriptor"]], d["data"]) for kind, d in documents if kind == "event"]
    answers = [data for stream, data in events if stream == "primary"]
    assert len(answers) == 6
    energies = [next(v for k, v in a.items() if k.endswith("energy_1")) for a in answers]
    q = np.array([0.2 + 0.12 * n for n in range(1, 7)])
    assert energies == pytest.approx(24 * np.sin(np.pi * q / 2), abs=0.2)
    branch = [data for stream, data in events if stream == "dispersion"][-1]
    found = {k.rsplit("-", 1)[-1]: v for k, v in branch.items()}
    value = next(v for k, v in found.items() if k.endswith("branch"))
    sigma = next(v for k, v in found.items() if k.endswith("branch_sigma"))
    assert value == pytest.approx(24.0, abs=4 * sigma)
