"""Values that no sound document has: what :mod:`streamproc.testing.fuzzing` puts into documents."""

from __future__ import annotations

import random
from typing import Any

__all__ = [
    "DATASETS",
    "MIMETYPES",
    "NAMES",
    "NUMBERS",
    "ODD_NAMES",
    "SHAPES",
    "SPECS",
    "TEMPLATES",
    "TEXTS",
    "TYPES",
    "odd_array",
    "odd_value",
]

NAMES = (
    "start", "descriptor", "event", "event_page", "bulk_events", "datum", "datum_page", "bulk_datum",
    "resource", "stream_resource", "stream_datum", "stop",
)  # fmt: skip
ODD_NAMES = (
    "Start", "agent_suggestions", "", "x" * 300, "event\x00", "start ", "étape", "__class__", "\u202e",
    None, 3, b"start", ["start"],
)  # fmt: skip
NUMBERS = (
    0, -1, 1, 2, 1.5, -0.0, 2**31, 2**31 - 1, 2**32, 2**62, 2**63, 2**64 - 1, -(2**63), 1e308,
    -1e-320, float("nan"), float("inf"), float("-inf"), True, False,
)  # fmt: skip
TEXTS = (
    "", "x", "\x00", "a.b/c", "primary", "../..", "ä" * 700, "NaN", "{0.__class__}", "%n%s", "\ud7ff",
    "$HOME", "'; drop table runs; --", "<script>alert(1)</script>", "\x1b[2J", "x" * 70_000,
)  # fmt: skip
TYPES = (
    "|O", "O", "<M8[ns]", "<m8", "|V0", "|S0", "<U0", "<U2147483647", "<f16", ">c32", "|b1", "<i3", "f8,O",
    "T", "?", "<f8", "|u1", ">i8", "|S3", "<U1",
)  # fmt: skip
SHAPES: tuple[Any, ...] = (
    [], [0], [-1], [1], [2**40], [2**62, 2**62], [0, 2**62], [2**32, 2**32], [1.5], ["1"], None, 8, [1] * 40,
    [3, -3], [2**31, 0, 1],
)  # fmt: skip
MIMETYPES = (
    "application/x-hdf5", "application/x-hdf5;type=swmr", "application/x-npy", "application/x-zarr",
    "multipart/related;type=image/tiff", "multipart/related;type=image/jpeg", "image/tiff",
    "multipart/related;type=application/x-npy", "text/x-python", "application/x-pickle", "",
)  # fmt: skip
SPECS = (
    "AD_HDF5", "AD_HDF5_SWMR", "HDF5", "AD_TIFF", "NPY_SEQ", "TPX_HDF5", "AD_CBF", "AD_EIGER", "AD_SPE",
    "XSP3", "ROI_HDF5_FLY", "OPAL", "RWFILE", "nobody's", "",
)  # fmt: skip
TEMPLATES = (
    "{:06d}.tiff", "../{:d}.h5", "/etc/passwd", "{0.__class__}", "{:1000000000d}", "%1000000000d", "%n",
    "%s%s", "%s%s_%6.6d.tiff", "{}", "", "x" * 5000, "%s/../../etc/passwd", "\x00",
)  # fmt: skip
DATASETS = (
    "/entry/data/data", "/", "..", "/link", "/climbing", "/virtual", "/elsewhere", "/soft", "/objects",
    "/texts", "/huge", "", "x" * 9000, "\x00", "/entry",
)  # fmt: skip
_STRUCTURES: tuple[Any, ...] = (
    [["a", "|O"]], [["a", "<f8"], ["a", "<f8"]], [["a", [["b", "O"]]]], [["a", "<f8", [2]]], [], "V",
)  # fmt: skip
_COMPLEX = ("1e999j", "(1+2j)", "nan+nanj", "__import__('os')", "9" * 5000, 3, b"1j")
_KEYS = ("uid", "time", "data", "start", "a", 1, b"nd", b"complex", "", None)


def odd_value(source: random.Random, depth: int = 0) -> Any:
    """Return a value of any type that msgpack knows, for a place where a document has another.

    Parameters
    ----------
    source : random.Random
        Where chance comes from.
    depth : int
        How deep in a structure of odd values it lies.
    """
    chance = source.random()
    if chance < 0.35:
        return source.choice(NUMBERS)
    if chance < 0.6:
        return source.choice(TEXTS)
    if chance < 0.7:
        return source.choice((None, b"", b"\x00\xff", source.randbytes(30)))
    if depth > 4 or chance < 0.75:
        return source.choice(([], {}, [[]], {"a": {}}, [None] * 300))
    if chance < 0.9:
        return [odd_value(source, depth + 1) for _ in range(source.randrange(5))]
    return {key: odd_value(source, depth + 1) for key in source.choices(_KEYS, k=source.randrange(5))}


def odd_array(source: random.Random, pickled: bytes) -> dict[Any, Any]:
    """Return what msgpack-numpy might write for an array or a complex number, with anything in its fields.

    Parameters
    ----------
    source : random.Random
        Where chance comes from.
    pickled : bytes
        A pickle that shows when something loads it.
    """
    pick = source.choice
    data = pick((pickled, b"", b"\x00" * 8, b"\x41" * 64, source.randbytes(24), None, "text", 3))
    form = {b"nd": True, b"type": pick(TYPES), b"kind": b"", b"shape": pick(SHAPES), b"data": data}
    chance = source.random()
    if chance < 0.2:
        return form | {b"kind": b"O", b"data": pickled}
    if chance < 0.35:
        return form | {b"kind": b"V", b"type": pick(_STRUCTURES)}
    if chance < 0.45:
        return {b"complex": True, b"data": pick(_COMPLEX)}
    if chance < 0.55:
        return {b"nd": False, b"type": pick(TYPES), b"data": data}
    if chance < 0.65:
        form.pop(pick(list(form)))
    elif chance < 0.75:
        return form | {pick((b"extra", b"strides", b"order", 7, None)): 1}
    return form
