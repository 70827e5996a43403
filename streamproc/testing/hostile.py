"""A corpus of malformed, hostile, truncated, oversized, out-of-order and duplicate messages.

None of it may end a service, execute anything, read a file outside the allowed folders, or disturb the good
documents before and after it. Each entry says what must become of it at the least.
"""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from streamproc.testing.hostile_runs import (
    Expectation,
    HostileRun,
    hostile_paths,
    hostile_runs,
)

__all__ = [
    "Expectation",
    "HostileMessage",
    "HostileRun",
    "hostile_messages",
    "hostile_paths",
    "hostile_runs",
    "poison",
    "wire",
]


@dataclass(frozen=True, slots=True)
class HostileMessage:
    """One message of the corpus, as bytes."""

    label: str
    raw: bytes
    expectation: Expectation


def wire(name: Any, doc: Any) -> bytes:
    """Return the bytes of a message without any of the checks an honest producer makes."""
    packed: bytes = msgpack.packb([name, doc], default=_array_map)
    return packed


def hostile_messages(canary: Path, *, seed: int = 0, large: bool = True) -> Iterator[HostileMessage]:
    """Iterate over the corpus as messages: bytes that are no document, then the documents of hostile runs.

    Parameters
    ----------
    canary : Path
        A file that does not exist; pickles in the corpus create it when something executes them.
    seed : int
        Seed of the random bytes.
    large : bool
        Whether to include the entries of several megabytes.
    """
    yield from _noise(seed)
    yield from _bombs(large)
    yield from _arrays(canary)
    yield from _not_documents()
    for run in hostile_runs():
        for i, (name, doc) in enumerate(run.pairs):
            last = i == len(run.pairs) - 1
            yield HostileMessage(
                f"{run.label} [{i}]", wire(name, doc), run.expectation if last else "harmless"
            )


def _event_with(value: Any) -> bytes:
    doc = {
        "uid": "run-x-e", "descriptor": "run-x-d", "seq_num": 1, "time": 1.7e9, "filled": {},
        "data": value, "timestamps": {"det": 1.7e9},
    }  # fmt: skip
    return wire("event", doc)


# -- bytes -------------------------------------------------------------------------------------------------


