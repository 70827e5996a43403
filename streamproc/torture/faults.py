"""What goes wrong, and when: a list of faults that a seed decides."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from streamproc.errors import ConfigurationError

__all__ = ["KINDS", "Fault", "parse_kinds", "plan_faults"]

KINDS: Mapping[str, float] = {"kill": 4.0, "stop": 3.0, "term": 1.0, "node": 2.0, "cut": 2.0}
"""Kinds of faults with their usual weights."""

_LONGEST_PAUSE = 3.0
_NODE_AWAY_S = (1.0, 10.0)
_CUT_S = (0.0, 3.0)
_SHORT_STOP_S = 0.5


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes
    ----------
    number : int
        From 1.
    kind : str
        ``kill`` (SIGKILL), ``stop`` (SIGSTOP, later SIGCONT) or ``term`` (SIGTERM) of a service, ``cut`` of
        its connections, ``node-kill`` or ``node-freeze`` of a broker node.
    choice : float
        In [0, 1): which of those that can be hit.
    after_s : float
        Pause since the fault before began (s).
    hold_s : float
        How long it lasts: a process stays frozen, a node is away, connections are cut again and again (s).
    """

    number: int
    kind: str
    choice: float
    after_s: float
    hold_s: float

    @property
    def of_node(self) -> bool:
        """Whether it concerns the broker."""
        return self.kind.startswith("node")


def parse_kinds(text: str) -> dict[str, float]:
    """Return weights by kind from ``kill,stop=5,...`` (a kind without a number has its usual weight).

    Raises
    ------
    ConfigurationError
        An unknown kind, a weight that is no positive number, or nothing at all.
    """
    weights: dict[str, float] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        kind, _, weight = part.partition("=")
        if kind not in KINDS:
            raise ConfigurationError(f"--faults: {kind!r} is none of {', '.join(KINDS)}")
        try:
            weights[kind] = float(weight) if weight else KINDS[kind]
        except ValueError:
            weights[kind] = 0.0
        if not 0 < weights[kind] < float("inf"):
            raise ConfigurationError(f"--faults: weight of {kind} is {weight!r}; expected a number above 0")
    if not weights:
        raise ConfigurationError(f"--faults names nothing; expected some of {', '.join(KINDS)}")
    return weights


def plan_faults(
    seed: int, count: int, weights: Mapping[str, float], pace_s: float, session_timeout_s: float
) -> list[Fault]:
    """Return ``count`` faults; those of a smaller count are the first of a larger one.

    Each kind comes once before any comes by its weight. Pauses are exponential, as of things that do not
    know of each other, with a mean of ``pace_s`` (s) and an end at three times that.

    Parameters
    ----------
    seed : int
        Decides everything.
    count : int
        How many.
    weights : Mapping
        By kind; see :data:`KINDS`.
    pace_s : float
        Mean pause (s).
    session_timeout_s : float
        Half of the frozen services stay so for longer than this (s), after which their partitions go to the
        other.
    """
    dice = random.Random(seed)
    kinds = [kind for kind in KINDS if kind in weights]
    first = dice.sample(kinds, len(kinds))
    faults = []
    for number in range(1, count + 1):
        drawn = dice.choices(kinds, [weights[k] for k in kinds])[0]
        kind = first[number - 1] if number <= len(first) else drawn
        # Always the same number of dice, so that a fault does not depend on what those before it were.
        choice, where, half = dice.random(), dice.random(), dice.random()
        after_s = min(dice.expovariate(1.0 / pace_s), _LONGEST_PAUSE * pace_s)
        if kind == "node":
            kind = "node-kill" if half < 0.5 else "node-freeze"
        faults.append(Fault(number, kind, choice, after_s, _hold_s(kind, where, half, session_timeout_s)))
    return faults


def _hold_s(kind: str, where: float, half: float, session_timeout_s: float) -> float:
    if kind == "stop" and half < 0.5:
        return _between(_SHORT_STOP_S, 0.8 * session_timeout_s, where)
    if kind == "stop":
        return _between(1.2 * session_timeout_s, 2.0 * session_timeout_s, where)
    if kind.startswith("node"):
        return _between(*_NODE_AWAY_S, where)
    return _between(*_CUT_S, where) if kind == "cut" else 0.0


def _between(low: float, high: float, where: float) -> float:
    return low + (high - low) * where
