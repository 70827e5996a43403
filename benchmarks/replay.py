"""Replay against the analysis alone, memory over a long run, and how well `real` keeps the times.

    python benchmarks/replay.py [--events 10000]

The analysis alone takes frames from memory on as many threads as the replay has; half of them before the
replay and half after it, so that a machine that gets busier does not favour either.
"""

# ruff: noqa: E402  (threads are bounded before numpy is imported)
from __future__ import annotations

import argparse
import os
import resource
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import h5py
import structlog

from streamproc.analysis import Frame
from streamproc.cli.wiring import load_analysis
from streamproc.demo.acquisition import frame_source
from streamproc.demo.run import demo_config
from streamproc.demo.sample import grid_points
from streamproc.documents import Position
from streamproc.replay import MAX_SPEED, NoTarget, replay_run
from streamproc.runs import Run
from streamproc.settings import load_settings
from streamproc.testing.memory import MemoryArchive

DISTINCT = 50
WARM_UP = 500
KEY = "pilatus"


def rss_MB() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


class Run10k:
    """A run of many events whose frames are rows of one HDF5 file, read again and again."""

    def __init__(self, file: Path, shape: tuple[int, int], events: int, step_s: float) -> None:
        self.file, self.shape, self.events, self.step_s = file, shape, events, step_s

    def __iter__(self) -> Iterator:
        yield "start", {"uid": "bench", "time": 0.0, "scan_id": 1}
        array = {"source": "x", "dtype": "array", "dtype_numpy": "<u2", "shape": [1, *self.shape]}
        number = {"source": "x", "dtype": "number", "shape": []}
        keys = {KEY: {**array, "external": "STREAM:"}, "x": number}
        yield "descriptor", {
            "uid": "d", "run_start": "bench", "name": "primary", "time": 0.0, "data_keys": keys,
            "configuration": {}, "hints": {}, "object_keys": {},
        }  # fmt: skip
        for n in range(self.events):
            if n % DISTINCT == 0:
                yield "stream_resource", {
                    "uid": f"s{n}", "run_start": "bench", "data_key": KEY, "mimetype": "application/x-hdf5",
                    "uri": f"file://localhost{self.file}", "parameters": {"dataset": "/entry/data/data"},
                }  # fmt: skip
            row = n % DISTINCT
            yield "stream_datum", {
                "uid": f"s{n - row}/{row}", "stream_resource": f"s{n - row}", "descriptor": "d",
                "indices": {"start": row, "stop": row + 1}, "seq_nums": {"start": n + 1, "stop": n + 2},
            }  # fmt: skip
            time_s = self.step_s * (n + 1)
            yield "event", {
                "uid": f"e{n}", "descriptor": "d", "seq_num": n + 1, "time": time_s, "data": {"x": float(n)},
                "timestamps": {"x": time_s}, "filled": {},
            }  # fmt: skip
        yield "stop", {
            "uid": "stop", "run_start": "bench", "time": self.step_s * (self.events + 2),
            "exit_status": "success", "num_events": {"primary": self.events},
        }  # fmt: skip

    def __getitem__(self, at: int):
        return next(iter(self))


class Lazy(MemoryArchive):
    """An archive whose run is made as it is read: nothing of it is kept."""

    def __init__(self, run: Run10k) -> None:
        self._runs, self._run = [[("start", {"uid": "bench", "time": 0.0}), *list(run)[-1:]]], run
        super().__init__(*self._runs)

    def documents(self, run):
        return iter(self._run)


def alone(analysis, frames, count: int, threads: int, batch: int) -> float:
    """Seconds that the analysis takes for ``count`` frames from memory."""
    run = Run("bench", {"uid": "bench", "time": 0.0}, Position("x", 0, 0))
    run.descriptors["d"] = next(
        d for n, d in Run10k(Path(), frames[0].array.shape, 0, 0.1) if n == "descriptor"
    )
    begun = analysis.begin(run)
    chunks = [
        [frames[(at + k) % len(frames)] for k in range(min(batch, count - at))]
        for at in range(0, count, batch)
    ]
    begun.process(chunks[0])
    began_s = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        for results in pool.map(begun.process, chunks):
            begun.update(results)
    return time.perf_counter() - began_s


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--paced", type=int, default=400, help="events of the paced replay, 20 a second")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name), options.events, options.paced)


