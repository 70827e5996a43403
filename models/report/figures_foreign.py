"""Figures of what the model is not meant for: ROC of the signals, what is detected, the signals."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.report.evidence import Signals
from streamproc.models.report.metrics import auroc, roc, wilson
from streamproc.models.report.parts import Words
from streamproc.models.report.scores import combined_signal, share_bands
from streamproc.models.report.style import ABSENT, ACCENT, FOREIGN, GREY, PARTS, Drawing, panels, plain, say

__all__ = ["detected_by_share", "foreign_roc", "named_signals", "signal_histograms"]

Array = npt.NDArray[Any]

COMBINED = "all limits together"


def named_signals(found: Signals) -> list[tuple[str, Array, Array]]:
    """Return name, usual and foreign values of each signal that has any, the combined one first."""
    both = [(COMBINED, combined_signal(found, found.usual), combined_signal(found, found.foreign))]
    both += [(n, found.usual[:, k], found.foreign[:, k]) for k, n in enumerate(found.names)]
    finite = [(n, u[~np.isnan(u)], f) for n, u, f in both]
    return [(n, u, f) for n, u, f in finite if len(u) and (~np.isnan(f)).any()]


def foreign_roc(found: Signals, words: Words) -> Drawing:
    """Draw detection against false alarms, linear and for few false alarms."""
    signals = named_signals(found)
    areas = [auroc(u, f[~np.isnan(f)]) for _, u, f in signals]
    alarms, hits = _rates(found)
    height = 3.5

    def draw(figure: Any) -> None:
        axes = panels(figure, height, 1, 2, left=0.55, top=0.15, bottom=0.45, across=0.55)
        if not signals:
            say(axes[0], "no signal to compare")
            return
        for k, ((name, usual, foreign), area) in enumerate(zip(signals, areas, strict=True)):
            x, y = roc(usual, foreign[~np.isnan(foreign)])
            first = name == COMBINED
            colour, width = ("black", 2.0) if first else (PARTS[(k - 1) % len(PARTS)], 1.1)
            for panel in axes:
                panel.step(
                    100 * x,
                    100 * y,
                    where="post",
                    color=colour,
                    lw=width,
                    ls="-" if k <= 8 else ":",
                    label=plain(f"{name} ({area:.3f})"),
                    zorder=4 if first else 3,
                )
        if np.isfinite(alarms):
            for panel in axes:
                panel.plot(
                    100 * alarms,
                    100 * hits,
                    "D",
                    color=ACCENT,
                    ms=6,
                    mec="white",
                    zorder=5,
                    label="limits as shipped",
                )
        axes[0].plot([0, 100], [0, 100], color=GREY, lw=0.6, ls="--")
        axes[0].set(xlim=(-1, 100), ylim=(-1, 101), xlabel="false alarms (%)", ylabel="detected (%)")
        least = max(0.05, 100 / max(len(u) for _, u, _ in signals))
        axes[1].set(xscale="log", xlim=(least, 100), ylim=(-1, 101), xlabel="false alarms (%)")
        axes[1].axvline(1, color=GREY, lw=0.8, ls="--")
        axes[0].legend(loc="lower right", title="AUROC in brackets", title_fontsize=7)

    spoken = "; ".join(f"{n} {a:.4f}" for (n, _, _), a in zip(signals, areas, strict=True))
    caption = (
        f"Out of domain: share of {words.patterns} with {words.foreign} that each signal detects, "
        "against the share "
        "of proper ones that it calls foreign, for all limits (right: the same, few false alarms "
        "spread out; dashed: "
        "1 %). Black: the rule that the model follows, all limits loosened or tightened together."
    )
    if np.isfinite(alarms):
        caption += f" As shipped: {100 * hits:.1f} % detected at {100 * alarms:.2f} % false alarms."
    return Drawing(height, draw, caption, f"{caption} AUROC: {spoken}")


def _rates(found: Signals) -> tuple[float, float]:
    """False alarms and detections of the limits as shipped."""
    usual, foreign = combined_signal(found, found.usual), combined_signal(found, found.foreign)
    if not len(usual) or not len(foreign) or np.isnan(usual).all():
        return float("nan"), float("nan")
    return float((usual > 0).mean()), float((foreign > 0).mean())


def detected_by_share(found: Signals, words: Words) -> Drawing:
    """Draw what is detected at 1 % false alarms by how much is foreign, for every signal."""
    signals = [(n, share_bands(found, u, f)) for n, u, f in named_signals(found)]
    bands = signals[0][1] if signals else []
    height = 3.0

    def draw(figure: Any) -> None:
        axes, legend = panels(
            figure, height, 1, 2, left=0.55, top=0.15, bottom=0.6, widths=(4.4, 1.8), across=0.1
        )
        if not bands:
            say(axes, "nothing foreign with a known share")
            legend.axis("off")
            return
        places = {band: x for x, (band, _, _) in enumerate(bands)}
        for k, (name, rows) in enumerate(signals):
            x = np.array([places[b] for b, _, _ in rows]) + (k - (len(signals) - 1) / 2) * 0.6 / len(signals)
            n, share = (np.array([r[i] for r in rows]) for i in (1, 2))
            low, high = wilson(share * n, n)
            colour = "black" if name == COMBINED else PARTS[(k - 1) % len(PARTS)]
            axes.vlines(x, 100 * low, 100 * high, color=colour, lw=1.8, alpha=0.4)
            axes.plot(x, 100 * share, "D" if name == COMBINED else "o", color=colour, ms=4, label=plain(name))
        axes.set_xticks(range(len(bands)), [f"{b}\n({n})" for b, n, _ in bands])
        axes.set(ylim=(-2, 102), ylabel="detected (%)", xlabel=f"foreign share (number of {words.patterns})")
        axes.grid(axis="y", lw=0.4, color="#e3e5e8")
        legend.axis("off")
        legend.legend(*axes.get_legend_handles_labels(), loc="upper left")

    spoken = "; ".join(f"{b}: {100 * s:.1f} % of {n}" for b, n, s in bands)
    few = (
        ""
        if len(found.usual) >= 100
        else " Fewer than 100 proper ones: 1 % means that none of them is called foreign."
    )
    caption = (
        f"Detected at 1 % false alarms, by how much of the {words.pattern} is foreign "
        f"(bar: 95 % interval).{few}"
    )
    return Drawing(height, draw, caption, f"{caption} {COMBINED}: {spoken}")


def signal_histograms(found: Signals, words: Words) -> list[Drawing]:
    """Draw how each signal is distributed, with its limit."""
    chosen = [
        k
        for k in range(len(found.names))
        if np.isfinite(found.usual[:, k]).any() or np.isfinite(found.foreign[:, k]).any()
    ]
    drawings = []
    for start in range(0, len(chosen), 12):
        part = chosen[start : start + 12]
        rows = -(-len(part) // 3)
        height = rows * 1.65 + 0.35

        def draw(figure: Any, part: list[int] = part, rows: int = rows, height: float = height) -> None:
            made = panels(figure, height, rows, 3, left=0.45, top=0.3, bottom=0.35, across=0.4, down=0.55)
            for k, axes in enumerate(made):
                if k < len(part):
                    _histogram(axes, found, part[k], k == 0)
                else:
                    axes.remove()

        caption = (
            f"The signals: proper {words.patterns} (grey) and those with {words.foreign} (magenta), "
            "each as a share of "
            "its kind; dashed: the limit above which the model abstains. Values beyond the panel "
            "count at its edge."
        )
        limits = "; ".join(f"{found.names[k]} limit {found.limits[k]:.3g}" for k in part)
        drawings.append(Drawing(height, draw, caption, f"{caption} {limits}"))
    return drawings


def _histogram(axes: Any, found: Signals, column: int, legend: bool) -> None:
    usual, foreign = (v[np.isfinite(v)] for v in (found.usual[:, column], found.foreign[:, column]))
    limit = found.limits[column]
    both = np.concatenate([usual, foreign, [limit] if np.isfinite(limit) else []])
    # A few extreme values must not squeeze the rest into one bar.
    low, high = np.quantile(both, [0.0, 0.98])
    high = max(high, 1.2 * limit if np.isfinite(limit) and limit > 0 else high)
    bins = np.linspace(low, high if high > low else low + 1, 40)
    for values, colour, name in ((usual, ABSENT, "proper"), (foreign, FOREIGN, "foreign")):
        if values.size:
            weights = np.full(values.size, 100 / values.size)
            axes.hist(
                np.clip(values, bins[0], bins[-1]),
                bins,
                weights=weights,
                color=colour,
                alpha=0.55,
                label=name,
            )
    if np.isfinite(limit):
        axes.axvline(limit, color="black", lw=0.9, ls="--")
    axes.set_title(plain(found.names[column]), pad=3)
    axes.locator_params(axis="x", nbins=5)
    if legend:
        axes.set_ylabel("share (%)")
        axes.legend()
