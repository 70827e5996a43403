"""FlagWatch: what a reading shows within its run, and which flags are up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from streamproc.reduction.flags.compared import COMPARED, Compared
from streamproc.reduction.flags.kinds import KINDS
from streamproc.reduction.flags.reading import Evidence, Reading
from streamproc.reduction.flags.reference import RunReference
from streamproc.reduction.flags.repeats import Copies, HotPixels
from streamproc.reduction.flags.settings import FlagSettings

__all__ = ["FlagWatch", "Judgement", "judged_alone"]

BAD = "bad-frame: "
"""How a reason begins that makes a reading bad; others are doubts."""

NO_COUNTS = BAD + "no counts, or the same everywhere"

Numbers = dict[str, float]

_NAN = float("nan")
_NOTHING = dict.fromkeys(KINDS, _NAN)
_LEAST_HOT = 3

_SPOILS = ("saturated", "dead", "hot", "over_exposed_dark", "missing_rows")
"""Kinds that spoil the pattern itself, so that comparing it with the run's says nothing."""

_NEEDS_BEAM = ("dead", "spikes", "ice_rings", "spotty", "shadow")
"""Kinds of which a few stray counts say nothing."""

_LIKE_GRAINS = ("spikes", "shadow")
"""Kinds that a few grains look like: one is as bright as a hit, its absence as dark as a shadow."""

_DOUBTFUL = ("parasitic_rings", "ice_rings", "spotty")
"""Kinds whose readings enter the run's reference slowly: their lines are not the sample's, or are missing."""


class Judgement(NamedTuple):
    """What is said of one reading.

    Attributes
    ----------
    numbers, flags : Mapping
        Number (NaN: not judged) and flag of each kind.
    evidence : Mapping
        Of the kinds whose flag is up.
    reasons : tuple of str
        One sentence for each flag that is up, and for an empty reading.
    empty : bool
        There are no counts, or the same everywhere.
    """

    numbers: Mapping[str, float]
    flags: Mapping[str, bool]
    evidence: Mapping[str, Evidence]
    reasons: tuple[str, ...]
    empty: bool = False

    @property
    def bad(self) -> bool:
        """Whether nothing may be concluded from the reading."""
        return bool(self.bad_reasons)

    @property
    def bad_reasons(self) -> tuple[str, ...]:
        """Those of the reasons that make the reading bad."""
        return tuple(r for r in self.reasons if r.startswith(BAD))


def judged_alone(reading: Reading, settings: FlagSettings) -> Judgement:
    """Judge a reading by itself: thresholds, no memory."""
    numbers = {n: v for n, v in reading.numbers.items() if n not in settings.off}
    flags = {n: v >= settings.limit(n).threshold for n, v in numbers.items()}
    up = [name for name, raised in flags.items() if raised]
    evidence = {n: reading.evidence[n] for n in up if n in reading.evidence}
    return _said(numbers, flags, up, evidence, settings, _empty(reading))


