"""What reading a frame costs, side by side in one run: our reader against the usual way, per storage form.

    python benchmarks/frames.py [--size 1024] [--frames 32] [--rounds 5] [--json FILE]

Every rival reads the same frames; rounds are interleaved and their order rotates. Frames during which the
process was descheduled (wall time above 1.15 x CPU time) are dropped; a figure is the median of the rest, in
MB of decoded pixels per second, one thread. Files are in the page cache and kept open by both sides, unless a
row says otherwise. Frames are Poisson counts (mean 2) with rings, as detectors give them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import tifffile

from streamproc.documents import Position
from streamproc.frames.paths import PathPolicy
from streamproc.frames.readers import FrameReader
from streamproc.frames.requests import FrameRequest, Inline, Locator, StreamSlice

KEY = "/entry/data/data"
Read = Callable[[int], Any]

FILTERS: Mapping[str, Any] = {
    "plain": {},
    "bslz4": hdf5plugin.Bitshuffle(cname="lz4"),
    "bszstd": hdf5plugin.Bitshuffle(cname="zstd"),
    "lz4": hdf5plugin.LZ4(),
    "gzip1": {"compression": "gzip", "compression_opts": 1, "shuffle": True},
}


def simulated(frames: int, size: int, dtype: str) -> np.ndarray:
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:size, :size]
    radius = np.hypot(x - size / 2, y - size / 2)
    mean = 2 + 40 * np.exp(-(((radius % (size / 9)) - size / 20) ** 2) / 8)
    return np.stack([rng.poisson(mean) for _ in range(frames)]).astype(dtype)


def request(locator: Locator, shape: tuple[int, ...], index: int) -> FrameRequest:
    return FrameRequest(
        run_uid="bench",
        stream="primary",
        seq_num=index + 1,
        key="det",
        data_key={"shape": [1, *shape]},
        locator=locator,
        time_s=0.0,
        position=Position("bench", 0, index),
    )


def by_reader(reader: FrameReader, mimetype: str, uri: Path, parameters: Any, shape: tuple[int, ...]) -> Read:
    resource = {"uid": str(uri), "mimetype": mimetype, "uri": str(uri), "parameters": parameters}
    return lambda i: reader.read(request(StreamSlice(resource, i), shape, i))


def rivals(folder: Path, data: np.ndarray, reader: FrameReader) -> dict[str, Read]:
    """Write the frames in every form; return how each rival reads frame i."""
    shape = data.shape[1:]
    reads: dict[str, Read] = {
        "inline array, ours": lambda i: reader.read(request(Inline(data[i]), shape, i)),
        "inline array, copy (memcpy)": lambda i: data[i].copy(),
    }
    for name, options in FILTERS.items():
        path = folder / f"{name}.h5"
        with h5py.File(path, "w", libver="latest") as file:
            file.create_dataset(KEY, data=data, chunks=(1, *shape), **options)
        dataset = h5py.File(path, "r", locking=False)[KEY]
        out = np.empty(shape, data.dtype)
        reads[f"HDF5 {name}, ours"] = by_reader(reader, "application/x-hdf5", path, {"dataset": KEY}, shape)
        reads[f"HDF5 {name}, h5py d[i]"] = lambda i, d=dataset: d[i]
        reads[f"HDF5 {name}, h5py read_direct, reused array"] = lambda i, d=dataset, o=out: d.read_direct(
            o, np.s_[i]
        )
    for i, frame in enumerate(data):
        tifffile.imwrite(folder / f"img_{i:06d}.tiff", frame)
        np.save(folder / f"npy_{i}.npy", frame)
    tiff = "multipart/related;type=image/tiff"
    reads["TIFF, ours"] = by_reader(reader, tiff, folder, {"template": "img_{:06d}.tiff"}, shape)
    reads["TIFF, tifffile.imread"] = lambda i: tifffile.imread(folder / f"img_{i:06d}.tiff")
    npy = "multipart/related;type=application/x-npy"
    reads["NPY, ours"] = by_reader(reader, npy, folder / "npy", {}, shape)
    reads["NPY, numpy.load"] = lambda i: np.load(folder / f"npy_{i}.npy")
    reads["HDF5 bslz4, h5py, file opened per frame"] = lambda i: _opened(folder / "bslz4.h5", i)
    return reads


def _opened(path: Path, i: int) -> np.ndarray:
    with h5py.File(path, "r", locking=False) as file:
        return file[KEY][i]


def measure(
    reads: dict[str, Read], frames: int, frame_bytes: int, rounds: int
) -> dict[str, dict[str, float]]:
    """Return MB/s and ms per frame of each rival: medians over all rounds."""
    names = list(reads)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for round_ in range(rounds + 1):
        for name in names[round_ % len(names) :] + names[: round_ % len(names)]:
            timed = [_timed(reads[name], i) for i in range(frames)]
            if round_:  # the first round warms up: files opened, codecs loaded
                seconds[name] += [wall for wall, cpu in timed if wall <= 1.15 * cpu + 1e-5]
    medians = {name: statistics.median(s) for name, s in seconds.items() if s}
    return {n: {"MB_per_s": frame_bytes / s / 1e6, "ms_per_frame": s * 1e3} for n, s in medians.items()}


def _timed(read: Read, i: int) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.thread_time()
    read(i)
    return time.perf_counter() - wall, time.thread_time() - cpu


def threaded(read: Read, frames: int, threads: int) -> float:
    """Return seconds per frame of several threads that share the frames of one file."""

    def work(first: int) -> None:
        for i in range(first, frames, threads):
            read(i)

    workers = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
    start = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return (time.perf_counter() - start) / frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", type=int, default=1024, help="frames are size x size pixels")
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", default="u2")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    data = simulated(args.frames, args.size, args.dtype)
    with tempfile.TemporaryDirectory() as folder:
        reader = FrameReader(PathPolicy((Path(folder),)))
        reads = rivals(Path(folder), data, reader)
        for name, read in reads.items():
            got = read(1)
            if got is not None:
                np.testing.assert_array_equal(got, data[1], err_msg=name)
        rows = measure(reads, args.frames, data[0].nbytes, args.rounds)
        for name in ("HDF5 bslz4, ours", "HDF5 bslz4, h5py d[i]"):
            s = min(threaded(reads[name], args.frames, 2) for _ in range(args.rounds))
            rows[f"{name}, 2 threads"] = {"MB_per_s": data[0].nbytes / s / 1e6, "ms_per_frame": s * 1e3}
        reader.close()
    print(f"{args.frames} frames {args.size} x {args.size} {args.dtype} ({data[0].nbytes / 1e6:.1f} MB each)")
    for name, row in rows.items():
        print(f"{name:48s} {row['MB_per_s']:9.0f} MB/s {row['ms_per_frame']:8.3f} ms")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
