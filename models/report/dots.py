"""A list of names, each with a dot and a bar: readable for 4 and for 60 of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.report.style import FIRST, GREY, WIDTH_IN, Drawing, plain, short

__all__ = ["dot_lists"]

Array = npt.NDArray[Any]

_ROW_IN = 0.19
_ROWS = 42
"""Rows of one column: as many as fit a page."""


def dot_lists(
    names: Sequence[str],
    centre: Array,
    low: Array,
    high: Array,
    label: str,
    caption: str,
    alt: str,
    *,
    limits: tuple[float, float] | None = None,
    mark: float | None = None,
    notes: Sequence[str] = (),
) -> list[Drawing]:
    """Return drawings of up to two columns of names with dot (``centre``) and bar (``low`` to ``high``).

    Parameters
    ----------
    names : sequence of str
        One row each.
    centre, low, high : ndarray, shape (k,)
        NaN rows say that there is nothing.
    label : str
        Of the common axis.
    caption, alt : str
        As in :class:`~streamproc.models.report.style.Drawing`.
    limits : tuple of float, optional
        Of the axis.
    mark : float, optional
        A line to compare with.
    notes : sequence of str
        A short text at the right of each row.
    """
    columns = 1 if len(names) <= 14 else 2
    page = columns * _ROWS
    drawings = []
    pages = -(-len(names) // page)
    span = limits or _limits(np.concatenate([centre, low, high]))
    for number in range(pages):
        rows = np.arange(number * page, min(len(names), (number + 1) * page))
        per_column = -(-len(rows) // columns)
        height = 0.55 + _ROW_IN * per_column
        of = f" ({number + 1} of {pages})" if pages > 1 else ""
        draw = _drawer(names, centre, low, high, label, rows, per_column, height, span, mark, notes)
        drawings.append(Drawing(height, draw, caption + of, alt))
    return drawings


def _limits(values: Array) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    room = 0.05 * (finite.max() - finite.min() or 1.0)
    return float(finite.min() - room), float(finite.max() + room)


def _drawer(
    names: Sequence[str],
    centre: Array,
    low: Array,
    high: Array,
    label: str,
    rows: Array,
    per_column: int,
    height: float,
    span: tuple[float, float],
    mark: float | None,
    notes: Sequence[str],
) -> Callable[[Any], None]:
    blocks = [rows[i : i + per_column] for i in range(0, len(rows), per_column)]
    width = WIDTH_IN / max(1, len(blocks))
    name_in, note_in = (1.75, 0.75) if len(blocks) == 1 else (1.3, 0.62)
    note_in = note_in if notes else 0.12

    def draw(figure: Any) -> None:
        for block_number, block in enumerate(blocks):
            x = block_number * width + name_in
            w, h = width - name_in - note_in, _ROW_IN * per_column
            axes = figure.add_axes((x / WIDTH_IN, 0.42 / height, w / WIDTH_IN, h / height))
            y = np.arange(len(block))
            if mark is not None:
                axes.axvline(mark, color=GREY, lw=0.8, ls="--")
            known = np.isfinite(centre[block])
            axes.hlines(y[known], low[block][known], high[block][known], color=FIRST, lw=2.2, alpha=0.4)
            axes.plot(centre[block], y, "o", color=FIRST, ms=3.5)
            axes.set_xlim(*span)
            axes.set_ylim(per_column - 0.5, -0.5)
            axes.set_yticks(y, [plain(short(names[i], 30 if len(blocks) == 1 else 20)) for i in block])
            axes.tick_params(axis="y", length=0, colors="black")
            axes.spines["left"].set_visible(False)
            axes.grid(axis="y", lw=0.4, color="#e3e5e8")
            axes.set_xlabel(plain(label))
            axes.locator_params(axis="x", nbins=6 if len(blocks) == 1 else 3)
            for row, i in zip(y, block, strict=True):
                if not np.isfinite(centre[i]):
                    axes.text(span[0], row, " none", va="center", fontsize=7, color=GREY)
                if notes:
                    axes.text(
                        1.03,
                        row,
                        plain(notes[i]),
                        va="center",
                        fontsize=6.5,
                        color=GREY,
                        transform=axes.get_yaxis_transform(),
                    )

    return draw