class FlagWatch:
    """Judges the readings of one run, in order.

    Parameters
    ----------
    settings : FlagSettings
        Thresholds.
    """

    def __init__(self, settings: FlagSettings) -> None:
        self._settings, self._some_off = settings, bool(settings.off)
        limits = {name: settings.limit(name) for name in KINDS if name not in settings.off}
        self._limits = {name: (v.threshold, v.falls_below) for name, v in limits.items()}
        self._up = dict.fromkeys(limits, False)
        self._now = dict.fromkeys(KINDS, math.inf)
        """The limit of each kind as its flag is; of those that are off none."""
        self._set_limits()
        self._copies, self._hot = Copies(), HotPixels()
        self._reference = RunReference()
        self._fewest_lost: int | None = None
        """Rows without a usable value in the reading that had the fewest: gaps of the detector."""

    def take(self, reading: Reading, monitor: float = float("nan")) -> Judgement:
        """Judge the next reading.

        Parameters
        ----------
        reading : Reading
            What it shows by itself.
        monitor : float
            Incident beam; NaN without one.
        """
        numbers: Numbers = {**_NOTHING, **reading.numbers}
        evidence: dict[str, Evidence] = dict(reading.evidence)
        self._take_repeats(reading, numbers, evidence)
        self._take_lost_rows(reading, numbers, evidence)
        spoilt = self._over_any(_SPOILS, numbers)
        # a dark with rings, or rows that were not read, take the level away as well
        otherwise = spoilt and self._over_any(("over_exposed_dark", "missing_rows"), numbers)
        if not otherwise and self._beam_lost(reading, monitor, numbers, evidence):
            spoilt = True
            numbers |= dict.fromkeys(_NEEDS_BEAM, _NAN)
        empty = _empty(reading)
        spoilt |= empty
        compared: Compared | None = None
        of_run: set[str] = set()
        if not spoilt:
            compared = self._reference.compare(reading)
            of_run = self._compare(compared.found, numbers)
            if monitor == monitor:
                numbers["i0_drift"], evidence["i0_drift"] = self._reference.monitor_drift()
                of_run.discard("i0_drift")
        if self._some_off:
            numbers = {name: numbers[name] for name in self._up}
        flags = self._raised(numbers, spoilt)
        up = [name for name, raised in flags.items() if raised]
        if not up and not empty:  # as mostly
            self._reference.accept(reading, monitor, False)
            return Judgement(numbers, flags, {}, ())
        if compared is not None:
            evidence |= {name: compared.evidence(name) for name in up if name in of_run}
        evidence = {name: evidence[name] for name in up if name in evidence}
        judgement = _said(numbers, flags, up, evidence, self._settings, empty)
        if not judgement.bad:
            doubtful = any(name in _DOUBTFUL for name in up)
            self._reference.accept(reading, monitor, doubtful, "spotty" in up)
        return judgement

    def _over_any(self, names: tuple[str, ...], numbers: Numbers) -> bool:
        now = self._now
        for name in names:  # noqa: SIM110  (a generator costs more than all it does)
            if numbers[name] >= now[name]:
                return True
        return False

    def _raised(self, numbers: Numbers, spoilt: bool) -> dict[str, bool]:
        """Hysteresis. What a spoilt reading cannot show stays as it is."""
        up, now = self._up, self._now
        for name, number in numbers.items():
            raised = number >= now[name]
            if raised != up[name] and (number == number or not spoilt):
                up[name], now[name] = raised, self._limits[name][raised]
        return up.copy()

    def _set_limits(self) -> None:
        self._now |= {name: self._limits[name][raised] for name, raised in self._up.items()}

    def _compare(self, found: Sequence[float], numbers: Numbers) -> set[str]:
        """Take the numbers that the run says, in the order of ``COMPARED``; return of which kinds."""
        scale, zero, line, shadow, ice, spots = found[: len(COMPARED)]
        of_run, now = {"i0_drift", "zero_drift", "parasitic_rings"}, self._now
        if zero >= now["zero_drift"]:
            # ice is told by its places, and these are wrong
            ice = numbers["ice_rings"] = _NAN
        _take_higher("ice_rings", ice, numbers, of_run)
        _take_higher("spotty", spots, numbers, of_run)
        spotty = numbers["spotty"] >= now["spotty"]
        if spotty:  # lines are where a few grains are, and these come and go
            zero = line = _NAN
            numbers |= dict.fromkeys(_LIKE_GRAINS, _NAN)
        # grains come and go, and what is dead is dark: darker tiles tell nothing more
        if not (spotty or numbers["dead"] >= now["dead"]):
            _take_higher("shadow", shadow, numbers, of_run)
        if numbers["ice_rings"] >= now["ice_rings"]:
            line = _NAN  # known by name
        if numbers["shadow"] >= now["shadow"]:
            scale = zero = line = _NAN
        numbers["i0_drift"], numbers["zero_drift"], numbers["parasitic_rings"] = scale, zero, line
        return of_run

    def _take_repeats(self, reading: Reading, numbers: Numbers, evidence: dict[str, Evidence]) -> None:
        copies = self._copies.count(reading)
        numbers["stale"] = float(copies)
        if copies:
            evidence["stale"] = {"copies": copies}
        if copies or not reading.columns:
            return
        hot = self._hot.persistent(reading.high)
        if hot.size >= _LEAST_HOT:
            numbers["hot"] += hot.size / reading.used
            numbers["spikes"] -= hot.size
            listed = [[int(i // reading.columns), int(i % reading.columns)] for i in hot[:8]]
            evidence["hot"] = {**evidence.get("hot", {}), "pixels": listed, "count": int(hot.size)}

    def _take_lost_rows(self, reading: Reading, numbers: Numbers, evidence: dict[str, Evidence]) -> None:
        """Rows in which this reading has no usable value, but another of the run had, are missing too."""
        if not reading.columns:
            return
        gaps = reading.lost_rows if self._fewest_lost is None else self._fewest_lost
        self._fewest_lost = min(gaps, reading.lost_rows)
        if reading.lost_rows > gaps and numbers["missing_rows"] == numbers["missing_rows"]:
            lost = reading.lost_rows - gaps
            numbers["missing_rows"] += lost
            evidence["missing_rows"] = {**evidence.get("missing_rows", {}), "without_a_usable_value": lost}

    def _beam_lost(
        self, reading: Reading, monitor: float, numbers: Numbers, evidence: dict[str, Evidence]
    ) -> bool:
        lost = numbers["beam_loss"] = self._reference.beam_lost(reading, monitor)
        if lost < self._now["beam_loss"]:  # as mostly
            return False
        evidence["beam_loss"] = self._reference.beam_evidence(reading, monitor)
        return lost == lost

    def snapshot(self) -> dict[str, Any]:
        """Return the state: numbers, strings, lists, bytes."""
        return {
            "up": [name for name, up in self._up.items() if up],
            "copies": self._copies.snapshot(),
            "hot": self._hot.snapshot(),
            "reference": self._reference.snapshot(),
            "fewest_lost": self._fewest_lost,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`snapshot` gave."""
        self._up = {name: name in state["up"] for name in self._limits}
        self._set_limits()
        self._copies.restore(state["copies"])
        self._hot.restore(state["hot"])
        self._reference.restore(state["reference"])
        self._fewest_lost = state["fewest_lost"]


def _take_higher(name: str, number: float, numbers: Numbers, of_run: set[str]) -> None:
    """Of a kind that a reading also shows by itself, take what the run shows where that is more."""
    if number == number and not numbers[name] >= number:
        numbers[name] = number
        of_run.add(name)


def _empty(reading: Reading) -> bool:
    return not reading.level > 0 or reading.constant


def _said(
    numbers: Numbers, flags: dict[str, bool], up: list[str], evidence: dict[str, Evidence],
    settings: FlagSettings, empty: bool,
) -> Judgement:  # fmt: skip
    reasons = tuple(
        f"{BAD if KINDS[n].bad else 'doubt: '}{n} {numbers[n]:.3g}"
        f"{' ' + KINDS[n].units if KINDS[n].units not in ('', '1') else ''} "
        f"(limit {settings.limit(n).threshold:g})"
        for n in up
    )
    return Judgement(numbers, flags, evidence, (NO_COUNTS, *reasons) if empty else reasons, empty)
