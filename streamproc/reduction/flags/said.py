"""Evidence of a flag, as few numbers as a person or an agent can use."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.reading import MOST_SAID, Evidence, ranges
from streamproc.reduction.flags.scan import PIECE
from streamproc.reduction.flags.tiles import TILE_ROWS

__all__ = ["axis_said", "boxes_said", "pixels_said", "rows_said", "tiles_said"]


def pixels_said(pixels: npt.NDArray[np.int64], columns: int) -> dict[str, Any]:
    """Return row and column of single pixels."""
    if not pixels.size:
        return {}
    listed = [[int(i // columns), int(i % columns)] for i in pixels[:MOST_SAID]]
    return {"pixels": listed, "count": int(pixels.size)}


def rows_said(marks: npt.NDArray[np.uint8]) -> Evidence:
    """Return the rows that hold no variation."""
    found = ranges(np.flatnonzero((marks & 1).any(axis=1)))
    return {"rows": found[:MOST_SAID], "count": sum(b - a + 1 for a, b in found)}


def boxes_said(marked: npt.NDArray[Any], columns: int) -> dict[str, Any]:
    """Return boxes (first and last row, first and last column) around marked pieces that belong together."""
    from scipy.ndimage import find_objects, label

    if not marked.any():
        return {}
    labels, n = label(marked != 0)
    boxes = [
        [s[0].start, s[0].stop - 1, s[1].start * PIECE, min(s[1].stop * PIECE, columns) - 1]
        for s in find_objects(labels)[:MOST_SAID]
    ]
    return {"boxes": [[int(v) for v in box] for box in boxes], "regions": int(n)}


def tiles_said(marked: npt.NDArray[np.bool_], shape: tuple[int, int]) -> Evidence:
    """Return boxes around marked tiles that belong together."""
    rows = np.repeat(marked, TILE_ROWS, axis=0)[: shape[0]]
    return boxes_said(rows, shape[1])


def axis_said(axis: npt.NDArray[np.float64], channels: list[int]) -> Evidence:
    """Return the stretches of the axis that channels cover."""
    found = ranges(sorted(channels))
    return {
        "axis": [[float(axis[a]), float(axis[b])] for a, b in found[:MOST_SAID]],
        "count": sum(b - a + 1 for a, b in found),
    }
