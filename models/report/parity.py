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

_FEW = 400
"""Up to so many answers about what is there are drawn one by one, more as a density."""

_ROWS_IN = 8.1
"""Height of a page's panels."""


def parity(found: Quantities, measured: Quantities | None, patterns: str) -> list[Drawing]:
    """Draw every quantity: two or three panels a row with errors below, or four small ones when many."""
    q = len(found.names)
    columns = 4 if q > 12 else 3 if q > 4 or q == 3 else min(2, q)
    page = columns * 5
    pages = [list(range(i, min(q, i + page))) for i in range(0, q, page)]
    drawings = []
    for number, chosen in enumerate(pages):
        rows = -(-len(chosen) // columns)
        tall = 1.62 if columns > 3 else min(3.9, 6.8 / columns + 0.7, _ROWS_IN / rows)
        height = rows * tall
        of = f" ({number + 1} of {len(pages)})" if len(pages) > 1 else ""
        spoken = "; ".join(_spoken(found, c) for c in chosen)
        draw = _drawer(found, measured, chosen, rows, columns, height)
        drawings.append(
            Drawing(height, draw, _caption(columns > 3, patterns) + of, f"Answer against truth. {spoken}")
        )
    return drawings


def _caption(small: bool, patterns: str) -> str:
    below = "" if small else " Below each: answer less truth."
    return (
        f"Parity: answer against truth.{below} Blue: {patterns} of the held-out set, as points or, if many, "
        "as a density; broken lines: median answer +- median stated sigma; orange: measured "
        f"{patterns} with sigma. Above each panel: mean error, of what is there where some truths are 0."
    )


def _drawer(
    found: Quantities, measured: Quantities | None, chosen: list[int], rows: int, columns: int, height: float
) -> Callable[[Any], None]:
    small = columns > 3

    def draw(figure: Any) -> None:
        made = panels(
            figure, height, rows, columns, left=0.55, right=0.12, top=0.34, bottom=0.42,
            across=0.38 if small else 0.5, down=0.48 if small else 0.68,
        )  # fmt: skip
        for k, axes in enumerate(made):
            if k >= len(chosen):
                axes.remove()
                continue
            strip = None if small else _strip(figure, axes)
            _panel(axes, strip, found, measured, chosen[k])
            if k % columns == 0:
                axes.set_ylabel("answer")
            if k + columns >= len(chosen):
                (strip or axes).set_xlabel("truth")

    return draw


def _strip(figure: Any, axes: Any) -> Any:
    """Take the lower third of a panel for the errors."""
    x, y, w, h = axes.get_position().bounds
    axes.set_position((x, y + 0.33 * h, w, 0.67 * h))
    return figure.add_axes((x, y, w, 0.27 * h), sharex=axes)


def _panel(axes: Any, strip: Any, found: Quantities, measured: Quantities | None, column: int) -> None:
    where = found.scored()[:, column]
    truth, value, sigma = (v[where, column] for v in (found.truth, found.value, found.sigma))
    name, units = found.names[column], found.units[column]
    there = truth > 0 if (truth > 0).any() else np.ones(truth.size, bool)
    errors = errors_of(truth[there], value[there])
    figure = f"{errors.mean:.2g} {units}" if errors.n else "nothing to compare"
    small = strip is None
    title = plain(f"{short(name, 22 if small else 34)}\n{figure}")
    axes.set_title(title, fontsize=6.5 if small else 8, pad=3)
    extra = _measured(measured, name)
    everything = np.concatenate([truth, value, *extra[:2]])
    if not everything.size:
        for panel in (axes, strip):
            if panel is not None:
                say(panel, "none")
        return
    low, high, log = _span(everything)
    few = int(there.sum()) <= _FEW
    for panel, lowered in ((axes, False), (strip, True)):
        if panel is not None:
            _answers(panel, truth, value, sigma, extra, (low, high, log), lowered, few)
    axes.set(
        xlim=(low, high),
        ylim=(low, high),
        xscale="log" if log else "linear",
        yscale="log" if log else "linear",
    )
    if not log:
        axes.locator_params(nbins=4)
    if strip is not None:
        axes.tick_params(labelbottom=False)
        strip.locator_params(axis="y", nbins=3)


def _answers(
    axes: Any, truth: Array, value: Array, sigma: Array, extra: tuple[Array, Array, Array],
    span: tuple[float, float, bool], lowered: bool, few: bool,
) -> None:  # fmt: skip
    """Draw answers, or with ``lowered`` answers less truth."""
    low, high, log = span
    y = value - truth if lowered else value
    if few:
        axes.plot(truth, y, ".", ms=2.5, color=FIRST, alpha=0.5, mew=0, rasterized=True)
    else:
        x_edges = np.geomspace(low, high, 71) if log else np.linspace(low, high, 71)
        _density(axes, truth, y, x_edges, _error_edges(y) if lowered else x_edges)
    axes.plot([low, high], [0, 0] if lowered else [low, high], color=GREY, lw=0.7)
    _sigma_lines(axes, truth, value, sigma, lowered, log)
    if extra[0].size:
        at = extra[1] - extra[0] if lowered else extra[1]
        bar = np.nan_to_num(extra[2])
        axes.errorbar(extra[0], at, bar, fmt="o", ms=3, lw=0.9, color=ACCENT, mec="white", mew=0.4, zorder=5)


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


def _error_edges(error: Array) -> Array:
    """Edges that leave out the most extreme 1 %, which are in the parity panel."""
    reach = float(np.quantile(np.abs(error), 0.99)) * 1.1 or 1e-12
    return np.linspace(-reach, reach, 31)


def _density(axes: Any, x: Array, y: Array, x_edges: Array, y_edges: Array) -> None:
    from matplotlib.colors import LogNorm

    counts, _, _ = np.histogram2d(x, y, [x_edges, y_edges])
    norm = LogNorm(0.05, max(2.0, counts.max()))
    shown = np.where(counts > 0, counts, np.nan).T
    axes.pcolormesh(x_edges, y_edges, shown, norm=norm, cmap="Blues", rasterized=True)


def _sigma_lines(axes: Any, truth: Array, value: Array, sigma: Array, lowered: bool, log: bool) -> None:
    """Median answer +- median sigma in up to ten classes of truth with equally many patterns."""
    there = (truth > 0 if (truth > 0).any() else np.ones(truth.size, bool)) & np.isfinite(sigma)
    order = np.flatnonzero(there)[np.argsort(truth[there], kind="stable")]
    classes = np.array_split(order, min(10, len(order) // 15)) if len(order) >= 30 else []
    if not classes:
        return
    x = np.array([np.median(truth[c]) for c in classes])
    middle = np.array([np.median(value[c] - truth[c]) for c in classes]) + (0 if lowered else x)
    half = np.array([np.median(sigma[c]) for c in classes])
    for y in (middle - half, middle + half):
        axes.plot(
            x,
            np.where(y > 0, y, np.nan) if log and not lowered else y,
            color="#0b2a4a",
            lw=0.8,
            ls=(0, (4, 2)),
        )


def _spoken(found: Quantities, column: int) -> str:
    where = found.scored()[:, column]
    errors = errors_of(found.truth[where, column], found.value[where, column])
    name, units = found.names[column], found.units[column]
    return f"{name}: mean error {errors.mean:.3g}, largest {errors.largest:.3g} {units}"
