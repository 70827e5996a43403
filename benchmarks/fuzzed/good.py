"""Good runs of 1-D patterns in every storage form, and the order in which all messages are sent."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamproc.inference.registry import find_model
from streamproc.settings import InferenceSettings
from streamproc.testing.fuzzing import Fuzzer, FuzzMessage
from streamproc.testing.makers import Pair, datum_run, inline_run, page_run, stream_run
from streamproc.transports.codec import encode

EVENTS = 6
AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class GoodRun:
    """A sound run: its uid and the messages of its documents."""

    uid: str
    raws: tuple[bytes, ...]


def good_runs(count: int, folder: Path, name: str = "good") -> list[GoodRun]:
    """Return runs of patterns that the shipped model was released with; frame files go to ``folder``."""
    with np.load(find_model("phase_qpa", InferenceSettings()).with_name("golden.npz")) as golden:
        sound = golden["x"][golden["x"].any(axis=1)].astype(float)
    axis = np.linspace(20.0, 100.0, sound.shape[1])
    runs = []
    for number in range(count):
        chosen = [sound[(number + i) % len(sound)] for i in range(EVENTS)]
        patterns = [np.round(pattern**2 * 1e5) for pattern in chosen]
        uid = f"{name}-{number}"
        pairs = _with_axis(_run(uid, patterns, folder), axis)
        runs.append(GoodRun(uid, tuple(encode(*pair) for pair in pairs)))
    return runs


def _run(uid: str, patterns: list[np.ndarray], folder: Path) -> list[Pair]:
    key = "intensity"
    form = int(uid.rpartition("-")[2]) % 4
    if form == 0:
        return inline_run(patterns, uid=uid, key=key)
    if form == 1:
        return page_run(patterns, uid=uid, key=key)
    if form == 2:
        return stream_run(patterns, folder / f"{uid}.h5", uid=uid, key=key)
    (folder / uid).mkdir()
    return datum_run(patterns, folder / uid, uid=uid, key=key)


def _with_axis(pairs: list[Pair], axis: np.ndarray) -> list[Pair]:
    """Add the axis of the patterns as a reading of every event."""
    for name, doc in pairs:
        if name == "descriptor":
            entry = {"source": "sim", "dtype": "array", "shape": [len(axis)], "units": "deg"}
            doc["data_keys"]["two_theta"] = entry
        elif name == "event":
            doc["data"]["two_theta"], doc["timestamps"]["two_theta"] = axis, doc["time"]
        elif name == "event_page":
            rows = len(doc["seq_num"])
            doc["data"]["two_theta"], doc["timestamps"]["two_theta"] = [axis] * rows, list(doc["time"])
    return pairs


def mixed(runs: Sequence[GoodRun], fuzzer: Fuzzer, hostile: int, seed: int) -> Iterator[FuzzMessage]:
    """Yield ``hostile`` fuzzed messages with the good runs spread among them, several runs at a time."""
    choose = random.Random(seed)
    good = list(_interleaved(runs, choose))
    places = sorted(choose.randrange(hostile) for _ in good)
    sent = 0
    for number, message in enumerate(fuzzer.messages(hostile)):
        while sent < len(good) and places[sent] <= number:
            yield good[sent]
            fuzzer.tell(good[sent])
            sent += 1
        yield message
    yield from good[sent:]


def _interleaved(runs: Sequence[GoodRun], choose: random.Random) -> Iterator[FuzzMessage]:
    waiting = [(run.uid.encode(), iter(run.raws)) for run in runs]
    going: list[tuple[bytes, Iterator[bytes]]] = []
    while waiting or going:
        while waiting and len(going) < AT_ONCE:
            going.append(waiting.pop(0))
        number = choose.randrange(len(going))
        key, raws = going[number]
        raw = next(raws, None)
        if raw is None:
            del going[number]
        else:
            yield FuzzMessage("good", raw, key)
