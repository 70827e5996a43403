"""How figures look, and panels at measured places (matplotlib is imported only when one is drawn)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = [
    "ABSENT",
    "ACCENT",
    "FIRST",
    "FOREIGN",
    "GREY",
    "PARTS",
    "RC",
    "WIDTH_IN",
    "Drawing",
    "panels",
    "plain",
    "say",
    "short",
]

WIDTH_IN = 6.8
"""Width of every figure: the text width of an A4 page."""

FIRST, ACCENT, FOREIGN, ABSENT, GREY = "#1f5fa8", "#c8501e", "#a3195b", "#8a8f98", "#5a6069"
PARTS = ("#1f5fa8", "#e08214", "#2a8c4a", "#a3195b", "#6a51a3", "#00868b", "#8c6d31", "#d6604d")
"""Distinct also for colour-blind readers when side by side (dark blue, orange, green, magenta, ...)."""

RC: Mapping[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.7,
    "axes.axisbelow": True,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "pdf.fonttype": 42,
    "figure.dpi": 100,
    "axes.unicode_minus": False,
}


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure still to be drawn.

    Attributes
    ----------
    height_in : float
        Its height; the width is :data:`WIDTH_IN`.
    draw : callable
        Draws into a matplotlib Figure or SubFigure of that size.
    caption : str
        What it shows and how to read it.
    alt : str
        The same for who cannot see it, with the figures.
    """

    height_in: float
    draw: Callable[[Any], None]
    caption: str
    alt: str


def panels(
    figure: Any,
    height_in: float,
    rows: int,
    columns: int,
    *,
    left: float = 0.5,
    right: float = 0.1,
    top: float = 0.25,
    bottom: float = 0.45,
    across: float = 0.45,
    down: float = 0.5,
    widths: tuple[float, ...] | None = None,
    heights: tuple[float, ...] | None = None,
) -> list[Any]:
    """Return axes row by row; margins and gaps are in inches, so that text has the same room everywhere."""
    inner_w = WIDTH_IN - left - right - across * (columns - 1)
    inner_h = height_in - top - bottom - down * (rows - 1)
    wide = [w / sum(widths) * inner_w for w in widths] if widths else [inner_w / columns] * columns
    high = [h / sum(heights) * inner_h for h in heights] if heights else [inner_h / rows] * rows
    made = []
    y = height_in - top
    for h in high:
        y -= h
        x = left
        for w in wide:
            made.append(figure.add_axes((x / WIDTH_IN, y / height_in, w / WIDTH_IN, h / height_in)))
            x += w + across
        y -= down
    return made


def plain(text: str) -> str:
    """Escape what matplotlib would take for mathematics."""
    return text.replace("$", r"\$")


def short(text: str, length: int) -> str:
    """Cut a name in the middle, where names of one family differ least often from each other at the ends."""
    if len(text) <= length:
        return text
    head = (length - 1) // 2
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"


def say(axes: Any, text: str) -> None:
    """Write a sentence where there is nothing to draw."""
    axes.text(
        0.5, 0.5, plain(text), ha="center", va="center", transform=axes.transAxes, color=GREY, wrap=True
    )
    axes.set_xticks([])
    axes.set_yticks([])
