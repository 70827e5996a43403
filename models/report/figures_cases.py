"""The worst answers, drawn: what was measured, what the answer amounts to, and the difference."""

from __future__ import annotations

from typing import Any

import numpy as np
from streamproc.models.report.parts import WorstCase
from streamproc.models.report.style import ACCENT, GREY, PARTS, Drawing, panels, plain, short

__all__ = ["worst_case"]

_PARTS_SHOWN = 8


def worst_case(case: WorstCase) -> Drawing:
    """Draw one case: curves above, difference below, the largest parts over the background."""
    fitted = bool(np.isfinite(case.calculated).any())
    top = 0.12 + 0.15 * -(-(min(len(case.parts), _PARTS_SHOWN) + 3) // 4)
    height = top + (3.0 if fitted else 2.1)

    def draw(figure: Any) -> None:
        heights = (3.0, 0.9) if fitted else (1.0,)
        made = panels(figure, height, len(heights), 1, left=0.6, top=top, down=0.08, heights=heights)
        axes = made[0]
        axes.plot(case.axis, case.measured, ".", color="#3c4450", ms=1.6, label="measured")
        base = np.nan_to_num(case.background)
        largest = sorted(case.parts, key=lambda n: -_area(case, n))[:_PARTS_SHOWN]
        for k, name in enumerate(largest):
            part = case.parts[name]
            axes.fill_between(case.axis, base, base + part, color=PARTS[k], alpha=0.35, lw=0)
            axes.plot(case.axis, base + part, color=PARTS[k], lw=0.7, label=plain(short(name, 26)))
        if np.isfinite(case.background).any():
            axes.plot(case.axis, case.background, color=GREY, lw=0.7, ls="--", label="background")
        if fitted:
            axes.plot(case.axis, case.calculated, color="black", lw=0.6, label="calculated")
            axes.tick_params(labelbottom=False)
            made[1].plot(case.axis, case.measured - case.calculated, color=ACCENT, lw=0.7)
            made[1].axhline(0, color=GREY, lw=0.6)
            made[1].set_ylabel("difference")
        axes.set_ylabel("intensity")
        axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=4, fontsize=6.5, borderaxespad=0.1)
        made[-1].set_xlabel(plain(case.axis_label))
        span = (np.nanmin(case.axis), np.nanmax(case.axis)) if np.isfinite(case.axis).any() else (0, 1)
        for panel in made:
            panel.set_xlim(*span)
            panel.margins(y=0.08)

    hidden = len(case.parts) - _PARTS_SHOWN
    caption = case.title if fitted else f"{case.title} (nothing was calculated for it)"
    caption += f" The {_PARTS_SHOWN} largest of {len(case.parts)} parts are drawn." if hidden > 0 else ""
    values = "; ".join(f"{n}: true {t}, answered {a}" for n, t, a in case.table)
    return Drawing(height, draw, caption, f"{caption} {values}")


def _area(case: WorstCase, name: str) -> float:
    return float(np.nansum(np.abs(case.parts[name])))
