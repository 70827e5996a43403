"""How long ``streamproc train phase-map`` takes, from CIF files to report: wall and processor time.

The CIF files are the first N of the Li-Mn-Ti-O-F set, or those of the shipped system for N = 4. On a machine
that does other work meanwhile the wall time says little; processor time over two cores bounds it from below.
Usage: python benchmarks/science/training_time.py [--phases 4 12 56] [--out DIR]
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from several_models import DATA, needs

WANTED_MIN = {4: 10, 12: 30}


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--data", type=Path, default=DATA, help="folder of measured data, for its CIF files")
    made.add_argument("--phases", type=int, nargs="+", default=[4, 12, 56])
    made.add_argument("--out", type=Path, help="keep the models here")
    arguments = made.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for phases in arguments.phases:
            timed(phases, (arguments.out or Path(folder)) / str(phases), arguments.data)


def timed(phases: int, out: Path, data: Path) -> None:
    options: list[str] = []
    if phases != 4:
        files = sorted(needs(data / "xrd_autoanalyzer" / "references").glob("*.cif"))[:phases]
        options = ["--cif", *map(str, files), "--wavelength", "1.5406", "--ka2", "--range", "10", "100"]
    command = [sys.executable, "-m", "streamproc.models.phase_map.command", *options, "--out", str(out)]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True)
    wall = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    limit = WANTED_MIN.get(phases, 30)
    print(
        f"{phases} phases: {wall / 60:.1f} minutes (wanted <= {limit}), processor {cpu / 60:.1f} minutes, "
        f"load {os.getloadavg()[2]:.1f}, model {(out / 'model.onnx').stat().st_size / 1e6:.1f} MB",
        flush=True,
    )


if __name__ == "__main__":
    main()
