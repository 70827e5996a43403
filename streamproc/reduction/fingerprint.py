"""One SHA-256 over everything that determines a result's numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["fingerprint", "sha256_file"]


def fingerprint(facts: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any] | None]) -> str:
    """Return the hexadecimal SHA-256 of JSON-able ``facts`` and of the dtype, shape and values of ``arrays``.

    Neither the order of the keys nor the memory layout of an array matters; None differs from any array.
    """
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(arrays):
        array = arrays[name]
        if array is None:
            digest.update(f"|{name}:none".encode())
            continue
        plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        digest.update(f"|{name}:{plain.dtype.str}{plain.shape}:".encode())
        digest.update(plain.data)
    return digest.hexdigest()


def sha256_file(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
