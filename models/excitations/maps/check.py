"""The classical side: fits of a map beside the network's answer, and when a map is not this magnet's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.mapmodel.case import MapCase
from streamproc.models.excitations.maps.container import SqeMap, averaged
from streamproc.models.excitations.maps.fit import MapFitter
from streamproc.models.excitations.maps.fitted import FitSettings, MapFit
from streamproc.models.excitations.maps.inputs import Prepared
from streamproc.models.excitations.maps.kinds import physics_of
from streamproc.models.excitations.maps.posterior import MapAnswer
from streamproc.models.excitations.maps.prior import folded
from streamproc.models.excitations.maps.refine import Refinement, refine_map
from streamproc.models.excitations.maps.sampling import Guess
from streamproc.models.excitations.maps.widths import Widths

from streamproc.errors import FrameFailed

__all__ = ["SIGNALS", "Judge", "MapChecker", "disagreement", "most_unexplained", "signals_of"]

Array = npt.NDArray[np.float64]

_COARSE_BACKGROUND, _COARSE_STEPS, _COARSE_TOLERANCE = 6, 8, 1e-3
"""Of the check on the model's own channels: functions of the background, steps, and when it is at rest."""

SIGNALS = ("distance", "residual", "unexplained", "disagreement")
"""What tells a map of something else; larger is more suspicious."""

_SURE = 12.0
"""Magnons so many standard deviations strong must be explained; weaker ones may be too weak to judge."""

_OVER, _FEW_OVER = 4.0, 5
"""Residuals, in standard deviations, and cells that make a structure."""

_SCREENED, _DESCENDED, _RIVAL = 48, 3, 20.0
"""Draws from the prior that are compared with a coarse map, those that descend, and how much worse in
chi-square one may end."""


class MapChecker:
    """Fits maps with one spin model.

    Parameters
    ----------
    case : MapCase
        Model.
    """

    def __init__(self, case: MapCase) -> None:
        self.case = case
        background = min(case.background, _COARSE_BACKGROUND)
        self.coarse = FitSettings.of(
            case, background=background, iterations=_COARSE_STEPS, tolerance=_COARSE_TOLERANCE
        )
        table, stop = case.file.measurement, case.file.energy.stop
        middle = {n: sum(table.ends(n)) / 2 for n in ("energy_fwhm", "end_fwhm", "q_fwhm")}
        self.widths = Widths(middle["energy_fwhm"], middle["end_fwhm"], stop, 0.0, middle["q_fwhm"], 0.0)
        rng = np.random.default_rng(20)
        self._screen = case.parameters.draw(rng, 4 * _SCREENED)[:_SCREENED]

    def check(self, prepared: Prepared, free: Array) -> MapFit | None:
        """Fit the coarse map from the network's answer; None where there is nothing to fit."""
        points = physics_of(self.case).checked_points
        try:
            return MapFitter(self.case, prepared.coarse, self.coarse, points).fit(free[None], self.widths)
        except FrameFailed:
            return None

    def refine(
        self,
        measured: SqeMap,
        unit_meV: float,
        start: Array,
        others: Callable[[], Sequence[Array]] = list,
        network: Guess | None = None,
        kT: float = 0.0,
        q_across: float = 0.0,
    ) -> Refinement:
        """Fit a map at its own resolution, energies in the model's unit in the answer.

        Parameters
        ----------
        measured : SqeMap
            As measured (meV).
        unit_meV : float
            One unit of the model's energy.
        start : ndarray
            Free couplings to begin with, in the model's unit.
        others : callable
            Gives further starts where they are needed.
        network : Guess, optional
            What the network says.
        kT : float
            Temperature in energy (meV).
        q_across : float
            Full width of the cut across the path of the columns (r.l.u.).

        Raises
        ------
        FrameFailed
            Too little is measured, or the order is unstable at every start.
        """
        widths = replace(self.widths, kT=kT / unit_meV, q_across=q_across)
        return refine_map(self.case, measured.scaled(1 / unit_meV), widths, start, others, network)

    def rivals(self, prepared: Prepared, best_trials: Sequence[Array], keep: int = 2) -> list[Array]:
        """Return where else the map may be explained: ends of descents on the coarse map, begun in the prior.

        Draws from the prior are compared with the coarse map; the best few descend on it, as do the network's
        best trials (places in the prior), and those that end apart from each other and nearly as well as the
        best one are returned, best first.
        """
        half = averaged(prepared.coarse, 16, 24)
        try:
            points = physics_of(self.case).checked_points
            fitter = MapFitter(self.case, half, replace(self.coarse, widths=(), iterations=6), points)
        except FrameFailed:
            return []
        wide = replace(
            self.widths, energy_fwhm=1.5 * self.widths.energy_fwhm, end_fwhm=1.5 * self.widths.end_fwhm
        )
        chi2 = fitter.chi2(self._screen, wide)
        chosen = [self._screen[k] for k in np.argsort(chi2)[:_DESCENDED] if np.isfinite(chi2[k])]
        chosen += [self.case.parameters.values_at(u[None])[0] for u in best_trials]
        found = sorted(fitter.descents(np.stack(chosen), wide), key=lambda f: f.chi2) if chosen else []
        kept: list[Array] = []
        for f in found:
            noise = max(1.0, found[0].chi2 / max(1, int(half.measured.sum())))
            place = folded(self.case.parameters, f.x[None])[0]
            apart = np.abs(np.stack(kept) - place).max(1) if kept else np.ones(1)
            if f.chi2 - found[0].chi2 < _RIVAL * noise and (apart > 0.06).all():
                kept.append(place)
        return [self.case.parameters.values_at(u[None])[0] for u in kept[:keep]]


