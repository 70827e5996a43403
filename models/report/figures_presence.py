"""Figures of what is there: found and claimed by item, mistaken for what, reliability, least amount."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.report.dots import dot_lists
from streamproc.models.report.evidence import Presence
from streamproc.models.report.metrics import (
    calibration_error,
    confusion_counts,
    reliability,
    taken_for,
    wilson,
)
from streamproc.models.report.parts import Words
from streamproc.models.report.scores import item_aurocs
from streamproc.models.report.style import ACCENT, FIRST, GREY, Drawing, panels, plain, say, short

__all__ = ["aurocs", "by_amount", "confusion", "mistaken", "reliability_diagram"]

Array = npt.NDArray[Any]

_MOST = 18
"""Items in the matrix of mistakes; the rest is counted in the caption."""


def confusion(found: Presence, words: Words) -> list[Drawing]:
    """Draw, for each item, which share of its presences is found and of its absences is claimed."""
    found = found.finite()
    hits, false_claims, misses, absent = confusion_counts(found.truth, found.probability >= found.threshold)
    low, high = wilson(hits, hits + misses)
    share = _share(hits, hits + misses)
    notes = [f"{h} of {h + m}" for h, m in zip(hits, misses, strict=True)]
    at = f"at probability {found.threshold:g}"
    first = dot_lists(
        found.names,
        100 * share,
        100 * low,
        100 * high,
        "found where it is there (%)",
        f"Found: the share of {words.patterns} with this {words.item} in which it is claimed, {at}, "
        "whatever its "
        "amount (bar: 95 % interval).",
        f"{words.items} found: " + "; ".join(f"{n} {t}" for n, t in zip(found.names, notes, strict=True)),
        limits=(min(50.0, 100 * float(np.nanmin(low, initial=1.0))), 101.0),
        notes=notes,
    )
    low, high = wilson(false_claims, false_claims + absent)
    share = _share(false_claims, false_claims + absent)
    notes = [f"{f} of {f + a}" for f, a in zip(false_claims, absent, strict=True)]
    return first + dot_lists(
        found.names,
        100 * share,
        100 * low,
        100 * high,
        "claimed where it is not there (%)",
        f"Claimed in vain: the share of {words.patterns} without this {words.item} in which it is "
        f"claimed, {at}.",
        f"{words.items} claimed in vain: "
        + "; ".join(f"{n} {t}" for n, t in zip(found.names, notes, strict=True)),
        limits=(0.0, max(5.0, 100 * float(np.nanmax(high, initial=0.0)))),
        notes=notes,
    )


def _share(hits: Array, n: Array) -> Array:
    return np.where(n > 0, hits / np.maximum(n, 1), np.nan)


def mistaken(found: Presence, words: Words) -> Drawing | None:
    """Draw which item is claimed while another is missed; None when that never happens."""
    found = found.finite()
    matrix = taken_for(found.truth, found.probability >= found.threshold)
    weight = matrix.sum(0) + matrix.sum(1)
    chosen = np.sort(np.argsort(-weight, kind="stable")[: min(_MOST, int((weight > 0).sum()))])
    if not len(chosen):
        return None
    shown = matrix[np.ix_(chosen, chosen)]
    names = [short(found.names[i], 20) for i in chosen]
    cell = min(0.42, 4.3 / len(chosen))
    side = max(1.6, cell * len(chosen))
    height = side + 1.75

    def draw(figure: Any) -> None:
        axes = figure.add_axes((1.6 / 6.8, 0.2 / height, side / 6.8, side / height))
        axes.imshow(np.where(shown > 0, shown, np.nan), cmap="Oranges", vmin=0, aspect="auto")
        for i, j in zip(*np.nonzero(shown), strict=True):
            dark = shown[i, j] > 0.6 * shown.max()
            axes.text(
                j,
                i,
                f"{shown[i, j]:.0f}",
                ha="center",
                va="center",
                fontsize=6.5,
                color="white" if dark else "black",
            )
        axes.set_xticks(
            range(len(names)), [plain(n) for n in names], rotation=60, ha="left", rotation_mode="anchor"
        )
        axes.xaxis.tick_top()
        axes.set_yticks(range(len(names)), [plain(n) for n in names])
        axes.tick_params(length=0, colors="black")
        axes.spines[:].set_visible(False)
        axes.set_ylabel("is there, but missed")
        axes.set_xlabel("is claimed, but not there")
        axes.xaxis.set_label_position("bottom")

    rest = int(matrix.sum() - shown.sum())
    left_out = f" {rest} further pairs among other {words.items} are not shown." if rest else ""
    pairs = sorted(zip(*np.nonzero(matrix), strict=True), key=lambda p: -matrix[p])[:5]
    spoken = "; ".join(
        f"{found.names[i]} taken for {found.names[j]} {matrix[i, j]:.0f} times" for i, j in pairs
    )
    caption = (
        f"What is taken for what: in how many {words.patterns} the {words.item} of the row is missed "
        "while the one "
        f"of the column, which is not there, is claimed.{left_out}"
    )
    return Drawing(height, draw, caption, f"{caption} Most often: {spoken}")


def reliability_diagram(found: Presence, words: Words) -> Drawing:
    """Draw how often a claim is true against its stated probability, with the number of claims."""
    found = found.finite()
    binned = reliability(found.probability.ravel(), found.truth.ravel())
    gap = calibration_error(binned)
    height = 3.9

    def draw(figure: Any) -> None:
        upper, lower = panels(figure, height, 2, 1, left=1.6, right=1.5, down=0.12, heights=(2.6, 0.9))
        if not binned.count.sum():
            say(upper, "nothing to count")
            return
        there = binned.count > 0
        hits = np.nan_to_num(binned.happened * binned.count)
        low, high = wilson(hits, binned.count)
        upper.plot([0, 1], [0, 1], color=GREY, lw=0.8, ls="--")
        upper.vlines(binned.stated[there], low[there], high[there], color=FIRST, lw=2.2, alpha=0.4)
        upper.plot(binned.stated[there], binned.happened[there], "o-", color=FIRST, ms=4, lw=1)
        upper.set(xlim=(0, 1), ylim=(-0.02, 1.02), ylabel="share that is there", xticklabels=[])
        lower.bar(np.arange(0.05, 1, 0.1), np.maximum(binned.count, 0.5), 0.09, color="#9db8d6", bottom=0)
        lower.set(xlim=(0, 1), yscale="log", ylim=(0.7, None), xlabel="stated probability", ylabel="cases")

    caption = (
        f"Reliability of the presence probability, all {words.items} together "
        f"({int(binned.count.sum())} cases): of "
        "what is stated with 80 %, 80 % should be there (bar: 95 % interval). Below: how many cases. "
        "Expected "
        f"calibration error {gap:.3f}."
    )
    return Drawing(height, draw, caption, caption)


def aurocs(found: Presence, words: Words) -> list[Drawing]:
    """Draw the AUROC of each item."""
    values = item_aurocs(found)
    finite = values[np.isfinite(values)]
    least = f" with at least {found.least_amount:g} {found.amount_units}" if found.least_amount > 0 else ""
    lowest = float(finite.min()) if finite.size else 1.0
    notes = [f"{v:.4f}" if np.isfinite(v) else "" for v in values]
    return dot_lists(
        found.names,
        values,
        values,
        values,
        "AUROC",
        f"How well the probability separates {words.patterns} with the {words.item}{least} from those "
        "without "
        "it: area under the ROC (1: always higher; 0.5: no better than a coin).",
        "AUROC: " + "; ".join(f"{n} {t or 'none'}" for n, t in zip(found.names, notes, strict=True)),
        limits=(min(0.98, lowest - 0.02), 1.002),
        notes=notes,
    )


def by_amount(found: Presence, words: Words) -> Drawing:
    """Draw the share found against the amount, in eight classes of equally many presences."""
    found = found.finite()
    there = found.truth & np.isfinite(found.amount) & (found.amount > 0)
    claimed = found.probability >= found.threshold
    amounts, hit = found.amount[there], claimed[there]
    order = np.argsort(amounts, kind="stable")
    classes = [c for c in np.array_split(order, 10) if len(c)]
    x = np.array([np.median(amounts[c]) for c in classes])
    share = np.array([hit[c].mean() for c in classes])
    height = 2.7

    def draw(figure: Any) -> None:
        (axes,) = panels(figure, height, 1, 1, left=1.2, right=1.2)
        if not classes:
            say(axes, f"no {words.item} with a known amount")
            return
        low, high = wilson(np.array([hit[c].sum() for c in classes]), np.array([len(c) for c in classes]))
        axes.vlines(x, 100 * low, 100 * high, color=FIRST, lw=2.2, alpha=0.4)
        axes.plot(x, 100 * share, "o-", color=FIRST, ms=4, lw=1)
        if found.least_amount > 0:
            axes.axvline(found.least_amount, color=ACCENT, lw=0.8, ls="--")
        if x.max() > 20 * x.min():
            axes.set_xscale("log")
        axes.grid(axis="y", lw=0.4, color="#e3e5e8")
        axes.set(xlabel=plain(f"amount ({found.amount_units})"), ylabel="found (%)", ylim=(min(0, 0), 102))

    spoken = "; ".join(f"at {a:.3g}: {100 * s:.0f} %" for a, s in zip(x, share, strict=True))
    caption = (
        f"How little is seen: share of presences found at probability {found.threshold:g}, against the "
        "amount, all "
        f"{words.items} together (bar: 95 % interval"
        + (f"; dashed: {found.least_amount:g} {found.amount_units})." if found.least_amount > 0 else ").")
    )
    return Drawing(height, draw, caption, f"{caption} {spoken}")
