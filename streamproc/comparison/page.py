"""The comparison as a picture and as one page of HTML that needs nothing else."""

from __future__ import annotations

import base64
import csv
import html
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from streamproc.comparison.comparison import Comparison
from streamproc.export.need import needed

__all__ = ["number", "quantity_rows", "write_report"]

_MOST_ROWS = 50
_MOST_PANELS = 6

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 62em; padding: 0 1em }
table { border-collapse: collapse; margin: 1em 0 } th, td { padding: .25em .8em; text-align: right }
th { border-bottom: 2px solid #888; font-weight: 600 } td { border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left } img { max-width: 100% } .note { color: #666 }
.bad { color: #b00020; font-weight: 600 } .good { color: #006d3c; font-weight: 600 }
"""

HEAD = ("quantity", "units", "points", "mean diff.", "rms diff.", "largest diff.", "median sigma", "beyond",
        "largest z", "at seq_num")  # fmt: skip


def write_report(comparison: Comparison, folder: Path) -> list[Path]:
    """Write ``comparison.png``, ``comparison.html``, ``comparison.json`` and ``differing.csv``.

    Raises
    ------
    ConfigurationError
        matplotlib is not installed.
    """
    needed("matplotlib", "a picture")
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / "comparison.png"
    _draw(comparison, picture)
    page, data, points = (folder / n for n in ("comparison.html", "comparison.json", "differing.csv"))
    page.write_text(_page(comparison, picture.read_bytes()), encoding="utf-8")
    data.write_text(json.dumps(comparison.to_json(), indent=1) + "\n", encoding="utf-8")
    _write_points(comparison, points)
    return [page, picture, data, points]


def quantity_rows(comparison: Comparison) -> Iterator[list[str]]:
    """Yield the rows of the table of quantities, as :data:`HEAD` names their cells."""
    for q in comparison.quantities:
        at = "" if q.at_seq_num is None else str(q.at_seq_num)
        yield [
            q.name, q.units, str(q.points), number(q.mean_difference), number(q.rms_difference),
            number(q.largest_difference), number(q.median_sigma), str(q.beyond), number(q.largest_z), at,
        ]  # fmt: skip


def number(value: float) -> str:
    """Return three digits of a number, a dash for none."""
    return f"{value:.3g}" if math.isfinite(value) else "-"


def _draw(comparison: Comparison, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = comparison.quantities[:_MOST_PANELS]
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.8 * rows + 3.0), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(rows + 1, columns)
    for place, quantity in enumerate(shown):
        axes = figure.add_subplot(grid[divmod(place, columns)])
        _scatter(axes, comparison, quantity.name, quantity.units)
    axes = figure.add_subplot(grid[rows, :])
    for quantity in shown:
        axes.plot(comparison.seq_nums, comparison.z[quantity.name], ".", ms=4, label=quantity.name)
    for level in (-comparison.threshold, comparison.threshold):
        axes.axhline(level, color="0.5", lw=1, ls="--")
    axes.set(xlabel="seq_num", ylabel="difference / combined sigma")
    axes.legend(
        fontsize="small",
        ncols=max(1, len(shown)),
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        frameon=False,
    )
    figure.suptitle(f"{comparison.models[1]} against {comparison.models[0]}, run {comparison.run_uid[:8]}")
    figure.savefig(path, dpi=110)


def _scatter(axes: Any, comparison: Comparison, name: str, units: str) -> None:
    first, second, sigma_first, sigma_second = comparison.values[name]
    counts = ~np.isnan(comparison.z[name])
    beyond = counts & (np.abs(np.nan_to_num(comparison.z[name])) > comparison.threshold)
    for mask, colour in ((counts & ~beyond, "#3c8ce6"), (beyond, "#e65a14")):
        if mask.any():
            axes.errorbar(
                first[mask], second[mask], sigma_second[mask], sigma_first[mask], fmt=".", ms=4, lw=0.5,
                color=colour,
            )  # fmt: skip
    low, high = axes.get_xlim()[0], axes.get_xlim()[1]
    axes.plot([low, high], [low, high], color="0.5", lw=1)
    unit = f" ({units})" if units not in ("", "1") else ""
    axes.set(title=name + unit, xlabel=comparison.models[0], ylabel=comparison.models[1])


def _page(c: Comparison, picture: bytes) -> str:
    image = base64.b64encode(picture).decode()
    both = c.in_domain["both"]
    kind = "bad" if c.differing_points else "good"
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{_text(c.models[1])} against "
        f"{_text(c.models[0])}</title><style>{_STYLE}</style>",
        f"<h1>{_text(c.models[1])} against {_text(c.models[0])}</h1><p>Raw run {_text(c.run_uid)}.</p>",
        f"<p class='{kind}'>{c.differing_points} of {both} points in both domains differ by more than "
        f"{c.threshold:g} combined standard uncertainties.</p>",
        _table(HEAD, list(quantity_rows(c))),
        f"<img alt='values of both models and their differences' src='data:image/png;base64,{image}'>",
        "<h2>In domain</h2>",
        _table(
            ("answered by both", "in both domains", f"only {c.models[0]}", f"only {c.models[1]}", "neither"),
            [
                [
                    str(c.common),
                    *(str(c.in_domain[k]) for k in ("both", "only_first", "only_second", "neither")),
                ]
            ],
        ),
        _timings(c),
        "<h2>Where they differ most</h2>" if c.differing else "",
        _differing(c) if c.differing else "",
        *(f"<p class='note'>{_text(note)}</p>" for note in c.notes),
        "</html>\n",
    ]
    return "\n".join(part for part in parts if part)


def _timings(c: Comparison) -> str:
    if not c.timings:
        return ""
    rows = [
        [m, str(t.frames), number(t.median_ms), number(t.p95_ms), number(t.frames_per_s)]
        for m, t in zip(c.models, c.timings, strict=True)
    ]
    head = ("model", "frames", "median ms a frame", "95 % below", "frames/s")
    return "<h2>Time</h2>" + _table(head, rows)


def _differing(c: Comparison) -> str:
    motors = list(c.differing[0].motors)
    rows = [
        [str(d.seq_num), d.quantity, *(str(d.motors[m]) for m in motors), number(d.first), number(d.second),
         number(d.sigma), number(d.z)]
        for d in c.differing[:_MOST_ROWS]
    ]  # fmt: skip
    return _table(("seq_num", "quantity", *motors, *c.models, "combined sigma", "z"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join(f"<th>{_text(h)}</th>" for h in head)
    body = "".join("<tr>" + "".join(f"<td>{_text(v)}</td>" for v in row) + "</tr>" for row in rows)
    return f"<table><tr>{cells}</tr>{body}</table>"


def _text(value: str) -> str:
    return html.escape(str(value))


def _write_points(c: Comparison, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        motors = list(c.differing[0].motors) if c.differing else []
        writer.writerow(["seq_num", *motors, "quantity", *c.models, "combined_sigma", "z"])
        for d in c.differing:
            place = [d.motors[m] for m in motors]
            writer.writerow([d.seq_num, *place, d.quantity, d.first, d.second, d.sigma, d.z])
