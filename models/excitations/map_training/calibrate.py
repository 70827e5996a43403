"""Calibration of the graph that ships: quantiles of how far it is off, limits on foreign maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from streamproc.models.excitations.map_training.mixer import Mixed
from streamproc.models.excitations.map_training.train import mixer_of
from streamproc.models.excitations.mapmodel.case import MapCase
from streamproc.models.excitations.maps.calibration import (
    FEATURES,
    PlaceCalibration,
    features_of,
    places_of,
    widths_of,
)
from streamproc.models.excitations.maps.channels import channels_of
from streamproc.models.excitations.maps.check import SIGNALS, MapChecker, signals_of
from streamproc.models.excitations.maps.container import SqeMap
from streamproc.models.excitations.maps.inputs import Prepared
from streamproc.models.excitations.maps.kinds import physics_of
from streamproc.models.excitations.maps.library import SETS, Library, build_library
from streamproc.models.excitations.maps.posterior import Derived, MapAnswer, answer_of
from streamproc.models.networks.conformal import conformal_quantile
from streamproc.models.networks.pulls import measured_pulls

from streamproc.inference.card import Calibration

__all__ = ["FLOOR", "Held", "answers_of", "calibrate", "held_out", "hold_out", "limits_of", "signals_of_rows"]

Array = npt.NDArray[Any]
Progress = Callable[[int], None]

FLOOR = 0.002
"""Added to the widths of the places in the prior."""

_LEVEL = 0.99
_LEAST = {"distance": 1.6, "residual": 2.5, "unexplained": 0.45, "disagreement": 6.0}
"""Limits are not tighter than this: measured maps hold more than is simulated."""

_MAPS_OF_A_SET, _APART = 16, 100_000
"""Held-out maps that share a set of columns, and how far the seeds of their libraries lie apart."""

_MOST_UNEXPLAINED = 0.5
"""Excitations must explain half of the structure of a map. Simulated maps with strong spurious scattering do
not do so: such a map is to be masked, and is flagged until then."""


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """Held-out maps and the graph's outputs.

    Attributes
    ----------
    mixed : Mixed
        The maps.
    q_rlu : ndarray, shape (n, columns, 3)
        Their columns.
    outputs : mapping of str to ndarray
        What the graph says.
    """

    mixed: Mixed
    q_rlu: Array = field(repr=False)
    outputs: Mapping[str, Array] = field(repr=False)

    def truth(self) -> Array:
        """True places, shape (n, p)."""
        return np.asarray(self.mixed.unit.numpy())

    def prepared(self, row: int, case: MapCase) -> Prepared | None:
        """Return a map as the service would prepare it; None where nothing is measured."""
        measured = self.mixed.measured[row].numpy()
        there = measured.any(1)
        if not there.any():
            return None
        y, sigma = (v[row].numpy().astype(float)[there] for v in (self.mixed.counts, self.mixed.sigma))
        seen = measured[there]
        coarse = SqeMap(
            self.q_rlu[row][there].astype(float), channels_of(case), np.where(seen, y, 0.0),
            np.where(seen, sigma, 1.0), seen,
        )  # fmt: skip
        return Prepared(self.mixed.x[row].numpy(), coarse, 1.0, float(seen.mean()))


def held_out(run: Any, case: MapCase, count: int, seed: int, number: int, progress: Progress) -> Held:
    """Render maps of their own truths, and run the graph on them.

    Maps of one truth err alike, and so do maps that share a set of columns: where the bank needs sets, maps
    come from many libraries.

    Parameters
    ----------
    run : callable
        The graph.
    case : MapCase
        Model.
    count : int
        How many.
    seed, number : int
        Seed of the training, and which maps of it.
    progress : callable
        Called with the number of maps done.
    """
    shared = physics_of(case).trials().shared
    size = min(count, SETS * _MAPS_OF_A_SET) if shared else count
    parts: list[Held] = []
    for start in range(0, count, size):
        own, n = seed + _APART * (start // size), min(size, count - start)

        def shown(done: int, start: int = start) -> None:
            progress(start + done)

        library = build_library(case, n, own + 1000 * number, shown)
        parts.append(hold_out(run, case, library, own + number, n))
    mixed = _joined([p.mixed for p in parts])
    names = parts[0].outputs
    outputs = {k: np.concatenate([p.outputs[k] for p in parts]) for k in names}
    return Held(mixed, np.concatenate([p.q_rlu for p in parts]), outputs)


def _joined(parts: Sequence[Mixed]) -> Mixed:
    return Mixed(**{k: torch.cat([getattr(p, k) for p in parts]) for k in Mixed.__slots__})


def hold_out(run: Any, case: MapCase, library: Library, seed: int, n: int) -> Held:
    """Spoil maps of a library that was not trained on, and run the graph on them.

    With ``n`` maps in the library no two of them have the same truth, and answers err independently.
    """
    mixer = mixer_of(case, library, seed)
    rows = torch.arange(n) % len(library)
    mixed = _joined([mixer.batch(r) for r in rows.split(128)])
    return Held(mixed, library.q_rlu[rows.numpy()], run(mixed.x.numpy()))


def answers_of(held: Held, case: MapCase, calibration: Calibration, rows: Sequence[int]) -> list[MapAnswer]:
    """Interpret some rows, in the model's own unit of energy."""
    derived, known = Derived(case), PlaceCalibration(calibration, case.parameters.free)
    return [answer_of(case, derived, held.outputs, int(r), known, 1.0) for r in rows]


