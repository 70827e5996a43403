"""Parts of the evidence that are mostly words or curves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.errors import ConfigurationError

__all__ = ["Curve", "Facts", "Table", "Words", "WorstCase"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Words:
    """What the report calls things; the defaults suit any model.

    Attributes
    ----------
    item, items : str
        One thing that may be there, and several (``phase``, ``phases``).
    pattern, patterns : str
        One input of the model, and several.
    foreign : str
        What a pattern holds that the model is not meant for (``a phase that is not in the library``).
    """

    item: str = "item"
    items: str = "items"
    pattern: str = "pattern"
    patterns: str = "patterns"
    foreign: str = "something the model was not trained on"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the model is and how it was made.

    Attributes
    ----------
    name, version : str
        As in ``NAME:VERSION``.
    purpose : str
        What it answers, in a sentence.
    valid_for : mapping of str to str
        Ranges it was trained on.
    cannot : tuple of str
        What it cannot do, in sentences, besides what the figures tell.
    settings, hashes : mapping of str to str
        Training settings; hashes of model, data and inputs.
    duration_s : float
        How long the training took.
    command : str
        What makes the same model again.
    """

    name: str
    version: str
    purpose: str = ""
    valid_for: Mapping[str, str] = field(default_factory=dict)
    cannot: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    duration_s: float = float("nan")
    command: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """The course of the training.

    Attributes
    ----------
    name, units : str
        What ``validation`` holds (``mean error``, ``wt%``).
    step : ndarray, shape (k,)
        Epochs or steps.
    training : ndarray, shape (k,)
        The loss that was minimised. NaN where not recorded.
    validation : mapping of str to ndarray, shape (k,)
        By pattern set (``simulated``, ``measured: round robin``). NaN where not recorded.
    stopped_at : float, optional
        Step of the weights that were kept; None for the last.
    stopped_by : str
        The pattern set that chose it; empty when the training ran to its end.
    step_name : str
        What a step is.
    """

    name: str
    units: str
    step: Array
    training: Array
    validation: Mapping[str, Array] = field(default_factory=dict)
    stopped_at: float | None = None
    stopped_by: str = ""
    step_name: str = "epoch"

    def __post_init__(self) -> None:
        for name, curve in {"training": self.training, **self.validation}.items():
            if np.shape(curve) != np.shape(self.step):
                raise ConfigurationError(
                    f"Curve {name!r}: expected {np.shape(self.step)} like step, got {np.shape(curve)}"
                )


@dataclass(frozen=True, slots=True, eq=False)
class WorstCase:
    """One answer that is far off, to be drawn.

    Attributes
    ----------
    title : str
        Which pattern it is and what is wrong with its answer.
    axis : ndarray, shape (k,)
        Where it was measured.
    axis_label : str
        With units.
    measured, calculated, background : ndarray, shape (k,)
        NaN for gaps; all NaN where there is none.
    parts : mapping of str to ndarray, shape (k,)
        Contributions to ``calculated``, each without background.
    table : tuple of (str, str, str)
        Name, truth, answer.
    """

    title: str
    axis: Array
    axis_label: str
    measured: Array
    calculated: Array
    background: Array
    parts: Mapping[str, Array] = field(default_factory=dict)
    table: tuple[tuple[str, str, str], ...] = ()

    def __post_init__(self) -> None:
        curves = {"measured": self.measured, "calculated": self.calculated, "background": self.background}
        for name, curve in {**curves, **self.parts}.items():
            if np.shape(curve) != np.shape(self.axis):
                raise ConfigurationError(
                    f"WorstCase {self.title!r}, {name!r}: expected {np.shape(self.axis)} like its axis, "
                    f"got {np.shape(curve)}"
                )


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of words under a header.

    Attributes
    ----------
    title, note : str
        Above and below it.
    header : tuple of str
        Column names.
    rows : tuple of tuple of str
        As long as the header.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.header):
                raise ConfigurationError(
                    f"Table {self.title!r}: expected {len(self.header)} cells, got {len(row)} in {row!r}"
                )
