"""A detector's file writer in its own process: one JSON command per line in, one "done" per line out.

Row r holds ``r * 1000 + 1`` plus the pixel's own number modulo 997: never zero, never another row's values.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np


def frame(row: int, shape: tuple[int, ...]) -> np.ndarray:
    return (np.arange(np.prod(shape), dtype="u4") % 997 + row * 1000 + 1).reshape(shape)


class LiveWriter:
    """The other end of the process."""

    def __init__(self, path: Path, shape: tuple[int, int] = (30, 41), **options: Any) -> None:
        self.shape = shape
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._send(do="create", path=str(path), shape=shape, **options)

    def __enter__(self) -> LiveWriter:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def grow(self, rows: int) -> None:
        self._send(do="grow", rows=rows)

    def write(self, row: int, blank: bool = False) -> np.ndarray:
        self._send(do="write", row=row, blank=blank)
        return frame(row, self.shape)

    def swmr(self) -> None:
        self._send(do="swmr")

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        self._send(do="close")

    def _send(self, **command: Any) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer.strip() == "done", answer


def early(file: Any, shape: tuple[int, ...], chunks: tuple[int, ...]) -> Any:
    """Make a dataset of ten rows whose chunks are all stored, as fill value, from the beginning."""
    import h5py

    del file["/entry/data/data"]
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk(chunks)
    plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    space = h5py.h5s.create_simple((10, *shape))
    h5py.h5d.create(file.id, b"/entry/data/data", h5py.h5t.STD_U32LE, space, plist)
    return file["/entry/data/data"]


def main() -> None:
    import h5py
    import hdf5plugin

    file: Any = None
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "create":
            shape = tuple(command["shape"])
            file = h5py.File(command["path"], "w", libver=command.get("libver", "latest"))
            filters = hdf5plugin.Bitshuffle(cname="lz4") if command.get("compressed") else {}
            chunks = (command.get("rows_per_chunk", 1), *shape)
            dataset = file.create_dataset(
                "/entry/data/data", (0, *shape), "u4", chunks=chunks, maxshape=(None, *shape), **filters
            )
            if command.get("early"):
                dataset = early(file, shape, chunks)
            file.flush()
        elif command["do"] == "swmr":
            file.swmr_mode = True
        elif command["do"] == "grow":
            dataset.resize(command["rows"], 0)
            dataset.flush()
        elif command["do"] == "write":
            row = command["row"]
            if row >= dataset.shape[0]:
                dataset.resize(row + 1, 0)
            dataset[row] = 0 if command["blank"] else frame(row, shape)
            dataset.flush()
        elif command["do"] == "close":
            file.close()
        print("done", flush=True)


if __name__ == "__main__":
    main()
