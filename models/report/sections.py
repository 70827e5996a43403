"""The report's order: sections of paragraphs, tables and drawings, the same for HTML and PDF."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from streamproc.models.report.evidence import Evidence, Quantities
from streamproc.models.report.figures import coverage, learning_curve, parity, sharpness
from streamproc.models.report.figures_cases import worst_case
from streamproc.models.report.figures_foreign import detected_by_share, foreign_roc, signal_histograms
from streamproc.models.report.figures_presence import (
    aurocs,
    by_amount,
    confusion,
    mistaken,
    reliability_diagram,
)
from streamproc.models.report.parts import Table
from streamproc.models.report.style import Drawing
from streamproc.models.report.summary import cannot, figure, headline, purpose, trust
from streamproc.models.report.tables import found_table, measured_table, misses_table, quantity_table

__all__ = ["Bullets", "Section", "sections"]


@dataclass(frozen=True, slots=True)
class Bullets:
    """A small heading and sentences under it."""

    title: str
    lines: tuple[str, ...]


_NO_INTERVALS = "No uncertainties were given: how far the answers are off is known only on average."

Block = str | Bullets | Table | Drawing


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what is under it."""

    title: str
    blocks: tuple[Block, ...]


def sections(evidence: Evidence) -> list[Section]:
    """Return the whole report; a part without evidence says so."""
    found = [
        Section("In short", _short(evidence)),
        Section("Notes and warnings", (Bullets("", evidence.notes),) if evidence.notes else ("None.",)),
        Section("Learning curve", _curve(evidence)),
        Section(f"Measured {evidence.words.patterns}", _measured(evidence)),
        Section(f"Held-out simulated {evidence.words.patterns}", _simulated(evidence)),
        Section("What is there", _presence(evidence)),
        Section("Out of domain", _foreign(evidence)),
        Section("Worst cases", _worst(evidence)),
    ]
    if evidence.tables:
        found.append(Section("Further figures", evidence.tables))
    return [*found, Section("How it was made", _facts(evidence))]


def _short(evidence: Evidence) -> tuple[Block, ...]:
    blocks: list[Block] = [
        Bullets("What it may be used for", tuple(purpose(evidence))),
        Bullets("How far to trust it", tuple(trust(evidence))),
        Bullets("What it cannot do, or nobody has shown", tuple(cannot(evidence))),
    ]
    rows = tuple(
        (
            kind,
            s.name,
            f"{figure(s.value)} {s.units}".strip() if math.isfinite(s.value) else "-",
            f"{figure(s.low)} to {figure(s.high)}" if math.isfinite(s.low) else "",
            s.counted,
        )
        for kind, s in headline(evidence)
    )
    if rows:
        note = (
            f"Spread: 95 % interval, {evidence.words.patterns} drawn anew 200 times (shares detected: "
            "Wilson). It "
            "says nothing about another training run. 'Of what is there' leaves out quantities whose "
            "truth is 0."
        )
        blocks.append(Table("Main figures", ("on", "figure", "value", "spread", "counted over"), rows, note))
    return tuple(blocks)


def _curve(evidence: Evidence) -> tuple[Block, ...]:
    if evidence.curve is None or not len(evidence.curve.step):
        return ("No learning curve was recorded.",)
    return (learning_curve(evidence.curve),)


def _measured(evidence: Evidence) -> tuple[Block, ...]:
    blocks: list[Block] = []
    if evidence.measured is not None and len(evidence.measured.truth):
        blocks += [_lost(evidence.measured), measured_table(evidence.measured, evidence.words)]
        if not _numbers(evidence.simulated):
            blocks += parity(evidence.measured, None, f"measured {evidence.words.patterns}")
    if evidence.measured_presence is not None and len(evidence.measured_presence.truth):
        presence = evidence.measured_presence
        blocks += [misses_table(presence, evidence.words), found_table(presence, evidence.words)]
    if not blocks:
        return (
            f"No measured {evidence.words.patterns} with a known answer were given. Everything below "
            "is about "
            "simulated ones, and says nothing about how well the simulation matches a measurement.",
        )
    return tuple(b for b in blocks if b)


def _numbers(found: Quantities | None) -> bool:
    return found is not None and bool(found.scored().any())


def _lost(found: Quantities) -> str:
    asked, counted = found.asked(), found.counted
    parts = []
    if counted is not None and not counted.all():
        parts.append(
            f"{int((~counted.astype(bool)).sum())} of {len(counted)} had a part in the training and "
            "are in no score."
        )
    if lost := int((asked & ~np.isfinite(found.value)).sum()):
        parts.append(f"{lost} of {int(asked.sum())} answers are not numbers and are left out.")
    return " ".join(parts)


def _simulated(evidence: Evidence) -> tuple[Block, ...]:
    found = evidence.simulated
    if found is None or not len(found.truth):
        return (f"No held-out simulated {evidence.words.patterns} were given.",)
    if not _numbers(found):
        return ("Not one answer can be compared with a truth: all are NaN or without meaning.", _lost(found))
    blocks: list[Block] = [
        f"{len(found.truth)} {evidence.words.patterns} that neither training nor calibration saw. "
        f"{_lost(found)}",
        *parity(found, evidence.measured, f"held-out simulated {evidence.words.patterns}"),
        *(coverage(found, evidence.measured, evidence.words.patterns) or [_NO_INTERVALS]),
        *sharpness(found),
        quantity_table(found),
    ]
    return tuple(blocks)


def _presence(evidence: Evidence) -> tuple[Block, ...]:
    found, words = evidence.presence, evidence.words
    if found is None or not len(found.finite().truth):
        return ("No presence probabilities were given.",)
    blocks: list[Block] = [*confusion(found, words)]
    if len(found.names) > 1:
        drawn = mistaken(found, words)
        blocks.append(
            drawn or f"Never was one of the {words.items} missed while another was claimed in vain."
        )
    return (*blocks, reliability_diagram(found, words), *aurocs(found, words), by_amount(found, words))


def _foreign(evidence: Evidence) -> tuple[Block, ...]:
    found, words = evidence.signals, evidence.words
    if found is None or not len(found.usual) or not len(found.foreign):
        return (f"Whether it notices {words.foreign} was not tried.",)
    return (foreign_roc(found, words), detected_by_share(found, words), *signal_histograms(found, words))


def _worst(evidence: Evidence) -> tuple[Block, ...]:
    if not evidence.worst:
        return ("No worst cases were kept.",)
    blocks: list[Block] = []
    for case in evidence.worst:
        blocks.append(worst_case(case))
        if case.table:
            blocks.append(Table("", (evidence.words.item, "true", "answered"), case.table))
    return tuple(blocks)


def _facts(evidence: Evidence) -> tuple[Block, ...]:
    facts = evidence.facts
    took = f"{facts.duration_s:.0f} s" if math.isfinite(facts.duration_s) else "not recorded"
    rows = [("model", f"{facts.name}:{facts.version}"), ("training took", took)]
    if facts.command:
        rows.append(("the same again", facts.command))
    blocks: list[Block] = [Table("", ("", ""), tuple(rows))]
    for title, table in (
        ("Settings", facts.settings),
        ("Hashes", facts.hashes),
        ("Ranges it was trained on", facts.valid_for),
    ):
        if table:
            blocks.append(Table(title, ("name", "value"), tuple((k, str(v)) for k, v in table.items())))
    return tuple(blocks)
