"""Decoding and encoding cost: our codec beside msgpack-numpy and a plain copy of the bytes.

Usage: ``python benchmarks/codec.py [--json]``. Rivals take turns in one process; the figures are medians.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import msgpack_numpy
import numpy as np

from streamproc.transports.codec import decode, encode

ROUNDS = 15


def _document(array: Any) -> dict[str, Any]:
    data = {"det": array, "motor_x": 1.5, "motor_y": 2.5}
    return {
        "uid": "c0ffee00-1111-2222-3333-444455556666",
        "time": 1700000000.25,
        "data": data,
        "timestamps": dict.fromkeys(data, 1700000000.25),
        "seq_num": 17,
        "filled": {},
        "descriptor": "decaf000-1111-2222-3333-444455556666",
    }


def _cases() -> dict[str, dict[str, Any]]:
    rng = np.random.default_rng(0)
    return {
        "event without a frame": _document(3.5),
        "1 Mpx uint16 (2.1 MB)": _document(rng.integers(0, 200, (1024, 1024), dtype=np.uint16)),
        "4.5 Mpx uint32 (17.9 MB)": _document(rng.integers(0, 200, (2167, 2070), dtype=np.uint32)),
        "list of 100 000 floats": _document(rng.normal(size=100_000).tolist()),
    }


def _turns(rivals: dict[str, Callable[[], Any]], repeat: int) -> dict[str, float]:
    samples: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(ROUNDS):
        for name, call in rivals.items():
            begin = time.perf_counter()
            for _ in range(repeat):
                call()
            samples[name].append((time.perf_counter() - begin) / repeat * 1e6)
    return {name: round(statistics.median(values), 1) for name, values in samples.items()}


def measure() -> dict[str, dict[str, float]]:
    """Return the median time (microseconds) per case and rival."""
    results = {}
    for title, doc in _cases().items():
        raw = encode("event", doc)
        assert raw == msgpack_numpy.packb(("event", doc))
        rivals = {
            "copy of the bytes": lambda raw=raw: bytearray(raw),
            "encode": lambda doc=doc: encode("event", doc),
            "msgpack_numpy.packb": lambda doc=doc: msgpack_numpy.packb(("event", doc)),
            "decode": lambda raw=raw: decode(raw),
            "msgpack_numpy.unpackb": lambda raw=raw: msgpack_numpy.unpackb(raw),
        }
        results[title] = _turns(rivals, 200 if len(raw) < 10_000 else 5)
    return results


def main() -> None:
    """Print the figures as a table, or as JSON."""
    results = measure()
    if "--json" in sys.argv:
        print(json.dumps(results, indent=1))
        return
    for title, rivals in results.items():
        print(title)
        for name, us in rivals.items():
            print(f"  {name:24} {us:10.1f} us")


if __name__ == "__main__":
    main()
