"""A fit of the run so far, drawn with characters: its dispersion, and how each estimate closes in."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from rich.text import Text

from streamproc.dashboard.reading import Point, Quantity
from streamproc.dashboard.so_far import SoFar

__all__ = ["converging_line", "converging_picture", "estimate_text"]

Array = npt.NDArray[np.float64]

_SPARKS = "▁▂▃▄▅▆▇█"
_NUMBERS, _SIGMAS = 26, 16
"""Columns of an estimate's name and value, and of the course of its sigma."""


def estimate_text(point: Point, name: str) -> str:
    """Return value and standard uncertainty, e.g. ``0.412±0.008``; a dash where the model abstained."""
    value, sigma = point.values.get(name, math.nan), point.sigmas.get(name, math.nan)
    if not math.isfinite(value):
        return "-"
    if abs(value) < 100 and not 0 < sigma < 0.0005:
        return f"{value:.3f}±{sigma:.3f}"
    return f"{value:.4g}±{sigma:.2g}"


def converging_picture(so_far: SoFar, width: int, height: int) -> list[Text]:
    """Return the dispersion, then a line per estimate, at most ``height`` lines of ``width`` columns."""
    point = so_far.points[-1]
    shown = so_far.hinted()[: max(height - 1, 1)]
    title = Text(no_wrap=True, overflow="ellipsis")
    title.append(f"{so_far.stream} of readings 1 to {point.seq_num}", style="bold")
    if not point.in_domain:
        title.append(f"  out of domain: {point.reasons}", style="bold red")
    rows = height - 1 - len(shown)
    return [title, *_dispersion(so_far, width, rows), *(_closing_in(so_far, q, width) for q in shown)]


def _dispersion(so_far: SoFar, width: int, rows: int) -> list[Text]:
    """Energies over the path: a dot where the band is, a bar where its 90 % interval is wider than a line."""
    found = so_far.dispersion
    if found is None or rows < 4 or not np.isfinite(found[0]).any():
        return []
    energy, half = found[0], 1.645 * np.nan_to_num(found[1])
    top = float(np.nanmax(energy + np.minimum(half, 0.3 * np.nanmax(energy)))) or 1.0
    columns = min(max(width - 10, 8), 72)
    at = np.round(np.linspace(0, len(energy) - 1, columns)).astype(int)
    cells = [[" "] * columns for _ in range(rows)]
    for column, place in enumerate(at):
        for e, h in zip(energy[place], half[place], strict=True):
            if not math.isfinite(e):
                continue
            low, middle, high = (_row(v, top, rows) for v in (e - h, e, e + h))
            for row in range(low, high + 1):
                if cells[row][column] == " ":
                    cells[row][column] = "│"
            cells[middle][column] = "●"
    lines = []
    for row in reversed(range(rows)):
        label = f"{top * (row + 0.5) / rows:7.3g} ┤" if row % 3 == 2 or row == rows - 1 else "        │"
        lines.append(Text(label + "".join(cells[row]), style="cyan", no_wrap=True, overflow="crop"))
    return lines


def _row(value: float, top: float, rows: int) -> int:
    return min(max(int(value / top * rows), 0), rows - 1)


def _closing_in(so_far: SoFar, quantity: Quantity, width: int) -> Text:
    """Return value, the course of sigma, and the 90 % interval within the widest one."""
    name = quantity.name
    point = so_far.points[-1]
    line = Text(no_wrap=True, overflow="crop")
    line.append(f"{name[:10]:>10} {estimate_text(point, name):<{_NUMBERS - 11}}")
    sigmas = [s for p in so_far.points if math.isfinite(s := p.sigmas.get(name, math.nan)) and s > 0]
    line.append(f" {quantity.units} σ ").append(_course(sigmas).ljust(_SIGMAS), style="magenta")
    room = width - _NUMBERS - _SIGMAS - len(quantity.units) - 6
    if room >= 10:
        line.append(" ").append(_interval(so_far.points, name, room), style="green")
    return line


def _course(sigmas: Sequence[float]) -> str:
    """Return a bar per answer, its height the logarithm of sigma."""
    if not sigmas:
        return ""
    chosen = [sigmas[i] for i in np.linspace(0, len(sigmas) - 1, min(len(sigmas), _SIGMAS)).astype(int)]
    logs = np.log(chosen)
    low, high = float(logs.min()), float(logs.max())
    steps = (logs - low) / (high - low) if high > low else np.full(len(logs), 0.5)
    return "".join(_SPARKS[min(int(s * len(_SPARKS)), len(_SPARKS) - 1)] for s in steps)


def _interval(points: Sequence[Point], name: str, room: int) -> str:
    """Return the newest interval on the line of the widest one that was trusted."""
    found = [
        p.intervals[name]
        for p in points
        if name in p.intervals and all(map(math.isfinite, p.intervals[name]))
    ]
    now = points[-1].intervals.get(name)
    if not found or now is None or not all(map(math.isfinite, now)):
        return "·" * room
    widest = max(found, key=lambda ends: ends[1] - ends[0])
    low, high = min(widest[0], now[0]), max(widest[1], now[1])
    span = (high - low) or 1.0
    cells = ["·"] * room
    first, last, middle = (
        min(max(int((v - low) / span * room), 0), room - 1) for v in (*now, points[-1].values[name])
    )
    cells[first : last + 1] = "━" * (last + 1 - first)
    cells[middle] = "●"
    return "".join(cells)


def converging_line(so_far: SoFar) -> str:
    """Return the newest answer as one line of text."""
    point = so_far.points[-1]
    told = " ".join(f"{q.name}={estimate_text(point, q.name)}" for q in so_far.quantities if q.estimate)
    flag = "" if point.in_domain else f" OUT OF DOMAIN: {point.reasons}"
    return f"{so_far.stream} of readings 1 to {point.seq_num}: {told}{flag}"