def signals_of_rows(
    held: Held, case: MapCase, calibration: Calibration, checker: MapChecker, rows: Sequence[int],
    progress: Progress = lambda done: None,
) -> Array:  # fmt: skip
    """Return the signals (n, 4) of some rows, with a fit each."""
    found = np.full((len(rows), len(SIGNALS)), np.nan)
    for k, (row, answer) in enumerate(zip(rows, answers_of(held, case, calibration, rows), strict=True)):
        prepared = held.prepared(int(row), case)
        fit = None if prepared is None else checker.check(prepared, answer.free)
        signals = signals_of(answer, fit, case.parameters.free)
        found[k] = [signals[s] for s in SIGNALS]
        progress(k + 1)
    return found


def calibrate(held: Held, case: MapCase) -> Calibration:
    """Measure how far answers to held-out maps are off; limits are left out."""
    names = case.parameters.free
    places, widths = places_of(held.outputs), widths_of(held.outputs, FLOOR)
    pulls = (held.truth() - places) / widths
    off = np.abs(pulls)
    return Calibration(
        floor=FLOOR,
        q68={n: conformal_quantile(off[:, k], 0.68) for k, n in enumerate(names)},
        q90={n: conformal_quantile(off[:, k], 0.90) for k, n in enumerate(names)},
        limits={},
        prior_sigma=dict.fromkeys(names, 1 / np.sqrt(12)),
        pulls=measured_pulls(features_of(places, widths), pulls, names, FEATURES),
    )


def limits_of(
    held: Held, case: MapCase, calibration: Calibration, fits: int, progress: Progress
) -> dict[str, float]:
    """Return the limits of the signals.

    Parameters
    ----------
    held : Held
        Maps as trained on.
    case : MapCase
        Model.
    calibration : Calibration
        Of the answers.
    fits : int
        How many to fit.
    progress : callable
        Called with the number of fits done.
    """
    signals = signals_of_rows(held, case, calibration, MapChecker(case), list(range(fits)), progress)
    limits = {s: max(_finite_quantile(signals[:, k]), _LEAST[s]) for k, s in enumerate(SIGNALS)}
    limits["distance"] = max(_finite_quantile(held.outputs["distance"]), _LEAST["distance"])
    limits["unexplained"] = min(limits["unexplained"], _MOST_UNEXPLAINED)
    return {s: round(v, 4) for s, v in limits.items()}


def _finite_quantile(values: Array) -> float:
    finite = values[np.isfinite(values)]
    return float(np.quantile(finite, _LEVEL)) if len(finite) else 0.0
