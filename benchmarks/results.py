"""How fast result documents become a table and files.

Usage: python benchmarks/results.py [--points 20000]
"""

from __future__ import annotations

import argparse
import io
import resource
import tempfile
import time
from pathlib import Path

from streamproc.analysis import Estimate, FrameResult, Output, Provenance
from streamproc.documents import Position
from streamproc.export import read_table
from streamproc.export.columnar import write_parquet
from streamproc.export.csvfile import write_csv
from streamproc.export.dataset import write_netcdf
from streamproc.export.nexus import write_nexus
from streamproc.ledger import Ledger
from streamproc.results import ResultRun
from streamproc.runs import Run

OUTPUTS = tuple(Output(f"q{n}", "estimate", "1", "", (), True, True) for n in range(6))


def documents(points: int):
    run = Run("raw", {"uid": "raw", "time": 1.7e9, "scan_id": 1}, Position("t", 0, 0))
    result = ResultRun(run, "primary", Provenance("bench", "1", "m", "s", "c"), OUTPUTS, {})
    yield result.start(run)
    for n in range(1, points + 1):
        values = {o.name: Estimate(n / 7, 0.1, True, "m", (0.0, 1.0)) for o in OUTPUTS}
        yield from result.event(FrameResult(n, values, True, (), "m:1"), 1.7e9 + n, {}, {})
    yield result.stop(run, Ledger(), "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=20_000)
    points = parser.parse_args().points
    pairs = list(documents(points))
    began_s = time.perf_counter()
    table = read_table(pairs)
    print(f"table: {points / (time.perf_counter() - began_s):,.0f} points/s, {len(table.columns)} columns")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        writers = {
            "csv": lambda: write_csv(table, io.StringIO()), "parquet": lambda: write_parquet(table, out),
            "netCDF": lambda: write_netcdf(table, out), "NeXus": lambda: write_nexus(table, out),
        }  # fmt: skip
        for name, write in writers.items():
            began_s = time.perf_counter()
            write()
            print(f"{name}: {points / (time.perf_counter() - began_s):,.0f} points/s")
    print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB, documents included")


if __name__ == "__main__":
    main()
