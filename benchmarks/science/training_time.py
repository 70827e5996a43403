"""How long the shipped models take to train, from the command to the report: wall and processor time.

Phase maps: ``streamproc train phase-map`` on the first N CIF files of the Li-Mn-Ti-O-F set, or on those of
the shipped system for N = 4. Excitations: ``streamproc train excitation-fit`` with their model.toml and no
further option. On a machine that does other work meanwhile the wall time says little; processor time over two
cores bounds it from below.
Usage: python benchmarks/science/training_time.py [--phases 4 12 56] [--excitations] [--out DIR]
       python benchmarks/science/training_time.py --phases --excitations dho magnon-square
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

WANTED_MIN = {4: 10, 12: 30, 56: 30}
WANTED_EXCITATION_MIN = 10
EXCITATIONS = ("dho", "magnon-square", "magnon-chain", "magnon-honeycomb", "phonon-fcc")
MODELS = Path(__file__).parents[2] / "models"


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--data", type=Path, default=DATA, help="folder of measured data, for its CIF files")
    made.add_argument("--phases", type=int, nargs="*", default=[4, 12, 56])
    made.add_argument("--excitations", nargs="*", choices=EXCITATIONS, help="these models; without names all")
    made.add_argument("--out", type=Path, help="keep the models here")
    arguments = made.parse_args()
    excitations = EXCITATIONS if arguments.excitations == [] else arguments.excitations or ()
    with tempfile.TemporaryDirectory() as folder:
        out = arguments.out or Path(folder)
        for phases in arguments.phases:
            options = phase_map_options(phases, arguments.data)
            timed(f"{phases} phases", "phase-map", options, out / str(phases), WANTED_MIN.get(phases, 30))
        for name in excitations:
            options = ["--model", str(MODELS / name / "model.toml")]
            timed(name, "excitation-fit", options, out / name, WANTED_EXCITATION_MIN)


def phase_map_options(phases: int, data: Path) -> list[str]:
    if phases == 4:
        return []
    files = sorted(needs(data / "xrd_autoanalyzer" / "references").glob("*.cif"))[:phases]
    return ["--cif", *map(str, files), "--wavelength", "1.5406", "--ka2", "--range", "10", "100"]


def timed(what: str, kind: str, options: list[str], out: Path, limit_min: float) -> None:
    command = [sys.executable, "-m", "streamproc", "train", kind, *options, "--out", str(out)]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True)
    wall = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"{what}: {wall / 60:.1f} minutes (wanted <= {limit_min}), processor {cpu / 60:.1f} minutes, "
        f"load {os.getloadavg()[2]:.1f}, model {(out / 'model.onnx').stat().st_size / 1e6:.1f} MB",
        flush=True,
    )


if __name__ == "__main__":
    main()
