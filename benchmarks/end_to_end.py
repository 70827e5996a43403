"""End-to-end latency on the real broker: 1 Mpx frames at 10 Hz, inline and in an HDF5 file, in turn.

From the Kafka time of the document that completed a reading to the publication of its result; frames/s as
the reader of the results topic sees them. Broker, simulated beamline and service share the cores.
Usage: python benchmarks/end_to_end.py [--points 100] [--rate 10]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path


def measure(storage: str, points: int, rate_Hz: float) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        command = [sys.executable, "-m", "streamproc", "demo", "--points", str(points), "--storage", storage]
        command += ["--rate", str(rate_Hz), "--json", str(out)]
        ended = subprocess.run(command, capture_output=True, text=True)
        if ended.returncode:
            raise SystemExit(
                f"{' '.join(command)} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}"
            )
        return dict(json.loads(out.read_text()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--rate", type=float, default=10.0)
    arguments = parser.parse_args()
    print(f"{arguments.points} frames of 1043 x 981 pixels at {arguments.rate:g} Hz")
    print(f"{'storage':<10}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'frames/s':>10}{'done':>6}")
    for storage in ("inline", "hdf5"):
        got = measure(storage, arguments.points, arguments.rate)
        latency, ledger = got["latency_ms"], got["ledger"]
        row = "".join(f"{latency[k]:>9.1f}" for k in ("p50", "p95", "p99"))
        print(f"{storage:<10}{row}{got['frames_per_s']:>10.2f}{ledger['done']:>6}")


if __name__ == "__main__":
    main()