def disagreement(answer: MapAnswer, fit: MapFit, names: Sequence[str]) -> dict[str, float]:
    """Return by how many standard deviations network and fit differ, for each free coupling."""
    sigma = answer.unit_meV * np.sqrt(np.diag(fit.covariance))
    found = {}
    for k, n in enumerate(names):
        own = answer.numbers[n]
        apart = abs(own.value - answer.unit_meV * float(fit.best[k]))
        found[n] = apart / max(float(np.hypot(own.sigma, sigma[k])), 1e-300)
    return found


def signals_of(answer: MapAnswer, fit: MapFit | None, names: Sequence[str]) -> dict[str, float]:
    """Return the signals about foreign maps; NaN where there is no fit, or too little to judge it by."""
    found = dict.fromkeys(SIGNALS, float("nan"))
    found["distance"] = answer.distance
    if fit is None:
        return found
    found["residual"] = fit.chi2_reduced
    found["disagreement"] = max(disagreement(answer, fit, names).values())
    if fit.significance > _SURE or fit.chi2_reduced > 1.5:
        found["unexplained"] = 1.0 - fit.explained
    return found


def most_unexplained(measured: SqeMap, model: Array) -> tuple[Array, float] | None:
    """Return the wave vector and energy about which the intensity lies that a fit leaves over.

    The middle (weighted medians along the columns and the energies) of what exceeds the model by four
    standard deviations of the residuals; None where there is hardly any.
    """
    over = np.where(measured.measured, (measured.intensity - model) / measured.sigma, 0.0)
    usual = max(1.0, 1.4826 * float(np.median(np.abs(over[measured.measured]))))
    weight = np.where(over > _OVER * usual, over, 0.0)
    if np.count_nonzero(weight) < _FEW_OVER:
        return None
    column, channel = (
        int(np.searchsorted(np.cumsum(w), w.sum() / 2)) for w in (weight.sum(1), weight.sum(0))
    )
    return measured.q_rlu[column], float(measured.energy_meV[channel])


@dataclass(frozen=True, slots=True)
class Judge:
    """Says why a map is not what the model is for.

    Attributes
    ----------
    limits : mapping of str to float
        By signal: of the card, and where fits of spoiled simulated maps found none, of the kind of model.
    signal : str
        What the model draws, for its words.
    """

    limits: Mapping[str, float]
    signal: str = "magnons"

    def reasons(self, signals: Mapping[str, float]) -> tuple[str, ...]:
        """Return the reasons; none: the map is in domain."""
        words = {
            "distance": "unusual-map: unlike any map of this model (distance {v:.2g}, limit {m:.2g})",
            "residual": "residual: the fitted map misses the measured one (reduced chi-square {v:.3g}, "
            "limit {m:.3g})",
            "unexplained": "unknown-structure: {p:.0f} % of the structure is not this model's {signal} "
            "(limit {q:.0f} %)",
            "disagreement": "disagrees-with-fit: network and least squares differ by {v:.1f} sigma "
            "(limit {m:.1f})",
        }
        found = []
        for name, text in words.items():
            value, most = signals.get(name, float("nan")), self.limits[name]
            if value > most:
                found.append(text.format(v=value, m=most, p=100 * value, q=100 * most, signal=self.signal))
        return tuple(found)
