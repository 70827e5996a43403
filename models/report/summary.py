"""The report in plain words: what the model is for, how far to trust it, what it cannot do."""

from __future__ import annotations

import math

import numpy as np
from streamproc.models.report.evidence import Evidence, Presence, Quantities
from streamproc.models.report.figures import stopping
from streamproc.models.report.figures_foreign import COMBINED, named_signals
from streamproc.models.report.metrics import auroc, detection_at, wilson
from streamproc.models.report.scores import (
    Score,
    coverage90,
    item_aurocs,
    pooled_f1,
    quantity_scores,
    share_bands,
)

__all__ = ["cannot", "figure", "headline", "purpose", "trust"]

_WEAK_AUROC = 0.99
_WEAK_DETECTION = 0.6
_CLOSE = 0.02
"""A difference in coverage that changes nothing for who uses the intervals."""
_ENOUGH = 50
"""Patterns from which on a coverage of 90 % that looks right means something."""


def purpose(evidence: Evidence) -> list[str]:
    """Return what it may be used for."""
    facts = evidence.facts
    said = [facts.purpose or f"{facts.name}:{facts.version}: its purpose was not stated."]
    if facts.valid_for:
        said.append("Trained for: " + "; ".join(f"{k} {v}" for k, v in facts.valid_for.items()) + ".")
    return said


def headline(evidence: Evidence) -> list[tuple[str, Score]]:
    """Return the main scores, each with what it was counted on (``simulated``, ``measured``)."""
    words, rows = evidence.words, []
    for kind, found, presence in (
        ("measured", evidence.measured, evidence.measured_presence),
        ("simulated", evidence.simulated, evidence.presence),
    ):
        if found is not None and found.scored().any():
            rows += [(kind, s) for s in quantity_scores(found, words.patterns)]
        if presence is not None and len(presence.truth):
            rows.append((kind, pooled_f1(presence, f"F1 of {words.items} claimed")))
            rows += [(kind, s) for s in _auroc_scores(presence)]
    return rows + [("simulated", s) for s in _foreign_scores(evidence)]


def _auroc_scores(presence: Presence) -> list[Score]:
    values = item_aurocs(presence)
    values = values[np.isfinite(values)]
    if not values.size:
        return []
    counted = f"{values.size} of {len(presence.names)}"
    return [
        Score("presence AUROC, lowest", float(values.min()), np.nan, np.nan, "", counted),
        Score("presence AUROC, median", float(np.median(values)), np.nan, np.nan, "", counted),
    ]


def _foreign_scores(evidence: Evidence) -> list[Score]:
    if evidence.signals is None or not (signals := named_signals(evidence.signals)):
        return []
    _, usual, foreign = signals[0]
    foreign = foreign[~np.isnan(foreign)]
    share = detection_at(usual, foreign)
    low, high = wilson(np.array(share * len(foreign)), np.array(len(foreign)))
    counted = f"{len(foreign)} foreign, {len(usual)} proper"
    return [
        Score(
            f"AUROC of what is foreign, {signals[0][0]}", auroc(usual, foreign), np.nan, np.nan, "", counted
        ),
        Score(
            "foreign detected at 1 % false alarms",
            100 * share,
            100 * float(low),
            100 * float(high),
            "%",
            counted,
        ),
    ]


def trust(evidence: Evidence) -> list[str]:
    """Return how far to trust it, in sentences with figures."""
    said = []
    for kind, found in (("measured", evidence.measured), ("simulated", evidence.simulated)):
        if found is None or not found.scored().any():
            continue
        mean = [s for s in quantity_scores(found, evidence.words.patterns) if s.name.startswith("mean error")]
        parts = "; ".join(f"{s.name} {figure(s.value)} {s.units}" for s in mean[:4])
        said.append(f"On {kind} {evidence.words.patterns}: {parts}. {_interval_words(found)}")
    if evidence.curve is not None:
        said.append(stopping(evidence.curve).replace(" (dashed line)", ""))
    return said or ["Nothing was scored: this report gives no reason to trust the model."]


