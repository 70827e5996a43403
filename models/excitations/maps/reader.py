"""A shipped or trained network at work: a map goes in, the model's parameters come out."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.maps.alike import LEAST, alike
from streamproc.models.excitations.maps.calibration import PlaceCalibration
from streamproc.models.excitations.maps.check import (
    Judge,
    MapChecker,
    disagreement,
    most_unexplained,
    signals_of,
)
from streamproc.models.excitations.maps.container import SqeMap
from streamproc.models.excitations.maps.fit import BEYOND
from streamproc.models.excitations.maps.fitted import MapFit
from streamproc.models.excitations.maps.inputs import Prepared, Preparer
from streamproc.models.excitations.maps.kinds import TASKS, case_of
from streamproc.models.excitations.maps.posterior import (
    Derived,
    MapAnswer,
    Number,
    answer_of,
    derived_of,
)
from streamproc.models.excitations.maps.refine import Refinement
from streamproc.models.excitations.maps.sampling import Guess

from streamproc.errors import ConfigurationError, FrameFailed
from streamproc.inference.card import ModelCard

__all__ = ["MapReader", "Read", "Refined"]

Array = npt.NDArray[np.float64]

_FEWEST_ENERGIES = 4

_K_TO_MEV = 0.08617333262
"""Boltzmann's constant, meV per kelvin (exact since 2019)."""


