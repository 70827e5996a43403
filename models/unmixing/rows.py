"""Rows: a table that grows, and whose stored state changes only where rows changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Rows"]

_BLOCK_BYTES = 16384


class Rows:
    """Rows of numbers of one width.

    The state is a list of byte strings of some 16 KiB; a string stays the same object while its rows do,
    so that a service writes each once.

    Parameters
    ----------
    width : int
        Numbers in a row.
    dtype : str
        ``"<f4"`` or ``"<f8"``; what is read back is what a restart finds.
    """

    def __init__(self, width: int, dtype: str = "<f4") -> None:
        self._width, self._dtype = width, np.dtype(dtype)
        self._data = np.zeros((16, width), self._dtype)
        self._n = 0
        self._per_block = max(1, _BLOCK_BYTES // (width * self._dtype.itemsize))
        self._blocks: dict[int, bytes] = {}

    def __len__(self) -> int:
        return self._n

    @property
    def array(self) -> npt.NDArray[Any]:
        """All rows, shape (n, width); not to be written to."""
        return self._data[: self._n]

    def append(self, row: npt.ArrayLike) -> int:
        """Add a row; returns its number."""
        if self._n == len(self._data):
            self._data = np.concatenate([self._data, np.zeros_like(self._data)])
        self._n += 1
        self.replace(self._n - 1, row)
        return self._n - 1

    def replace(self, number: int, row: npt.ArrayLike) -> None:
        """Put another row in the place of one."""
        self._data[number] = row
        self._blocks.pop(number // self._per_block, None)

    def replace_all(self, rows: npt.ArrayLike) -> None:
        """Put other rows in the place of all."""
        self._data[: self._n] = rows
        self._blocks.clear()

    def snapshot(self) -> dict[str, Any]:
        """Return the rows as plain values."""
        for block in range(-(-self._n // self._per_block)):
            if block not in self._blocks:
                first = block * self._per_block
                self._blocks[block] = self._data[first : min(first + self._per_block, self._n)].tobytes()
        return {"n": self._n, "blocks": [self._blocks[b] for b in sorted(self._blocks)]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`snapshot` gave."""
        raw = b"".join(bytes(block) for block in state["blocks"])
        rows = np.frombuffer(raw, self._dtype).reshape(-1, self._width)
        self._n = int(state["n"])
        self._data = np.zeros((max(16, len(rows)), self._width), self._dtype)
        self._data[: len(rows)] = rows
        self._blocks = {}