def measure(folder: Path, events: int, paced: int) -> None:
    points = grid_points(DISTINCT, 0)
    expose = frame_source(folder, points, 0)
    images = [expose(n) for n in range(DISTINCT)]
    (folder / "frames").mkdir()
    file = folder / "frames" / "frames.h5"
    with h5py.File(file, "w") as out:
        made = out.create_dataset(
            "/entry/data/data", (DISTINCT, *images[0].shape), "<u2", chunks=(1, *images[0].shape)
        )
        for n, image in enumerate(images):
            made[n] = image
    config = folder / "beamline.toml"
    config.write_text(demo_config("none:1", 0, "none", from_beginning=True))
    settings = load_settings(config)
    analysis = load_analysis("phase-map", settings)
    threads, batch = settings.service.workers, settings.inference.max_batch
    frames = [Frame("bench", "primary", n + 1, KEY, image, 0.0) for n, image in enumerate(images)]
    # A fresh installation compiles its kernels the first time they are called, which takes memory of its own.
    replayed(Lazy(Run10k(file, images[0].shape, WARM_UP, 0.1)), analysis, settings, MAX_SPEED)
    half = events // 2
    cpu_s = -time.process_time()
    spent_s = alone(analysis, frames, half, threads, batch)
    cpu_s += time.process_time()
    replay_cpu_s = -time.process_time()
    outcome, memory = replayed(
        Lazy(Run10k(file, images[0].shape, events, 0.1)), analysis, settings, MAX_SPEED
    )
    replay_cpu_s += time.process_time()
    cpu_s -= time.process_time()
    spent_s += alone(analysis, frames, events - half, threads, batch)
    cpu_s += time.process_time()
    assert outcome.good and outcome.frames == events, (outcome.reason, outcome.ledger)
    alone_Hz, replay_Hz = events / spent_s, events / outcome.elapsed_s
    load = os.getloadavg()[0]
    print(
        f"{events} events of {images[0].shape} uint16 from HDF5, {threads} threads, load average {load:.1f}"
    )
    print(f"analysis alone   {alone_Hz:8.1f} frames/s (frames in memory)")
    print(f"replay, max      {replay_Hz:8.1f} frames/s: ratio {replay_Hz / alone_Hz:.3f} (wanted 0.9)")
    each, replay_each = cpu_s / events * 1000, replay_cpu_s / events * 1000
    share = each / replay_each
    print(f"CPU time         {each:8.2f} ms a frame alone, {replay_each:.2f} ms in replay: ratio {share:.3f}")
    tenth, end, most = memory[len(memory) // 10], memory[-1], max(memory)
    print(f"memory (RSS)     {tenth:8.1f} MB after a tenth, {end:.1f} MB at the end, {most:.1f} MB at most")
    outcome, _ = replayed(Lazy(Run10k(file, images[0].shape, paced, 0.05)), analysis, settings, 1.0)
    assert outcome.good and outcome.late_p95_s is not None
    late_ms, taken_ms = outcome.late_p95_s * 1000, outcome.taken_p95_s * 1000
    print(
        f"replay, real     {paced} events, 20 a second: times kept within {late_ms:.2f} ms p95 (wanted 5), "
        f"taken by the loop within {taken_ms:.2f} ms; load average {os.getloadavg()[0]:.1f}"
    )


def replayed(archive, analysis, settings, speed: float):
    memory: list[float] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            memory.append(rss_MB())

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        ref = next(iter(archive.runs()))
        outcome = replay_run(archive, ref, analysis, NoTarget(), settings=settings, speed=speed)
    finally:
        over.set()
        watching.join()
    return outcome, [*memory, rss_MB()]


if __name__ == "__main__":
    main()
