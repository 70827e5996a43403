"""Held-out patterns, what the model says about them, and the signals that rules join."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from streamproc.models.networks.conformal import OnnxRunner
from streamproc.models.phase_map.check import Checked, Checker
from streamproc.models.phase_map.library import Library
from streamproc.models.phase_map.mixtures import Mixer, MixSettings
from streamproc.models.phase_map.rules import foreign_signals, presence_signals

__all__ = ["FLOOR", "Held", "checks_of", "foreign_of", "hold_out", "presence_of"]

Array = npt.NDArray[Any]

FLOOR = 0.003
"""Added to the widths, so that certain patterns keep a finite interval (0.3 wt%)."""

SMALL_UNKNOWN = 0.05

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
    return checker.check_many(held.x[rows], held.outputs["presence"][rows], progress)


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
