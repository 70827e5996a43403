"""Everything a training report shows, as plain arrays and words, whatever the model is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.report.parts import Curve, Facts, Table, Words, WorstCase

from streamproc.errors import ConfigurationError

__all__ = ["EVIDENCE_FILE", "Evidence", "Presence", "Quantities", "Signals"]

EVIDENCE_FILE = "evidence.npz"
"""Name of the evidence in a version folder."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Quantities:
    """Numbers that the model gave, beside the truth.

    Attributes
    ----------
    names, units : tuple of str
        Of the q quantities; scores are pooled only over quantities of one unit.
    truth, value, sigma : ndarray, shape (n, q)
        True value, answer, and half-width of its 68 % interval. NaN where there is none.
    low90, high90 : ndarray, shape (n, q)
        The 90 % interval that the model publishes.
    meaningful : ndarray of bool, shape (n, q)
        Where the quantity can be read at all; elsewhere it is not counted.
    patterns : tuple of str
        Names of the n patterns; empty for simulated ones.
    counted : ndarray of bool, shape (n,), optional
        False for patterns that had a part in the training (they stopped it, say): shown, but in no score.
    remarks : tuple of str
        A word on each pattern (``abstained: unknown material``), or empty.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    truth: Array
    value: Array
    sigma: Array
    low90: Array
    high90: Array
    meaningful: Array
    patterns: tuple[str, ...] = ()
    counted: Array | None = None
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape = (len(self.truth), len(self.names))
        for name in ("truth", "value", "sigma", "low90", "high90", "meaningful"):
            _shaped(self, name, shape)
        _long(self, "units", len(self.names))
        for name in ("patterns", "remarks"):
            if getattr(self, name):
                _long(self, name, shape[0])
        if self.counted is not None:
            _shaped(self, "counted", shape[:1])

    def scored(self) -> Array:
        """Where an answer enters the scores: meaningful, counted, and truth and answer are numbers."""
        return np.asarray(self.asked() & np.isfinite(self.value))

    def asked(self) -> Array:
        """Where an answer was due: meaningful, counted, and the truth is a number."""
        counted = np.ones(len(self.truth), bool) if self.counted is None else self.counted.astype(bool)
        return np.asarray(self.meaningful.astype(bool) & counted[:, None] & np.isfinite(self.truth))


@dataclass(frozen=True, slots=True, eq=False)
class Presence:
    """Whether each of p items is there.

    Attributes
    ----------
    names : tuple of str
        Of the items.
    truth : ndarray of bool, shape (n, p)
        Whether it is there.
    probability : ndarray, shape (n, p)
        What the model says.
    amount : ndarray, shape (n, p)
        How much of it there is.
    threshold : float
        From this probability on the model claims that it is there.
    least_amount : float
        Smaller amounts are left out of the AUROC, as neither there nor not.
    amount_units : str
        Units of the amounts.
    patterns : tuple of str
        Names of the n patterns; empty for simulated ones.
    """

    names: tuple[str, ...]
    truth: Array
    probability: Array
    amount: Array
    threshold: float = 0.5
    least_amount: float = 0.0
    amount_units: str = ""
    patterns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("truth", "probability", "amount"):
            _shaped(self, name, (len(self.truth), len(self.names)))
        if self.patterns:
            _long(self, "patterns", len(self.truth))

    def finite(self) -> Presence:
        """Return the patterns in which every probability is a number."""
        rows = np.isfinite(self.probability).all(1)
        return Presence(
            self.names,
            self.truth[rows].astype(bool),
            self.probability[rows],
            self.amount[rows],
            self.threshold,
            self.least_amount,
            self.amount_units,
            tuple(p for p, kept in zip(self.patterns, rows, strict=False) if kept),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Signals:
    """What tells patterns that the model is not meant for; a larger value is more suspicious.

    Attributes
    ----------
    names : tuple of str
        Of the s signals.
    usual : ndarray, shape (n, s)
        For patterns the model is meant for. NaN where a signal was not computed.
    foreign : ndarray, shape (m, s)
        For patterns with something foreign in them.
    foreign_share : ndarray, shape (m,)
        How much of the pattern is foreign, 0 to 1.
    limits : ndarray, shape (s,)
        The model abstains above any of these; NaN for a signal that has no limit.
    """

    names: tuple[str, ...]
    usual: Array
    foreign: Array
    foreign_share: Array
    limits: Array

    def __post_init__(self) -> None:
        _shaped(self, "usual", (len(self.usual), len(self.names)))
        _shaped(self, "foreign", (len(self.foreign), len(self.names)))
        _shaped(self, "foreign_share", (len(self.foreign),))
        _shaped(self, "limits", (len(self.names),))


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """All that a report shows.

    Attributes
    ----------
    facts : Facts
        What the model is and how it was made.
    words : Words
        What to call things.
    curve : Curve, optional
        The course of the training.
    simulated, measured : Quantities, optional
        Held-out simulated patterns, and measured ones.
    presence, measured_presence : Presence, optional
        The same for what is there.
    signals : Signals, optional
        For patterns out of the domain.
    worst : tuple of WorstCase
        The worst answers, drawn.
    tables : tuple of Table
        Anything else, as a table.
    notes : tuple of str
        Warnings, ambiguities, what was counted and what not.
    """

    facts: Facts
    words: Words = field(default_factory=Words)
    curve: Curve | None = None
    simulated: Quantities | None = None
    measured: Quantities | None = None
    presence: Presence | None = None
    measured_presence: Presence | None = None
    signals: Signals | None = None
    worst: tuple[WorstCase, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()

    def save(self, path: Path) -> None:
        """Write it as one ``.npz`` file, without pickle; the same evidence gives the same bytes."""
        from streamproc.models.report.storing import save

        save(self, _KINDS, path)

    @staticmethod
    def load(path: Path) -> Evidence:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ConfigurationError
            The file is missing, damaged, or not evidence.
        """
        from streamproc.models.report.storing import load

        found = load(_KINDS, path)
        if not isinstance(found, Evidence):
            raise ConfigurationError(f"{path}: holds {type(found).__name__}, not the evidence of a training")
        return found


_KINDS: Mapping[str, type] = {
    kind.__name__: kind
    for kind in (Evidence, Facts, Words, Curve, Quantities, Presence, Signals, WorstCase, Table)
}


def _shaped(owner: object, name: str, shape: Sequence[int]) -> None:
    found = np.shape(getattr(owner, name))
    if found != tuple(shape):
        raise ConfigurationError(f"{type(owner).__name__}.{name}: expected shape {tuple(shape)}, got {found}")


def _long(owner: object, name: str, length: int) -> None:
    if len(getattr(owner, name)) != length:
        raise ConfigurationError(
            f"{type(owner).__name__}.{name}: expected {length} of them, got {len(getattr(owner, name))}"
        )
