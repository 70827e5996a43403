"""Parity plots: answer against truth, one panel a quantity, with density and stated uncertainty."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.report.evidence import Quantities
from streamproc.models.report.metrics import errors_of
from streamproc.models.report.style import ACCENT, FIRST, GREY, Drawing, panels, plain, say, short

__all__ = ["parity"]

Array = npt.NDArray[Any]

_FEW = 300
"""Up to so many points are drawn one by one, with their sigma."""


def parity(found: Quantities, measured: Quantities | None) -> list[Drawing]:
    """Draw every quantity: 2 or 3 panels a row, or 4 when there are many, 20 a page."""
    q = len(found.names)
    columns = 4 if q > 12 else 3 if q > 4 or q == 3 else min(2, q)
    page = columns * 5
    pages = [list(range(i, min(q, i + page))) for i in range(0, q, page)]
    drawings = []
    for number, chosen in enumerate(pages):
        rows = -(-len(chosen) // columns)
        height = rows * (6.8 / columns + 0.1) if columns > 1 else 4.0
        of = f" ({number + 1} of {len(pages)})" if len(pages) > 1 else ""
        drawings.append(
            Drawing(
                height,
                _drawer(found, measured, chosen, rows, columns, height),
                _CAPTION + of,
                "Answer against truth. " + "; ".join(_spoken(found, c) for c in chosen),
            )
        )
    return drawings


_CAPTION = (
    "Parity: answer against truth on held-out simulated patterns. Shade: number of patterns (darker is more); broken "
    "lines: median stated sigma around the median answer; orange: measured patterns with sigma. At the top of each "
    "panel: mean error."
)


def _drawer(
    found: Quantities, measured: Quantities | None, chosen: list[int], rows: int, columns: int, height: float
) -> Callable[[Any], None]:
    small = columns > 3

    def draw(figure: Any) -> None:
        made = panels(
            figure,
            height,
            rows,
            columns,
            left=0.5,
            right=0.12,
            top=0.32,
            bottom=0.42,
            across=0.38 if small else 0.5,
            down=0.52 if small else 0.62,
        )
        for k, axes in enumerate(made):
            if k >= len(chosen):
                axes.remove()
                continue
            _panel(axes, found, measured, chosen[k], small)
            if k % columns == 0:
                axes.set_ylabel("answer")
            if k + columns >= len(chosen):
                axes.set_xlabel("truth")

    return draw


def _panel(axes: Any, found: Quantities, measured: Quantities | None, column: int, small: bool) -> None:
    where = found.scored()[:, column]
    truth, value, sigma = found.truth[where, column], found.value[where, column], found.sigma[where, column]
    name, units = found.names[column], found.units[column]
    errors = errors_of(truth, value)
    figure = f"{errors.mean:.2g} {units}" if errors.n else "nothing to compare"
    axes.set_title(
        plain(f"{short(name, 22 if small else 34)}\n{figure}"), fontsize=6.5 if small else 8, pad=3
    )
    extra = _measured(measured, name)
    everything = np.concatenate([truth, value, *extra[:2]])
    if not everything.size:
        say(axes, "none")
        return
    low, high, log = _span(everything)
    if truth.size > _FEW:
        _density(axes, truth, value, low, high, log)
        _sigma_lines(axes, truth, value, sigma, log)
    else:
        axes.errorbar(truth, value, np.nan_to_num(sigma), fmt="o", ms=2, lw=0.6, color=FIRST)
    axes.plot([low, high], [low, high], color=GREY, lw=0.7)
    if extra[0].size:
        axes.errorbar(
            *extra[:2], np.nan_to_num(extra[2]), fmt="o", ms=3, lw=0.9, color=ACCENT, mec="white", mew=0.4
        )
    if log:
        axes.set(xscale="log", yscale="log")
    axes.set(xlim=(low, high), ylim=(low, high))
    if not log:
        axes.locator_params(nbins=4)


def _measured(measured: Quantities | None, name: str) -> tuple[Array, Array, Array]:
    """Truth, answer and sigma of the measured patterns for the quantity of that name, counted or not."""
    if measured is None or name not in measured.names:
        return np.empty(0), np.empty(0), np.empty(0)
    c = measured.names.index(name)
    where = measured.meaningful[:, c].astype(bool) & np.isfinite(measured.truth[:, c] + measured.value[:, c])
    return measured.truth[where, c], measured.value[where, c], measured.sigma[where, c]


def _span(values: Array) -> tuple[float, float, bool]:
    """Axis limits; logarithmic where all values are positive and span more than two decades."""
    low, high = float(values.min()), float(values.max())
    if low > 0 and high > 100 * low:
        return low / 1.3, high * 1.3, True
    room = 0.03 * (high - low or abs(high) or 1.0)
    return low - room, high + room, False


def _density(axes: Any, truth: Array, value: Array, low: float, high: float, log: bool) -> None:
    from matplotlib.colors import LogNorm

    edges = np.geomspace(low, high, 61) if log else np.linspace(low, high, 61)
    counts, _, _ = np.histogram2d(truth, value, [edges, edges])
    norm = LogNorm(0.5, max(2.0, counts.max()))
    axes.pcolormesh(
        edges, edges, np.where(counts > 0, counts, np.nan).T, norm=norm, cmap="Blues", rasterized=True
    )


def _sigma_lines(axes: Any, truth: Array, value: Array, sigma: Array, log: bool) -> None:
    """Median answer +- median sigma in twelve classes of truth with equally many patterns."""
    there = truth > 0 if (truth > 0).any() else np.ones(truth.size, bool)
    there &= np.isfinite(sigma)
    classes = [c for c in np.array_split(np.flatnonzero(there)[np.argsort(truth[there])], 12) if len(c) >= 5]
    if not classes:
        return
    x, y, s = (np.array([np.median(v[c]) for c in classes]) for v in (truth, value, sigma))
    bottom = y - s
    if log:
        bottom = np.where(bottom > 0, bottom, np.nan)
    for line in (bottom, y + s):
        axes.plot(x, line, color="#0b2a4a", lw=0.8, ls=(0, (4, 2)))


def _spoken(found: Quantities, column: int) -> str:
    where = found.scored()[:, column]
    errors = errors_of(found.truth[where, column], found.value[where, column])
    return f"{found.names[column]}: mean error {errors.mean:.3g}, largest {errors.largest:.3g} {found.units[column]}"
