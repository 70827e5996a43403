"""Tables that follow from the evidence."""

from __future__ import annotations

import numpy as np
from streamproc.models.report.evidence import Presence, Quantities
from streamproc.models.report.metrics import errors_of
from streamproc.models.report.parts import Table, Words
from streamproc.models.report.scores import coverage90
from streamproc.models.report.summary import figure

__all__ = ["measured_table", "misses_table", "quantity_table"]

_MOST_ROWS = 400


def quantity_table(found: Quantities) -> Table:
    """Return the errors and the coverage of each quantity."""
    inside, used = coverage90(found)
    rows = []
    for c, name in enumerate(found.names):
        where = found.scored()[:, c]
        errors = errors_of(found.truth[where, c], found.value[where, c])
        there = where & (found.truth[:, c] > 0)
        n = int(used[:, c].sum())
        covered = f"{100 * inside[:, c].sum() / n:.1f} %" if n else "-"
        figures = [errors.mean, errors_of(found.truth[there, c], found.value[there, c]).mean]
        figures += [errors.rms, errors.largest, errors.bias]
        rows.append((name, found.units[c], str(errors.n), *map(figure, figures), covered))
    header = ("quantity", "units", "n", "mean", "mean, there", "rms", "largest", "bias", "in 90 %")
    note = "Errors in the units of the quantity; bias is answer less truth; 'there' leaves out truths of 0."
    return Table("Errors by quantity", header, tuple(rows), note)


def measured_table(found: Quantities, words: Words) -> Table:
    """Return every answer for measured patterns beside the truth; where both are 0 or next to it, it is left out."""
    rows, left = [], 0
    counted = np.ones(len(found.truth), bool) if found.counted is None else found.counted.astype(bool)
    for i in range(len(found.truth)):
        first = True
        for c, name in enumerate(found.names):
            true, value = found.truth[i, c], found.value[i, c]
            if not found.meaningful[i, c]:
                continue
            if len(found.names) > 8 and true == 0 and found.low90[i, c] <= 0:
                left += 1
                continue
            remark = [found.remarks[i]] if found.remarks and first else []
            remark += ["not counted"] if first and not counted[i] else []
            pattern = (found.patterns[i] if found.patterns else str(i + 1)) if first else ""
            rows.append(
                (pattern, name, *_answer(found, i, c, true, value), "; ".join(r for r in remark if r))
            )
            first = False
    note = f"{left} values that are 0 and may be 0 are left out. " if left else ""
    if len(rows) > _MOST_ROWS:
        note += f"The first {_MOST_ROWS} of {len(rows)} rows."
    header = (words.pattern, "quantity", "true", "answered", "90 % interval", "holds it", "remark")
    return Table("Answer by answer", header, tuple(rows[:_MOST_ROWS]), note)


def _answer(found: Quantities, i: int, c: int, true: float, value: float) -> tuple[str, str, str, str]:
    low, high, units = found.low90[i, c], found.high90[i, c], found.units[c]
    edge = 1e-6 * max(1e-6, abs(true))
    holds = "yes" if low - edge <= true <= high + edge else "no"
    known = np.isfinite([true, low, high, value]).all()
    return (
        f"{figure(true)} {units}",
        f"{figure(value)} +- {figure(found.sigma[i, c])}",
        f"{figure(low)} to {figure(high)}",
        holds if known else "-",
    )


def misses_table(found: Presence, words: Words) -> Table:
    """Return what was missed and what was claimed in vain, pattern by pattern."""
    names = found.patterns or tuple(str(i + 1) for i in range(len(found.truth)))
    claimed = found.probability >= found.threshold
    rows = []
    for i, pattern in enumerate(names):
        missed = np.flatnonzero(found.truth[i].astype(bool) & ~claimed[i])
        vain = np.flatnonzero(~found.truth[i].astype(bool) & claimed[i])
        if len(missed) or len(vain):
            rows.append((pattern, _named(found, i, missed), _named(found, i, vain)))
    note = f"{len(names) - len(rows)} of {len(names)} {words.patterns} are right. In brackets: the probability stated."
    if len(rows) > _MOST_ROWS:
        note += f" The first {_MOST_ROWS} of {len(rows)} rows."
    return Table(
        f"Measured {words.patterns} answered wrongly",
        (words.pattern, "missed", "claimed, not there"),
        tuple(rows[:_MOST_ROWS]),
        note,
    )


def _named(found: Presence, row: int, columns: np.ndarray) -> str:
    return ", ".join(f"{found.names[c]} ({found.probability[row, c]:.2f})" for c in columns)