class Network(Protocol):
    """What a reader needs of a model."""

    card: ModelCard

    def run(self, x: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        """Infer."""


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """The fast answer to a map.

    Attributes
    ----------
    answer : MapAnswer
        Of the network.
    prepared : Prepared
        The map as it was read.
    reasons : tuple of str
        Why not to believe it; empty: in domain.
    """

    answer: MapAnswer
    prepared: Prepared = field(repr=False)
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Refined:
    """Least squares over the whole map, beside the network.

    Attributes
    ----------
    fit : MapFit
        In the model's unit of energy.
    numbers, derived : dict of str to Number
        Free parameters (in their unit) and derived energies (meV).
    covariance : ndarray, shape (p, p)
        Of the free parameters (their unit squared).
    differs : dict of str to float
        Standard deviations between network and fit.
    reasons : tuple of str
        Why the map is not this model's; empty: in domain.
    """

    fit: MapFit = field(repr=False)
    numbers: dict[str, Number]
    derived: dict[str, Number]
    covariance: Array = field(repr=False)
    differs: dict[str, float]
    reasons: tuple[str, ...]


class MapReader:
    """Reads maps with one model; every map is run alone, so that batching changes no bit.

    Parameters
    ----------
    network : OnnxModel
        With a card of one of the tasks ``spin-model`` and ``lattice-model``.

    Raises
    ------
    ConfigurationError
        The card is of another task, or the graph does not fit its `model.toml`.
    """

    def __init__(self, network: Network) -> None:
        card = network.card
        if card.task not in TASKS:
            raise ConfigurationError(
                f"{card.name}: its task is {card.task!r}, expected {' or '.join(map(repr, TASKS))}"
            )
        self.network, self.card = network, card
        self.case = case_of(
            tomllib.loads(str(card.reference["model_toml"])), Path(f"{card.name} (model_toml)")
        )
        self.preparer, self.checker = Preparer(self.case), MapChecker(self.case)
        if self.preparer.layout.width != card.axis.n:
            raise ConfigurationError(
                f"{card.name}:{card.version}: takes {card.axis.n} numbers, its model.toml makes "
                f"{self.preparer.layout.width}; it was trained with other code: train it again"
            )
        self.derived = Derived(self.case)
        self.calibration = PlaceCalibration(card.calibration, self.names)
        most = {"residual": self.case.missed, "unexplained": self.case.left_over}
        limits = {n: min(v, most.get(n, v)) for n, v in card.calibration.limits.items()}
        self.judge = Judge(limits, self.case.words.signal)

    @property
    def names(self) -> tuple[str, ...]:
        """Free parameters."""
        return self.case.parameters.free

    def window(self, measured: SqeMap) -> SqeMap:
        """Return what lies in the window of a model in meV: it says nothing of elastic line and gain.

        Raises
        ------
        FrameFailed
            Fewer than four of its energies do.
        """
        table = self.case.file.energy
        if table.scale_free:
            return measured
        found = measured.window(table.start, table.stop)
        if len(found.energy_meV) < _FEWEST_ENERGIES or not found.measured.any():
            raise FrameFailed(
                f"{len(found.energy_meV)} energies of the map lie between {table.start:g} and "
                f"{table.stop:g} meV, the model's window; its energies go from {measured.energy_meV[0]:g} to "
                f"{measured.energy_meV[-1]:g} meV"
            )
        return found

    def read(self, measured: SqeMap) -> Read:
        """Answer from the network alone.

        Raises
        ------
        FrameFailed
            Nothing of the map lies in the model's window.
        """
        prepared = self.preparer.prepare(measured)
        outputs: dict[str, Any] = self.network.run(prepared.x[None])
        answer = answer_of(self.case, self.derived, outputs, 0, self.calibration, prepared.unit_meV)
        return Read(answer, prepared, self.judge.reasons({"distance": answer.distance}))

    def refine(
        self, measured: SqeMap, read: Read, temperature_K: float = 0.0, q_across: float = 0.0
    ) -> Refined | None:
        """Fit the whole map from the network's answer and from its rivals; None where that cannot be done.

        Numbers are mean, spread and central interval of the posterior around all minima that count.
        """
        found = self.refinement(measured, read, temperature_K, q_across)
        return None if found is None else self._refined(found, read, read.prepared.unit_meV)

    def refinement(
        self,
        measured: SqeMap,
        read: Read,
        temperature_K: float = 0.0,
        q_across: float = 0.0,
        unit_meV: float | None = None,
    ) -> Refinement | None:
        """Return the same with what fitted it, in another unit of energy where one is given."""
        own = read.prepared.unit_meV
        unit = own if unit_meV is None else unit_meV
        inside = np.clip(read.answer.unit, 0.02, 0.98)
        start = self.case.parameters.values_at(inside[None])[0]

        def others() -> list[Array]:
            trials = self.preparer.best_trials(read.prepared)
            return [r * own / unit for r in self.checker.rivals(read.prepared, trials)]

        network = None
        if unit == own:
            network = Guess(inside, read.answer.unit_covariance + 1e-4 * np.eye(len(inside)))
        try:
            kT = _K_TO_MEV * temperature_K
            inside_window = self.window(measured)
            found = self.checker.refine(
                inside_window, unit, start * own / unit, others, network, kT, q_across
            )
            return replace(found, unit_meV=unit)
        except FrameFailed:
            return None

    def reasons(self, found: Refinement, read: Read) -> tuple[str, ...]:
        """Return why a map is not this model's, and where what is unknown lies; none: in domain."""
        reasons = self.judge.reasons(signals_of(read.answer, found.fit, self.names))
        reasons += self._at_the_edge(found) + self._alike(found)
        where = most_unexplained(found.fitter.measured, found.fit.model)
        if where is None:
            return reasons
        (h, k, q3), energy, unit = *where, found.unit_meV
        said = f"; most of it near ({h:.3g}, {k:.3g}, {q3:.3g}) at {energy * unit:.3g} meV"
        return tuple(r + said if r.startswith("unknown-structure") else r for r in reasons)

    def _alike(self, found: Refinement) -> tuple[str, ...]:
        """Say whether what differs between the columns is another dispersion than the fitted one, or none."""
        # along the columns of a powder it is strengths that differ, and what is its own lies at all Q
        if self.case.powder:
            return ()
        same = alike(found.fit, found.fitter.measured.measured, found.fitter.counts)
        if same is None or not same.missed:
            return ()
        return (
            f"other-dispersion: the fit explains {100 * max(0.0, same.explained):.0f} % of what differs "
            f"between the columns (at least {100 * LEAST:.0f} % is wanted)",
        )

    def _at_the_edge(self, found: Refinement) -> tuple[str, ...]:
        """Say which scale of the energies ends where the search does: its minimum lies elsewhere."""
        if not self.case.edges_tell:
            return ()
        tables = self.case.parameters.tables
        return tuple(
            f"outside-range: the fit ends at the edge of what is searched for {n}"
            for n, place in zip(self.names, found.fit.places, strict=False)
            if tables[n].relative_to is None and abs(place - 0.5) > 0.5 + 0.99 * BEYOND
        )

    def _refined(self, found: Refinement, read: Read, unit: float) -> Refined:
        p, posterior = len(self.names), found.posterior
        covariance, sigma = posterior.covariance, np.sqrt(np.diag(posterior.covariance))
        numbers = {
            n: Number(float(v) * unit, float(s) * unit, (float(low) * unit, float(high) * unit))
            for n, v, s, (low, high) in zip(
                self.names, posterior.mean, sigma, posterior.interval90, strict=True
            )
        }
        # everything that goes on from the fit goes on from what is known: its couplings' covariance
        whole = found.fit.covariance.copy()
        whole[:p, :p] = covariance
        fit = replace(found.fit, covariance=whole)
        found = replace(found, fit=fit, unit_meV=unit)
        return Refined(
            fit, numbers, derived_of(self.derived, posterior.mean, covariance, unit), covariance * unit**2,
            disagreement(read.answer, fit, self.names), self.reasons(found, read),
        )  # fmt: skip
