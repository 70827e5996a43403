"""Where lines break and how wide columns are, from the widths of the letters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["column_widths", "text_width", "wrap"]


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Return the width of a text (inches) in points of ``size``."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family="DejaVu Sans", size=size, weight="bold" if bold else "normal")
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]) / 72


def wrap(text: str, size: float, width_in: float, *, bold: bool = False) -> list[str]:
    """Break a text at blanks, and a word that is wider than a line inside it; at least one line."""
    lines: list[str] = []
    for word in text.replace("\n", " ").split(" "):
        if not word:
            continue
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(joined, size, bold=bold) <= width_in:
            lines[-1] = joined
            continue
        pieces = _pieces(word, size, width_in, bold)
        lines += pieces
    return lines or [""]


def _pieces(word: str, size: float, width_in: float, bold: bool) -> list[str]:
    pieces = []
    while len(word) > 1 and text_width(word, size, bold=bold) > width_in:
        n = len(word) - 1
        while n > 1 and text_width(word[:n], size, bold=bold) > width_in:
            n -= 1
        pieces.append(word[:n])
        word = word[n:]
    return [*pieces, word]


def column_widths(rows: Sequence[Sequence[str]], size: float, width_in: float, gap_in: float) -> list[float]:
    """Return a width for each column: what it needs, or a fair share of what the narrow ones leave.

    Parameters
    ----------
    rows : sequence of sequence of str
        Header and body.
    size : float
        Of the letters (points).
    width_in, gap_in : float
        Room for the whole table, and between columns (inches).
    """
    need = np.array([max(text_width(r[c], size, bold=True) for r in rows) for c in range(len(rows[0]))])
    room = width_in - gap_in * (len(need) - 1)
    if need.sum() <= room:
        return [float(v) for v in need]
    fixed = np.zeros(len(need), bool)
    while True:
        share = (room - need[fixed].sum()) / max(1, int((~fixed).sum()))
        fits = ~fixed & (need <= share)
        if not fits.any():
            return [float(v) for v in np.where(fixed, need, share)]
        fixed |= fits
