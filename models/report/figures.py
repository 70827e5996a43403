"""Figures of the training and of the answers' numbers: learning curve, parity, coverage, sharpness."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.report.dots import dot_lists
from streamproc.models.report.evidence import Quantities
from streamproc.models.report.metrics import binomial_band, normal_coverage, wilson
from streamproc.models.report.parity import parity
from streamproc.models.report.parts import Curve
from streamproc.models.report.scores import coverage90, unit_groups
from streamproc.models.report.style import ACCENT, FIRST, GREY, PARTS, Drawing, panels, plain, say

__all__ = ["LEVELS", "coverage", "learning_curve", "parity", "sharpness"]

Array = npt.NDArray[Any]

LEVELS = np.linspace(0.5, 0.99, 50)
_ENOUGH = 20
"""Values for a histogram."""


def learning_curve(curve: Curve) -> Drawing:
    """Draw the loss above, the validation errors below, and where the training was stopped."""
    height = 4.2

    def draw(figure: Any) -> None:
        upper, lower = panels(figure, height, 2, 1, left=0.7, right=0.15, down=0.2, heights=(1.0, 1.4))
        _line(upper, curve.step, curve.training, GREY, "training loss")
        for k, (name, values) in enumerate(curve.validation.items()):
            marker = "o" if len(curve.step) <= 80 else None
            _line(lower, curve.step, values, PARTS[k % len(PARTS)], name, marker)
        for axes, label in ((upper, "loss"), (lower, f"{curve.name} ({curve.units})")):
            axes.set_ylabel(plain(label))
            if curve.stopped_at is not None:
                axes.axvline(curve.stopped_at, color=ACCENT, lw=1, ls="--")
            axes.grid(axis="y", lw=0.4, color="#e3e5e8")
        if not curve.validation:
            say(lower, "no validation was recorded")
        else:
            lower.legend(loc="upper right")
            lower.set_ylim(bottom=min(0.0, lower.get_ylim()[0]))
        upper.legend(loc="upper right")
        upper.tick_params(labelbottom=False)
        lower.set_xlim(upper.get_xlim())
        lower.set_xlabel(plain(curve.step_name))

    sets = ", ".join(curve.validation) or "none"
    stop = f" {stopping(curve)}" if stopping(curve) else ""
    caption = (
        f"Learning curve: the loss that was minimised (above) and the {curve.name} on patterns it never "
        f"trained on (below; sets: {sets}).{stop} A measured error that rises while the simulated one falls "
        "means that the model learns the simulation, not the measurement."
    )
    return Drawing(height, draw, caption, f"Learning curve over {len(curve.step)} points. {stop}")


def stopping(curve: Curve) -> str:
    """Say in a sentence what ended the training."""
    if curve.stopped_at is None:
        return "The training ran to its end."
    by = f", chosen by {curve.stopped_by}" if curve.stopped_by else ""
    return f"The weights kept are those of {curve.step_name} {curve.stopped_at:g}{by} (dashed line)."


def _line(axes: Any, x: Array, y: Array, colour: str, label: str, marker: str | None = None) -> None:
    """Join the recorded points; what was not recorded is left out, not a gap."""
    there = np.isfinite(y)
    axes.plot(
        np.asarray(x)[there], np.asarray(y)[there], color=colour, label=plain(label), marker=marker, ms=2.5
    )
    positive = there.any() and np.all(np.asarray(y)[there] > 0)
    if positive and np.max(y[there]) > 30 * np.min(y[there]):
        axes.set_yscale("log")


def coverage(found: Quantities, measured: Quantities | None, patterns: str) -> list[Drawing]:
    """Draw covered against nominal share, pooled, and the 90 % interval of each quantity."""
    curves = [
        (f"simulated, {kind}", *_covered(found, where), colour, published)
        for kind, where, colour, published in _kinds(found)
    ]
    if measured is not None and measured.scored().any():
        curves.append(
            ("measured", *_covered(measured, measured.scored()), ACCENT, _published(measured, None))
        )
    curves = [c for c in curves if c[2]]
    drawings = [_coverage_curve(curves, patterns)] if curves else []
    inside, used = coverage90(found)
    n, hits = used.sum(0), inside.sum(0)
    if not n.any():
        return drawings
    low, high = wilson(hits, n)
    share = np.where(n > 0, hits / np.maximum(n, 1), np.nan)
    notes = [f"{100 * s:.0f} % of {k}" if k else "" for s, k in zip(share, n, strict=True)]
    return drawings + dot_lists(
        found.names,
        100 * share,
        100 * low,
        100 * high,
        "truths in the 90 % interval (%)",
        "How often the published 90 % interval holds the truth, by quantity (bar: 95 % interval of "
        "that share).",
        "Share of truths in the 90 % interval by quantity: "
        + "; ".join(f"{name} {note}" for name, note in zip(found.names, notes, strict=True)),
        limits=(min(70.0, 100 * float(np.nanmin(low, initial=1.0))), 101.0),
        mark=90.0,
        notes=notes,
    )


def _kinds(found: Quantities) -> list[tuple[str, Array, str, Array]]:
    used = found.scored()
    there = used & (found.truth > 0)
    kinds = [("all values", used, FIRST, _published(found, None))]
    if 0 < there.sum() < used.sum():
        kinds.append(("what is there", there, PARTS[2], _published(found, there)))
    return kinds


def _covered(found: Quantities, where: Array) -> tuple[Array, int]:
    where = where & np.isfinite(found.sigma)
    covered = normal_coverage(found.truth[where], found.value[where], found.sigma[where], LEVELS)
    return covered, int(where.any(1).sum())


def _published(found: Quantities, where: Array | None) -> Array:
    """Covered by the two intervals that the model publishes: 68 % (one sigma) and 90 %."""
    inside, used = coverage90(found)
    mask = used if where is None else used & where
    narrow = mask & np.isfinite(found.sigma)
    error = np.abs(found.value - found.truth)
    return np.array(
        [
            (error <= found.sigma)[narrow].mean() if narrow.any() else np.nan,
            inside[mask].mean() if mask.any() else np.nan,
        ]
    )


def _coverage_curve(curves: list[Any], patterns: str) -> Drawing:
    height = 3.6

    def draw(figure: Any) -> None:
        axes, legend = panels(figure, height, 1, 2, left=0.6, widths=(3.2, 2.9), across=0.15)
        n = curves[0][2]
        low, high = binomial_band(LEVELS, n)
        axes.fill_between(100 * LEVELS, 100 * low, 100 * high, color="#dfe3e8", lw=0)
        axes.plot([50, 100], [50, 100], color=GREY, lw=0.8, ls="--")
        if curves[-1][0] == "measured":
            for edge in binomial_band(LEVELS, curves[-1][2]):
                axes.plot(100 * LEVELS, 100 * edge, color=ACCENT, lw=0.7, ls=":")
        for name, covered, count, colour, published in curves:
            axes.plot(100 * LEVELS, 100 * covered, color=colour, label=plain(f"{name} ({count} {patterns})"))
            axes.plot([68.27, 90], 100 * published, "D", color=colour, ms=5, mec="white", mew=0.7)
        floor = min(45.0, 100 * float(np.nanmin([np.nanmin(c[1], initial=1.0) for c in curves])) - 3)
        axes.set(xlim=(50, 100), ylim=(floor, 101), xlabel="nominal level (%)", ylabel="truths covered (%)")
        legend.axis("off")
        handles, labels = axes.get_legend_handles_labels()
        legend.legend(handles, labels, loc="upper left")

    caption = (
        "Coverage: how often the truth lies within an interval, against how often it should. Lines: value ± "
        "z sigma, z from the normal distribution. Diamonds: the two intervals that are published (one "
        "sigma, and "
        f"90 %). Grey: where 95 % of sets of {curves[0][2]} independent {patterns} would end (dotted: "
        "of as many as were measured). Below the dashed "
        "line the model is too sure, above it too careful."
    )
    spoken = "; ".join(f"{n}: 90 % interval holds {100 * p[1]:.1f} %" for n, _, _, _, p in curves)
    return Drawing(height, draw, caption, f"Coverage against nominal level. {spoken}")


def sharpness(found: Quantities) -> list[Drawing]:
    """Draw how wide the intervals are, for each unit."""
    drawings = []
    for units, columns in unit_groups(found).items():
        where = found.scored()[:, columns] & np.isfinite(found.sigma[:, columns])
        if where.sum() >= _ENOUGH:
            drawings.append(_sharpness(found, columns, where, units))
    return drawings


def _sharpness(found: Quantities, columns: list[int], where: Array, units: str) -> Drawing:
    sigma = found.sigma[:, columns]
    error = np.abs(found.value[:, columns] - found.truth[:, columns])
    there = where & (found.truth[:, columns] > 0)
    absent = where & ~there
    kinds = [("there" if absent.any() else "all", there, PARTS[2]), ("not there", absent, PARTS[1])]
    height = 2.6

    def draw(figure: Any) -> None:
        made = panels(figure, height, 1, 2, left=0.6)
        for axes, values, label in zip(made, (sigma, error), ("sigma", "size of the error"), strict=True):
            # Errors of exactly 0 have no place on a logarithmic axis: they count at its lower edge.
            smallest = float(np.quantile(sigma[where], 0.5)) * 1e-3 or 1e-12
            shown = np.log10(np.maximum(values[where], smallest))
            low, high = float(shown.min()), float(shown.max())
            bins = np.logspace(low, max(high, low + 0.1), 45)
            for name, mask, colour in kinds:
                if mask.any():
                    n = int(mask.sum())
                    clipped, weights = np.maximum(values[mask], smallest), np.full(n, 100 / n)
                    name = f"{name} ({n})"
                    axes.hist(clipped, bins, weights=weights, color=colour, alpha=0.45, label=name)
            _log_ticks(axes)
            axes.set(xlabel=plain(f"{label} ({units})"), ylabel="share of its kind (%)")
            axes.legend()

    names = ", ".join(found.names[c] for c in columns[:6]) + (" ..." if len(columns) > 6 else "")
    middle = float(np.median(sigma[where]))
    caption = (
        f"Sharpness ({names}): how wide the answers say they are (left) and how far off they are "
        "(right). Narrow is "
        f"worth something only where the coverage holds. Median sigma {middle:.2g} {units}."
    )
    return Drawing(height, draw, caption, caption)


def _log_ticks(axes: Any) -> None:
    """Make the axis logarithmic, with plain numbers at 1, 2 and 5 of each decade where there is room."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    low, high = axes.get_xlim()
    wide = np.log10(high / low) > 2.5
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
