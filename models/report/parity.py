"""Parity plots: answer against truth, one panel a quantity, with density and stated uncertainty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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

_BARS = 60
"""Up to so many are drawn with a bar of one sigma each."""

_ROWS_IN = 8.1
"""Height of a page's panels."""


def parity(found: Quantities, measured: Quantities | None, which: str) -> list[Drawing]:
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
            Drawing(height, draw, _caption(columns > 3, which) + of, f"Answer against truth. {spoken}")
        )
    return drawings


def _caption(small: bool, which: str) -> str:
    below = "" if small else " Below each: answer less truth, relative where the axes are logarithmic."
    return (
        f"Parity: answer against truth.{below} Blue: {which}, as points (with sigma when few) or, if many, "
        "as a density; broken lines: median answer ± median stated sigma; orange: measured ones with sigma. "
        "Above each panel: mean error, of what is there where some truths are 0, relative where the axes are "
        "logarithmic."
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
    points = _Points(*(v[where, column] for v in (found.truth, found.value, found.sigma)))
    extra = _measured(measured, found.names[column])
    everything = np.concatenate([points.truth, points.value, extra.truth, extra.value])
    small = strip is None
    name = short(found.names[column], 22 if small else 34)
    if not everything.size:
        axes.set_title(plain(f"{name}\nnothing to compare"), fontsize=6.5 if small else 8, pad=3)
        for panel in (axes, strip):
            if panel is not None:
                say(panel, "none")
        return
    low, high, log = _span(everything)
    title = plain(f"{name}\n{_mean_error(points, found.units[column], log)}")
    axes.set_title(title, fontsize=6.5 if small else 8, pad=3)
    _answers(axes, points, extra, (low, high, log), lowered=False)
    scale = "log" if log else "linear"
    axes.set(xlim=(low, high), ylim=(low, high), xscale=scale, yscale=scale)
    if not log:
        axes.locator_params(nbins=4)
    if strip is not None:
        _answers(strip, points, extra, (low, high, log), lowered=True)
        axes.tick_params(labelbottom=False)
        strip.locator_params(axis="y", nbins=3)


@dataclass(frozen=True, slots=True, eq=False)
class _Points:
    """Truth, answer and sigma of one quantity."""

    truth: Array
    value: Array
    sigma: Array

    def there(self) -> Array:
        """Where it is there; everywhere when it never is."""
        return self.truth > 0 if (self.truth > 0).any() else np.ones(self.truth.size, bool)

    def lowered(self, relative: bool) -> _Points:
        """Errors in place of answers."""
        by = self.truth if relative else np.ones_like(self.truth)
        return _Points(self.truth, (self.value - self.truth) / by, self.sigma / by)


def _mean_error(points: _Points, units: str, log: bool) -> str:
    there = points.there()
    if not there.any():
        return "nothing to compare"
    if log:
        return f"{100 * np.abs(points.lowered(True).value).mean():.2g} % of the truth"
    return f"{errors_of(points.truth[there], points.value[there]).mean:.2g} {units}"


def _answers(
    axes: Any, points: _Points, extra: _Points, span: tuple[float, float, bool], *, lowered: bool
) -> None:
    """Draw answers, or with ``lowered`` their errors."""
    low, high, log = span
    there = points.there()
    drawn = points.lowered(log) if lowered else points
    if points.truth.size <= _BARS:
        bars = np.nan_to_num(drawn.sigma)
        axes.errorbar(drawn.truth, drawn.value, bars, fmt="o", ms=3, lw=0.8, color=FIRST)
    elif there.sum() <= _FEW:
        size = float(np.clip(40 / np.sqrt(there.sum()), 2.5, 5))
        axes.plot(drawn.truth, drawn.value, ".", ms=size, color=FIRST, alpha=0.5, mew=0, rasterized=True)
    else:
        x_edges = np.geomspace(low, high, 71) if log else np.linspace(low, high, 71)
        _density(axes, drawn.truth, drawn.value, x_edges, _error_edges(drawn.value) if lowered else x_edges)
    axes.plot([low, high], [0, 0] if lowered else [low, high], color=GREY, lw=0.7)
    _sigma_lines(axes, drawn, np.flatnonzero(there), log and not lowered)
    if extra.truth.size:
        other = extra.lowered(log) if lowered else extra
        bars = np.nan_to_num(other.sigma)
        style = {"ms": 3, "lw": 0.9, "color": ACCENT, "mec": "white", "mew": 0.4, "zorder": 5}
        axes.errorbar(other.truth, other.value, bars, fmt="o", **style)


def _measured(measured: Quantities | None, name: str) -> _Points:
    """The measured ones of the quantity of that name, counted or not."""
    if measured is None or name not in measured.names:
        return _Points(np.empty(0), np.empty(0), np.empty(0))
    c = measured.names.index(name)
    where = measured.meaningful[:, c].astype(bool) & np.isfinite(measured.truth[:, c] + measured.value[:, c])
    return _Points(measured.truth[where, c], measured.value[where, c], measured.sigma[where, c])


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


def _sigma_lines(axes: Any, drawn: _Points, rows: Array, log: bool) -> None:
    """Median answer +- median sigma in up to ten classes of truth with equally many rows."""
    rows = rows[np.isfinite(drawn.sigma[rows])]
    order = rows[np.argsort(drawn.truth[rows], kind="stable")]
    classes = np.array_split(order, min(10, len(order) // 15)) if len(order) >= 2 * 15 else []
    if not classes:
        return
    x, middle, half = (
        np.array([np.median(v[c]) for c in classes]) for v in (drawn.truth, drawn.value, drawn.sigma)
    )
    for y in (middle - half, middle + half):
        axes.plot(x, np.where(y > 0, y, np.nan) if log else y, color="#0b2a4a", lw=0.8, ls=(0, (4, 2)))


def _spoken(found: Quantities, column: int) -> str:
    where = found.scored()[:, column]
    errors = errors_of(found.truth[where, column], found.value[where, column])
    name, units = found.names[column], found.units[column]
    return f"{name}: mean error {errors.mean:.3g}, largest {errors.largest:.3g} {units}"