def _noise(seed: int) -> Iterator[HostileMessage]:
    source = random.Random(seed)
    for size in (1, 7, 64, 1000, 65_536, 100_000):
        # 0xc1 is the one byte msgpack never uses, so noise that begins with it cannot be valid by chance
        yield HostileMessage(f"{size} random bytes", b"\xc1" + source.randbytes(size - 1), "undecodable")
    yield HostileMessage("empty", b"", "undecodable")
    whole = _event_with({"det": np.arange(64.0)})
    for end in (1, 2, 10, len(whole) // 2, len(whole) - 1):
        yield HostileMessage(f"message cut off after {end} bytes", whole[:end], "undecodable")
    yield HostileMessage("bytes after the message", whole + b"\x00", "undecodable")
    yield HostileMessage("two messages in one", whole + whole, "undecodable")
    yield HostileMessage("JSON instead of msgpack", b'["start", {"uid": "a", "time": 1.0}]', "undecodable")
    yield HostileMessage("a pickle instead of msgpack", pickle.dumps(("start", {"uid": "a"})), "undecodable")


def _bombs(large: bool) -> Iterator[HostileMessage]:
    start = b"\x92\xa5start"
    for kind, head in {"arrays": b"\x91", "maps": b"\x81\xa1k"}.items():
        for depth in (100, 100_000):
            yield HostileMessage(f"{depth} nested {kind}", start + head * depth + b"\xc0", "undecodable")
    lengths = {
        "array of 2**32-1": b"\xdd\xff\xff\xff\xff",
        "map of 2**32-1": b"\xdf\xff\xff\xff\xff",
        "text of 2**32-1 bytes": b"\xdb\xff\xff\xff\xff",
        "bytes of 2**32-1": b"\xc6\xff\xff\xff\xff",
        "extension of 2**32-1 bytes": b"\xc9\xff\xff\xff\xff\x01",
    }
    for label, head in lengths.items():
        yield HostileMessage(f"{label} declared, nothing behind", start + head, "undecodable")
        yield HostileMessage(f"{label} declared at the top", head + b"\x00" * 16, "undecodable")
    yield HostileMessage("extension type", start + b"\xd4\x01\x00", "undecodable")
    yield HostileMessage("timestamp for a document", start + b"\xd6\xff\x00\x00\x00\x00", "undecodable")
    if large:
        many = b"\xdd" + (3_000_000).to_bytes(4, "big") + b"\x90" * 3_000_000
        yield HostileMessage("three million empty lists", start + many, "undecodable")


class _Canary:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (str(self.path), "w")


def poison(canary: Path) -> bytes:
    """Return a pickle that creates the file ``canary`` when something loads it."""
    return pickle.dumps(_Canary(canary))


def _arrays(canary: Path) -> Iterator[HostileMessage]:
    pickled = poison(canary)
    pointer = b"\x41" * 8

    def entry(label: str, **fields: Any) -> HostileMessage:
        array = {b"nd": True, b"type": "<f8", b"kind": b"", b"shape": [1], b"data": b"\x00" * 8}
        array.update({key.encode(): value for key, value in fields.items()})
        return HostileMessage(label, _event_with({"det": array}), "undecodable")

    yield entry("object array with a pickle", type="|O", kind=b"O", data=pickled)
    yield entry("pickle under another type", type="<f8", kind=b"O", data=pickled)
    yield entry("object type without the kind", type="|O", data=pointer)
    yield entry("object type, kind as text", type="|O", kind="O", data=pickled)
    yield entry("object scalar", nd=False, type="|O", data=pointer)
    yield entry("structured with an object", kind=b"V", type=[["a", "<i4"], ["b", "|O"]], data=b"\x41" * 12)
    nested = [["a", [["b", "|O"]]]]
    yield entry("structured with an object deep inside", kind=b"V", type=nested, data=pointer)
    yield entry("sub-array of objects", kind=b"V", type=[["a", "|O", [2]]], data=pointer * 2)
    yield entry("object under its long name", type="object", data=pointer)
    yield entry("comma list with an object", type="i4,O", data=b"\x41" * 12)
    yield entry("datetime", type="<M8[ns]")
    yield entry("type that is no type", type="__import__('os')")
    yield entry("type of 200 kB", type="<f8," * 50_000)
    yield entry("type that is a number", type=7)
    yield entry("negative shape", shape=[-1])
    yield entry("shape whose product overflows", shape=[2**32, 2**32])
    yield entry("shape beyond 64 bit", shape=[2**63])
    yield entry("shape of a terabyte", shape=[2**40])
    yield entry("shape of fractions", shape=[1.5])
    yield entry("shape of texts", shape=["1"])
    yield entry("shape with a thousand dimensions", shape=[1] * 1000)
    yield entry("zero times enormous shape", shape=[0, 2**62, 2**62], data=b"")
    yield entry("buffer shorter than its shape", shape=[100])
    yield entry("no buffer", data=None)
    yield entry("text for a buffer", data="00000000")
    yield entry("itemsize of two gigabytes", type="|S2147483647", data=b"")
    complex_map = {b"complex": b"__import__('os').system('true')"}
    message = _event_with({"det": complex_map})
    yield HostileMessage("code for a complex number", message, "undecodable")


def _not_documents() -> Iterator[HostileMessage]:
    values: dict[str, Any] = {
        "null": None, "a number": 7, "a text": "start", "a list of one": ["start"], "an empty list": [],
        "a list of three": ["start", {}, {}], "a map": {"name": "start"},
        "a list for a document": ["start", []],
        "null for a document": ["start", None], "a number for a name": [1, {}], "null for a name": [None, {}],
        "bytes for a name": [b"start", {}], "an empty name": ["", {}], "a list for a name": [["start"], {}],
    }  # fmt: skip
    for label, value in values.items():
        yield HostileMessage(label, msgpack.packb(value), "undecodable")
    yield HostileMessage("a name of 100 kB", wire("x" * 100_000, {}), "undecodable")
    yield HostileMessage("a name with control characters", wire("start\x00\x1b[31m", {}), "skipped")
    yield HostileMessage("integer keys", wire("start", {1: 2, "uid": "a", "time": 1.0}), "undecodable")
    yield HostileMessage("bytes keys", wire("start", {b"uid": "a", b"time": 1.0}), "undecodable")
    yield HostileMessage("text that is not UTF-8", b"\x92\xa5start\x81\xa3uid\xa2\xff\xfe", "undecodable")
    agent = {"action": "os.system", "args": ["true"], "kwargs": {}}
    yield HostileMessage("an agent's message", wire("agent_suggestions", agent), "skipped")


def _array_map(value: Any) -> Any:
    """Return the form msgpack-numpy gives an array."""
    if isinstance(value, np.ndarray):
        return {
            b"nd": True, b"type": value.dtype.str, b"kind": b"", b"shape": value.shape,
            b"data": value.tobytes(),
        }  # fmt: skip
    raise TypeError(type(value).__name__)
