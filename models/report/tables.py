"""Tables that follow from the evidence."""

from __future__ import annotations

import numpy as np
from streamproc.models.report.evidence import Presence, Quantities
from streamproc.models.report.metrics import confusion_counts, errors_of, f1
from streamproc.models.report.parts import Table, Words
from streamproc.models.report.scores import coverage90
from streamproc.models.report.summary import figure

__all__ = ["found_table", "measured_table", "misses_table", "quantity_table"]

_MOST_ROWS = 400
_JOIN = "\u00a0"
"""A blank at which no line breaks."""

_MANY = 8
_ABSENT_SHOWN = 3


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
    """Return the answers for measured patterns beside the truth; of many only those that matter."""
    counted = np.ones(len(found.truth), bool) if found.counted is None else found.counted.astype(bool)
    rows: list[tuple[str, ...]] = []
    left = 0
    for i in range(len(found.truth)):
        columns, without = _columns_that_matter(found, i)
        left += without
        remarks = [found.remarks[i]] if found.remarks else []
        remarks += [] if counted[i] else ["not counted"]
        first = (found.patterns[i] if found.patterns else str(i + 1), "; ".join(r for r in remarks if r))
        for k, c in enumerate(columns):
            pattern, remark = first if k == 0 else ("", "")
            rows.append((pattern, found.names[c], *_answer(found, i, c), remark))
    note = f"{left} smaller answers for what is not there are left out. " if left else ""
    if len(rows) > _MOST_ROWS:
        note += f"The first {_MOST_ROWS} of {len(rows)} rows."
    header = (words.pattern, "quantity", "true", "answered", "90 % interval", "holds it", "remark")
    return Table("Answer by answer", header, tuple(rows[:_MOST_ROWS]), note)


def _columns_that_matter(found: Quantities, row: int) -> tuple[list[int], int]:
    """Everything of few quantities; of many, what is there and the largest answers for what is not."""
    columns = np.flatnonzero(found.meaningful[row].astype(bool))
    if len(found.names) <= _MANY:
        return [int(c) for c in columns], 0
    there = columns[found.truth[row, columns] != 0]
    absent = columns[found.truth[row, columns] == 0]
    largest = absent[np.argsort(-np.nan_to_num(found.value[row, absent]), kind="stable")][:_ABSENT_SHOWN]
    return [int(c) for c in (*there, *largest)], len(absent) - len(largest)


def _answer(found: Quantities, i: int, c: int) -> tuple[str, str, str, str]:
    true, value = found.truth[i, c], found.value[i, c]
    low, high, units = found.low90[i, c], found.high90[i, c], found.units[c]
    edge = 1e-6 * max(1e-6, abs(true))
    holds = "yes" if low - edge <= true <= high + edge else "no"
    known = np.isfinite([true, low, high, value]).all()
    return (
        f"{figure(true)}{_JOIN}{units}",
        f"{figure(value)}{_JOIN}±{_JOIN}{figure(found.sigma[i, c])}",
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
    right = f"{len(names) - len(rows)} of {len(names)} {words.patterns} are right."
    note = f"{right} In brackets: the probability stated."
    if len(rows) > _MOST_ROWS:
        note += f" The first {_MOST_ROWS} of {len(rows)} rows."
    return Table(
        f"Measured {words.patterns} answered wrongly",
        (words.pattern, "missed", "claimed, not there"),
        tuple(rows[:_MOST_ROWS]),
        note,
    )


def found_table(found: Presence, words: Words) -> Table:
    """Return how often each item was found and claimed in vain, of those that were there or claimed."""
    found = found.finite()
    hits, vain, misses, absent = confusion_counts(found.truth, found.probability >= found.threshold)
    score = f1(hits, vain, misses)
    rows = [
        (
            name,
            f"{hits[k]} of {hits[k] + misses[k]}",
            f"{vain[k]} of {vain[k] + absent[k]}",
            figure(float(score[k])),
        )
        for k, name in enumerate(found.names)
        if hits[k] + misses[k] + vain[k]
    ]
    rest = len(found.names) - len(rows)
    note = f"{rest} {words.items} were neither there nor claimed." if rest else ""
    title = f"Found in measured {words.patterns}, at probability {found.threshold:g}"
    return Table(title, (words.item, "found", "claimed in vain", "F1"), tuple(rows), note)


def _named(found: Presence, row: int, columns: np.ndarray) -> str:
    return ", ".join(f"{found.names[c]} ({found.probability[row, c]:.2f})" for c in columns)
