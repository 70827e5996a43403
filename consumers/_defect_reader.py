"""What a defect model says of each pattern, keeping nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from streamproc.consumers._cake_reader import CakeLook, CakeReader
from streamproc.consumers._defect_settings import DefectSettings, watched_names
from streamproc.consumers._patterns import MeasuredPattern, wavelength_doubt
from streamproc.models.defects.evidence import ReflectionEvidence, reflections_of
from streamproc.models.defects.network.estimate import (
    DefectReading,
    Estimate,
    estimate_names,
    flags,
    read_defects,
)
from streamproc.models.defects.reference import reference_of
from streamproc.models.defects.registration import Registered, Registration
from streamproc.models.powder.pattern import prepare, to_model_axis

from streamproc.errors import ConfigurationError, FrameFailed
from streamproc.inference.model import OnnxModel

__all__ = ["DefectReader", "Look"]

Array = npt.NDArray[np.float64]

_MOST_OFF = 0.04
"""Most a solid solution's cell differs from the metal's (relative)."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """One pattern.

    Attributes
    ----------
    reading : DefectReading or None
        What the model says; None where there is no pattern it can read.
    reasons : tuple of str
        Why the estimates may not be used; empty: they may.
    beyond : mapping of str to bool
        Which estimates are beyond their limit; none where ``reasons`` are.
    evidence : mapping of str to tuple of ReflectionEvidence
        Reflections of what is beyond its limit.
    intensity : ndarray, shape (n,)
        The pattern as the model read it.
    strain : float
        Of the lattice, against the cell of the model; NaN where too few lines say.
    cake : CakeLook or None
        What the pair says of the rings; None where the model has no pair.
    """

    reading: DefectReading | None
    reasons: tuple[str, ...]
    beyond: Mapping[str, bool] = field(default_factory=dict)
    evidence: Mapping[str, tuple[ReflectionEvidence, ...]] = field(default_factory=dict)
    intensity: Array = field(default_factory=lambda: np.empty(0))
    strain: float = float("nan")
    cake: CakeLook | None = None

    @property
    def usable(self) -> bool:
        """Whether the estimates from the pattern may be used."""
        return self.reading is not None and not self.reasons

    def estimates(self) -> dict[str, Estimate]:
        """Return the estimates that may be used, of pattern and rings."""
        parts = [part for part in (self, self.cake) if part is not None and part.usable]
        return {name: e for part in parts if part.reading for name, e in part.reading.estimates.items()}


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    """A pattern as measured, as the model reads it, the share of its axis that is measured, where lines
    were."""

    pattern: MeasuredPattern
    x: npt.NDArray[np.float32]
    coverage: float
    lines: Registered


class DefectReader:
    """Reads patterns with a defect model. Safe among threads.

    Parameters
    ----------
    settings : DefectSettings
        Limits and confidence.
    model : OnnxModel
        A checked model.
    cake : CakeReader, optional
        Reader of its pair.

    Raises
    ------
    ConfigurationError
        When it is no defect model, or limits or alarms name what it does not estimate.
    """

    def __init__(self, settings: DefectSettings, model: OnnxModel, cake: CakeReader | None = None) -> None:
        if model.card.task != "defect-estimates":
            raise ConfigurationError(
                f"{model.path}: its task is {model.card.task!r}, expected 'defect-estimates'"
            )
        self.settings, self.model = settings, model
        self.names = estimate_names(model.card)
        self.cake = cake
        self.watched = watched_names(settings, self.names, cake.names if cake is not None else ())
        self.reference = reference_of(model.card)
        axis = model.card.axis
        self.axis = np.linspace(axis.start, axis.stop, axis.n)
        self._registration = Registration(self.reference, self.axis)
        own = 10 * self.reference.material.a_nm
        self._ratio = 1.0 if settings.cell_A is None else settings.cell_A / own
        if abs(self._ratio - 1) > _MOST_OFF:
            raise ConfigurationError(
                f"[analysis.defect-flags.defects]: cell_A = {settings.cell_A:g} is "
                f"{100 * (self._ratio - 1):+.1f} % off the cell of {model.card.name} ({own:.4f}); within "
                f"{100 * _MOST_OFF:g} % it may be a solid solution of that metal, beyond it is another one: "
                "train a model for it"
            )
        # of crystals that are alike lengths go with the cell, and lines per area with its inverse square
        like = {"ln_size": np.log(self._ratio), "ln_density": -2 * np.log(self._ratio)}
        self._like = np.array([like.get(name, 0.0) for name in model.card.labels], np.float32)

    def warm_up(self) -> None:
        """Read one pattern, so that no live one waits for what is done once."""
        lines = np.exp(-(((self.axis - self.axis.mean()) / 0.2) ** 2))
        self.look([MeasuredPattern(self.axis, "two_theta_deg", 1e4 * lines + 100.0, None)])

    def look(self, patterns: Sequence[MeasuredPattern | None]) -> list[Look]:
        """Read patterns in one batch; None is one that there is no pattern of."""
        card, answers = self.model.card, dict[int, Look]()
        prepared: dict[int, _Prepared] = {}
        for place, pattern in enumerate(patterns):
            try:
                prepared[place] = self._prepared(pattern)
            except FrameFailed as error:
                answers[place] = Look(None, (f"defects: {error.message}",))
        if prepared:
            outputs = dict(self.model.run(np.stack([p.x for p in prepared.values()])))
            if self._ratio != 1.0:
                outputs["values"] = outputs["values"] + self._like
            for row, (place, p) in enumerate(prepared.items()):
                reading = read_defects({name: values[row] for name, values in outputs.items()}, card)
                answers[place] = self._judged(reading, p)
        return [answers[place] for place in range(len(patterns))]

    def _prepared(self, pattern: MeasuredPattern | None) -> _Prepared:
        """Bring a pattern to the model's axis, its lines to where the material has them."""
        if pattern is None:
            raise FrameFailed("there is no pattern")
        own = self.model.card.axis
        axis = self._in_model_cell(pattern)
        x, coverage = prepare(axis, pattern.intensity, own)
        lines = self._registration.find(x.astype(np.float64) ** 2)
        if lines.lines:
            x, _ = prepare(self._registration.moved(lines, axis), pattern.intensity, own)
        return _Prepared(pattern, x, coverage, lines)

    def _in_model_cell(self, pattern: MeasuredPattern) -> Array:
        """The model's axis (degrees) at which the lines would be if the crystal had the model's cell.

        Two crystals that are alike but for their size have patterns that are alike in s times the cell: as if
        the wavelength were another.
        """
        own, source, wavelength = self.model.card.axis, pattern.axis, pattern.wavelength_A
        if self._ratio != 1.0:
            source = source * self._ratio if pattern.kind == "q_invA" else source
            wavelength = (wavelength or own.wavelength_A or 0.0) / self._ratio
        return to_model_axis(source, own, pattern.kind, wavelength)

    def _judged(self, reading: DefectReading, p: _Prepared) -> Look:
        least = self.model.card.axis.min_coverage
        reasons = [*wavelength_doubt(p.pattern, self.model.card), *reading.reasons]
        if p.coverage < least:
            reasons.append(
                f"{100 * p.coverage:.1f} % of the model's axis is measured, at least {100 * least:g} %"
            )
        intensity = p.x.astype(np.float64) ** 2
        strain = p.lines.strain if p.lines.lines else float("nan")
        if reasons:
            return Look(reading, tuple(f"defects: {r}" for r in reasons), {}, {}, intensity, strain)
        limits = {name: v for name, v in self.settings.limits.items() if name in self.names}
        beyond = flags(reading, limits, self.settings.confidence)
        up = [name for name, is_up in beyond.items() if is_up]
        values = {name: e.value for name, e in reading.estimates.items()}
        evidence = reflections_of(self.axis, intensity, self.reference, values, up) if up else {}
        return Look(reading, (), beyond, evidence, intensity, strain)
