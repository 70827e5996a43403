"""Calibration of the ONNX graph that ships: conformal quantiles, joined rules, out-of-domain limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from streamproc.models.networks.conformal import OnnxRunner, conformal_quantile
from streamproc.models.phase_map.check import Checked, Checker
from streamproc.models.phase_map.interpret import STATES, disagreement
from streamproc.models.phase_map.library import Library
from streamproc.models.phase_map.mixtures import Mixer, MixSettings
from streamproc.models.phase_map.rules import (
    FOREIGN,
    FOREIGN_WITH_FIT,
    PRESENCE_WITH_FIT,
    apply_rule,
    fit_rule,
    foreign_signals,
    presence_signals,
)

from streamproc.inference.card import Calibration

__all__ = ["FLOOR", "Held", "calibrate", "checks_of", "foreign_of", "hold_out", "presence_of"]

Array = npt.NDArray[Any]

FLOOR = 0.003
"""Added to the widths, so that certain patterns keep a finite interval (0.3 wt%)."""

SMALL_UNKNOWN = 0.05
_FALSE_ALARMS = 0.01
_FIT_LEVEL = 0.995
"""Level of the limits on residual and disagreement, which stand beside the joined rule."""

_LEAST = {"residual": 0.25, "disagreement": 4.0, "spread": 0.05, "distance": 1.7, "foreign": 0.1,
          "foreign_with_fit": 0.1}  # fmt: skip
"""Limits are not set tighter than this: measured samples hold small impurities and imperfect intensities."""

_LEAST_SHARE = 0.1
"""States are scored where a phase has at least this share of the crystalline weight."""


@dataclass(frozen=True, slots=True)
class Held:
    """Held-out patterns, their truth and the model's outputs; p phases.

    Attributes
    ----------
    x : ndarray, shape (n, k)
        Inputs.
    truth : ndarray, shape (n, p + 2)
        Fractions, unknown, amorphous.
    state : ndarray, shape (n, 3, p)
        True states.
    has_known : ndarray of bool, shape (n,)
        Whether there is anything to read.
    outputs : mapping of str to ndarray
        What the graph says.
    """

    x: Array
    truth: Array
    state: Array
    has_known: Array
    outputs: Mapping[str, Array]

    @property
    def phases(self) -> int:
        """Number of phases."""
        return int(self.truth.shape[1] - 2)

    @property
    def unknown(self) -> Array:
        """True share of foreign intensity."""
        return np.asarray(self.truth[:, -2])

    @property
    def amorphous(self) -> Array:
        """True share of glass."""
        return np.asarray(self.truth[:, -1])

    def errors(self) -> Array:
        """Absolute errors of fractions, unknown and amorphous, shape (n, p + 2)."""
        o = self.outputs
        columns = [o["fractions"], o["unknown"][:, None], o["amorphous"][:, None]]
        return np.asarray(np.abs(np.concatenate(columns, 1) - self.truth))

    def widths(self) -> Array:
        """Uncalibrated widths of the same."""
        return np.asarray(self.outputs["scale"] + self.outputs["spread"] + FLOOR)

    def readable(self) -> Array:
        """Patterns whose fractions mean something: known phases, hardly any unknown, not nearly all glass."""
        return np.asarray(self.has_known & (self.unknown < SMALL_UNKNOWN) & (self.amorphous < 0.9))

    def present(self) -> Array:
        """Whether each phase is in a pattern, shape (n, p)."""
        return np.asarray((self.truth[:, : self.phases] > 0) & self.has_known[:, None])

    def state_errors(self) -> Array:
        """Absolute errors of the states over their widths, shape (n, 3, p); NaN where a phase is a trace."""
        o = self.outputs
        ratio = np.abs(o["state"] - self.state) / (o["state_scale"] + o["state_spread"])
        share = self.truth[:, : self.phases] * (1 - self.amorphous)[:, None]
        seen = (share > _LEAST_SHARE) & self.readable()[:, None]
        return np.where(seen[:, None, :], ratio, np.nan)


def hold_out(
    run: OnnxRunner, library: Library, seed: int, n: int, settings: MixSettings | None = None
) -> Held:
    """Mix ``n`` patterns from a library the training never saw and run the model on them."""
    mixer = Mixer(library, seed, settings)
    generator = torch.Generator().manual_seed(seed + 1)
    batches = [
        mixer.batch(torch.randint(len(library), (min(256, n - i),), generator=generator))
        for i in range(0, n, 256)
    ]
    x = np.concatenate([b.x.numpy() for b in batches])
    truth = [torch.cat([b.fractions, b.unknown[:, None], b.amorphous[:, None]], 1).numpy() for b in batches]
    state = np.concatenate([b.state.numpy() for b in batches])
    known = np.concatenate([b.has_known.numpy() for b in batches])
    return Held(x, np.concatenate(truth), state, known, run(x))


def checks_of(
    held: Held, checker: Checker, rows: Array, progress: Callable[[int], None] = lambda done: None
) -> list[Checked]:
    """Fit some of the patterns, as the analysis would."""
    found = []
    for i in rows:
        found.append(checker.check(held.x[i], held.outputs["presence"][i]))
        progress(len(found))
    return found


def foreign_of(held: Held, rows: Array, checks: Sequence[Checked] | None = None) -> list[dict[str, float]]:
    """Return the signals about foreign material for some patterns."""
    o, p = held.outputs, held.phases
    base = [(float(o["unknown"][i]), float(o["distance"][i]), float(o["spread"][i, :p].max())) for i in rows]
    if checks is None:
        return [foreign_signals(*b) for b in base]
    return [foreign_signals(*b, c.fit, c.excess) for b, c in zip(base, checks, strict=True)]


def presence_of(
    held: Held, rows: Array, checks: Sequence[Checked], labels: Sequence[str]
) -> tuple[list[dict[str, float]], Array]:
    """Return the signals of every phase in some patterns, and whether it is there, (n * p) long."""
    signals = [
        presence_signals(float(held.outputs["presence"][i, k]), c.fit.fractions[name], c.fit.esd[name])
        for i, c in zip(rows, checks, strict=True)
        for k, name in enumerate(labels)
    ]
    return signals, held.present()[rows].ravel()


def calibrate(
    mixed: Held,
    plain: Held,
    labels: Sequence[str],
    checker: Checker,
    fits: int,
    prior: Mapping[str, float],
    spans: Mapping[str, float],
    progress: Callable[[int], None] = lambda done: None,
) -> Calibration:
    """Set quantiles, rules and limits.

    Parameters
    ----------
    mixed : Held
        Patterns as trained on, for quantiles and rules.
    plain : Held
        Patterns of known phases with or without glass, for the limits.
    labels : sequence of str
        Phase names.
    checker : Checker
        The classical fit; its residual and difference get limits too.
    fits : int
        Patterns of each kind to fit.
    prior : mapping of str to float
        Spread of each state (``LABEL_strain`` ...) in training.
    spans : mapping of str to float
        Lattice strain the training covers, by ``LABEL_strain``.
    progress : callable, optional
        Called with the number of fits done.
    """
    q68, q90 = _quantiles(mixed, labels)
    usual = np.flatnonzero(plain.readable() & (plain.amorphous < 0.5))[:fits]
    cases = np.arange(min(2 * fits, len(mixed.x)))
    usual_checks = checks_of(plain, checker, usual, progress)
    case_checks = checks_of(mixed, checker, cases, lambda done: progress(len(usual) + done))
    rules = _rules(mixed, cases, case_checks, plain, usual, usual_checks, labels)
    limits = _limits(plain, usual, usual_checks, rules, labels, np.array([q68[n] for n in labels]))
    return Calibration(
        floor=FLOOR,
        q68=q68,
        q90=q90,
        limits={k: round(v, 5) for k, v in (limits | dict(spans)).items()},
        rules=rules,
        prior_sigma={k: float(f"{v:.5g}") for k, v in prior.items()},
    )


def _quantiles(mixed: Held, labels: Sequence[str]) -> tuple[dict[str, float], dict[str, float]]:
    """Quantiles of the errors over the widths.

    A fraction's are taken over the patterns that hold the phase (where it is absent errors are tiny and would
    make the interval of those that matter too short).
    """
    ratio, readable = mixed.errors() / mixed.widths(), mixed.readable()
    values = {name: ratio[readable & (mixed.truth[:, k] > 0), k] for k, name in enumerate(labels)}
    values["unknown"] = ratio[:, -2]
    values["amorphous"] = ratio[mixed.has_known & (mixed.unknown < 0.5), -1]
    states = mixed.state_errors()
    for k, name in enumerate(labels):
        for s, state in enumerate(STATES):
            column = states[:, s, k]
            values[f"{name}_{state}"] = column[np.isfinite(column)]
    enough = {n: v if len(v) else np.array([9.0]) for n, v in values.items()}
    return (
        {n: conformal_quantile(v, 0.68) for n, v in enough.items()},
        {n: conformal_quantile(v, 0.90) for n, v in enough.items()},
    )


def _rules(
    mixed: Held, cases: Array, case_checks: Sequence[Checked], plain: Held, usual: Array,
    usual_checks: Sequence[Checked], labels: Sequence[str],
) -> dict[str, dict[str, float]]:  # fmt: skip
    """Fit the rules on patterns with and without foreign material, nearly pure glass left out."""
    clear = (mixed.unknown[cases] == 0) | (mixed.unknown[cases] > 0.02)
    keep = np.flatnonzero(clear & (mixed.amorphous[cases] < 0.9))
    truth = np.concatenate([mixed.unknown[cases][keep] > 0, np.zeros(len(usual))])
    kept = [case_checks[k] for k in keep]
    with_fit = foreign_of(mixed, cases[keep], kept) + foreign_of(plain, usual, usual_checks)
    readable = np.flatnonzero(mixed.has_known[cases] & (mixed.unknown[cases] < 0.5))
    signals, present = presence_of(mixed, cases[readable], [case_checks[k] for k in readable], labels)
    return {
        "foreign": fit_rule(FOREIGN, with_fit, truth),
        "foreign_with_fit": fit_rule(FOREIGN_WITH_FIT, with_fit, truth),
        "presence_with_fit": fit_rule(PRESENCE_WITH_FIT, signals, present),
    }


def _limits(
    plain: Held, usual: Array, checks: Sequence[Checked], rules: Mapping[str, Mapping[str, float]],
    labels: Sequence[str], q68: Array,
) -> dict[str, float]:  # fmt: skip
    """One per cent of usual patterns lies beyond each limit of the rules, 0.5 % beyond the others."""
    keep, p = plain.readable(), plain.phases
    every = np.flatnonzero(keep)
    network = [apply_rule(rules["foreign"], s) for s in foreign_of(plain, every)]
    joined = [apply_rule(rules["foreign_with_fit"], s) for s in foreign_of(plain, usual, checks)]
    fractions = np.array([[c.fit.fractions[n] for n in labels] for c in checks])
    esd = np.array([[c.fit.esd[n] for n in labels] for c in checks])
    sigma = plain.widths()[usual, :p] * q68
    apart = disagreement(np.abs(fractions - plain.outputs["fractions"][usual]), sigma, esd).max(1)
    limits = {
        "foreign": float(np.quantile(network, 1 - _FALSE_ALARMS)),
        "foreign_with_fit": float(np.quantile(joined, 1 - _FALSE_ALARMS)),
        "distance": float(np.quantile(plain.outputs["distance"][keep], _FIT_LEVEL)),
        "spread": float(np.quantile(plain.outputs["spread"][keep, :p].max(1), _FIT_LEVEL)),
        "residual": float(np.quantile([c.fit.unexplained for c in checks], _FIT_LEVEL)),
        "disagreement": float(np.quantile(np.nan_to_num(apart, nan=99.0), _FIT_LEVEL)),
    }
    return {k: max(v, _LEAST.get(k, 0.0)) for k, v in limits.items()} | {"amorphous": 0.9}
