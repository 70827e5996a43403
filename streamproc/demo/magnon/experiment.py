"""The magnon experiment: counts of a triple-axis scan, answered by the excitation fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from streamproc.dashboard.reading import Point
from streamproc.dashboard.state import RunView
from streamproc.demo.magnon.beamline import COUNTS
from streamproc.demo.magnon.scan import ENERGIES_MEV, MODEL, POINTS_PER_COLUMN, Truth, read_truth
from streamproc.demo.options import DemoOptions
from streamproc.demo.summary import run_facts, run_lines

__all__ = ["FIT", "Magnon", "summarise", "tables"]

FIT = "fit"
"""Stream of the least-squares fits of the scan so far."""

_POINTS, _RATE_HZ = 16 * POINTS_PER_COLUMN, 20.0


def tables() -> str:
    """Return the excitation fit's tables of the configuration (TOML)."""
    return f"""\
[analysis.excitation-fit]
model = "{MODEL}"
key = "{COUNTS}"

[analysis.excitation-fit.map]
keys = {{ q_keys = ["h", "k", "l"], energy_key = "energy" }}
fit_every = {POINTS_PER_COLUMN}
refine_every = {POINTS_PER_COLUMN}
"""


class Magnon:
    """Scans of energy at constant Q through the spin waves of an antiferromagnet."""

    analysis = "excitation-fit"

    def __init__(self, options: DemoOptions) -> None:
        self.points, self.rate_Hz = options.for_events(
            _POINTS, _RATE_HZ, "the counts of --experiment magnon are numbers in the events"
        )

    def tables(self) -> str:
        """Return the excitation fit's tables."""
        return tables()

    def prepare(self, folder: Path) -> None:
        """Write nothing: the model is one of those shipped."""

    def beamline(self) -> list[str]:
        """Return the spectrometer with its points."""
        return ["streamproc.demo.magnon.beamline", "--points", str(self.points)]

    def doing(self) -> str:
        """Say how many points."""
        ends = f"{ENERGIES_MEV[0]:g} to {ENERGIES_MEV[-1]:g} meV"
        return f"counting at {self.points} points: {POINTS_PER_COLUMN} energies, {ends}, at each Q"

    def summarise(self, run: RunView, folder: Path, elapsed_s: float) -> dict[str, Any]:
        """Compare the newest fit with the magnet's couplings."""
        return summarise(run, read_truth(folder / "truth.json"), self.points, elapsed_s)

    def lines(self, summary: dict[str, Any]) -> list[str]:
        """Return the summary for a reader."""
        first, *rest = run_lines(summary)
        return [first, *_coupling_lines(summary), *rest]


def summarise(run: RunView, truth: Truth, points: int, elapsed_s: float) -> dict[str, Any]:
    """Return the summary that ``streamproc demo --experiment magnon --json`` writes.

    Returns
    -------
    dict
        What :func:`~streamproc.demo.summary.run_facts` gives, and ``fits`` (how many), ``in_domain``
        and ``reasons`` of the last, ``couplings`` (by key: ``truth_meV``, ``value_meV``, ``sigma_meV``,
        ``interval90_meV``, ``held``) and ``course`` (``seq_num`` and every sigma of each fit).
    """
    stream = run.so_far.get(FIT)
    fits = list(stream.points) if stream is not None else []
    keys = {f"Zc*{name}": value for name, value in truth.couplings.items()}
    course = [{"seq_num": p.seq_num, **{k: p.sigmas.get(k) for k in keys}} for p in fits if _told(p, keys)]
    return {
        **run_facts(run, points, elapsed_s),
        "experiment": "magnon",
        "fits": len(fits),
        "in_domain": bool(fits) and fits[-1].in_domain,
        "reasons": fits[-1].reasons if fits else "no fit",
        "couplings": {k: _compared(fits[-1] if fits else None, k, value) for k, value in keys.items()},
        "course": course,
    }


def _told(point: Point, keys: Mapping[str, float]) -> bool:
    """Whether a fit gave numbers."""
    return all(point.values.get(k, float("nan")) == point.values.get(k) for k in keys)


def _compared(point: Point | None, key: str, truth: float) -> dict[str, Any]:
    """Return a coupling beside its truth; None for what is not known."""
    found: dict[str, Any] = {"truth_meV": truth}
    if point is None or not _told(point, {key: truth}) or key not in point.intervals:
        return found | {"value_meV": None, "sigma_meV": None, "interval90_meV": None, "held": None}
    low, high = point.intervals[key]
    return found | {
        "value_meV": point.values[key],
        "sigma_meV": point.sigmas[key],
        "interval90_meV": [low, high],
        "held": low <= truth <= high,
    }


def _coupling_lines(summary: Mapping[str, Any]) -> list[str]:
    lines = [f"{summary['fits']} fits; the last one against the known truth (meV):"]
    for key, c in summary["couplings"].items():
        if c["value_meV"] is None:
            lines.append(f"  {key:<6} no answer; truth {c['truth_meV']:.4f}")
            continue
        low, high = c["interval90_meV"]
        held = "holds" if c["held"] else "does NOT hold"
        lines.append(
            f"  {key:<6} {c['value_meV']:8.4f} ± {c['sigma_meV']:.4f}   90 %: {low:.4f} to {high:.4f} "
            f"{held} the truth {c['truth_meV']:.4f}"
        )
    if not summary["in_domain"]:
        lines.append(f"  {summary['reasons']}")
    first, last = (summary["course"] or [None])[0], (summary["course"] or [None])[-1]
    if first is not None and last is not None and first is not last:
        key = next(iter(summary["couplings"]))
        lines.append(
            f"  sigma of {key}: {first[key]:.4f} after {first['seq_num']} points, {last[key]:.4f} after "
            f"{last['seq_num']}"
        )
    return lines