def _interval_words(found: Quantities) -> str:
    inside, used = coverage90(found)
    there = used & (found.truth > 0)
    where = there if there.any() else used
    n, hits = int(where.sum()), int((inside & where).sum())
    if not n:
        return "There are no 90 % intervals to judge."
    # Quantities of one pattern err together: the band is that of as many trials as there are patterns.
    patterns = int(where.any(1).sum())
    low, high = (float(v) for v in wilson(np.array(hits / n * patterns), np.array(patterns)))
    sound = (
        "they do what they say" if patterns >= _ENOUGH else "too few to tell whether that is as it should be"
    )
    if abs(hits / n - 0.9) < _CLOSE and patterns >= _ENOUGH:
        verdict = sound
    else:
        careful = "they are wider than they need be" if low > 0.9 else sound
        verdict = "they are too narrow" if high < 0.9 else careful
    return f"Its 90 % intervals hold the truth in {100 * hits / n:.1f} % of {n} values: {verdict}."


def cannot(evidence: Evidence) -> list[str]:
    """Return what it cannot do or what nobody has shown."""
    words, said = evidence.words, list(evidence.facts.cannot)
    if evidence.measured is None and evidence.measured_presence is None:
        said.append(f"No measured {words.patterns} were scored: how it does on real data is unknown.")
    elif evidence.measured is not None and not evidence.measured.scored().any():
        said.append(
            f"None of the measured {words.patterns} counts (see below): how it does on real data is unknown."
        )
    if evidence.simulated is None:
        said.append(f"No held-out simulated {words.patterns} were scored.")
    said += _broken(evidence) + _weak_items(evidence) + _blind(evidence)
    return said or ["Nothing beyond the ranges above was found; what lies outside them was not tried."]


def _broken(evidence: Evidence) -> list[str]:
    said = []
    for kind, found in (("simulated", evidence.simulated), ("measured", evidence.measured)):
        if found is None:
            continue
        asked = found.asked()
        broken = int((asked & ~np.isfinite(found.value)).sum())
        if broken:
            said.append(
                f"{broken} of {int(asked.sum())} answers for {kind} {evidence.words.patterns} were not "
                "numbers; "
                "they are in no score and in no figure."
            )
    for presence in (evidence.presence, evidence.measured_presence):
        if presence is not None and (lost := len(presence.truth) - len(presence.finite().truth)):
            said.append(
                f"{lost} of {len(presence.truth)} {evidence.words.patterns} got presence probabilities "
                "that are not "
                "numbers; they are not counted."
            )
    return said


def _weak_items(evidence: Evidence) -> list[str]:
    if evidence.presence is None:
        return []
    presence, words = evidence.presence, evidence.words
    values = item_aurocs(presence)
    said = []
    never = [n for n, v in zip(presence.names, values, strict=True) if not math.isfinite(v)]
    if never:
        said.append(f"Presence could not be judged for {_list(never)}: too few cases with and without.")
    weak = sorted((v, n) for n, v in zip(presence.names, values, strict=True) if v < _WEAK_AUROC)
    if weak:
        named = [f"{n} ({v:.3f})" for v, n in weak]
        least = (
            f" of at least {presence.least_amount:g} {presence.amount_units}" if presence.least_amount else ""
        )
        said.append(
            f"Presence{least} is doubtful (AUROC below {_WEAK_AUROC}) for {len(weak)} of {len(values)} "
            f"{words.items}: "
            f"{_list(named)}."
        )
    return said


def _blind(evidence: Evidence) -> list[str]:
    if evidence.signals is None or not (signals := named_signals(evidence.signals)):
        return ["Whether it notices patterns that it is not meant for was not tried."]
    name, usual, foreign = signals[0]
    bands = share_bands(evidence.signals, usual, foreign)
    blind = [f"{b} ({100 * s:.0f} % found)" for b, _, s in bands if s < _WEAK_DETECTION]
    rule = "limits" if name == COMBINED else name
    if not blind:
        return []
    return [
        f"At 1 % false alarms its {rule} overlook much of {evidence.words.foreign} at shares of "
        f"{', '.join(blind)}."
    ]


def _list(names: list[str], most: int = 8) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def figure(value: float) -> str:
    """Return a figure with three significant digits, or a dash."""
    if not math.isfinite(value):
        return "-"
    if value and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.2e}"
    digits = 2 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{min(5, max(0, digits))}f}"
