"""Force constants from the scattering of a powder: least squares on the whole S(|Q|, E) map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares
from streamproc.models.excitations.lattice.born_karman import Dynamics, force_names
from streamproc.models.excitations.lattice.crystal import Crystal
from streamproc.models.excitations.lattice.density import Density, density_of_states, mesh, peaks_of
from streamproc.models.excitations.lattice.scattering import PowderModel

from streamproc.errors import FrameFailed

__all__ = ["PowderData", "PowderFit", "chopper_fwhm_meV", "fit_powder"]

Array = npt.NDArray[np.float64]

_STIFFER = (0.85, 0.95, 1.05, 1.15)
"""Energies are tried this much higher than the upper end of the intensity suggests."""

_SHAPES = ((-0.05, 0.1), (0.05, 0.1), (0.05, 0.3), (-0.05, 0.5))
"""Stiffness across the nearest bond and along the second, over that along the nearest."""

_SOLVED = 4
"""So many of the starts are fitted coarsely, the best of them finely."""

_EDGE = 0.25
"""The upper end of the phonons is where the intensity falls below this share of its highest value."""

_POWER = (0.3, 1.5)
"""The width of a chopper spectrometer falls with (1 - E/Ei) to some power between these."""

_LEAST_POINTS = 100
_FEATURES_FWHM_MEV = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class PowderData:
    """A measured map of a powder; n bins of |Q|, m energies.

    Attributes
    ----------
    q_edges_invA : ndarray, shape (n + 1,)
        Edges of the bins.
    energy_meV : ndarray, shape (m,)
        Energies given to the sample, without the elastic line.
    intensity, sigma : ndarray, shape (n, m)
        Intensity per meV and its standard deviation.
    measured : ndarray of bool, shape (n, m)
        What counts.
    incident_meV, temperature_K : float
        Energy of the neutrons, temperature of the sample.
    elastic_fwhm_meV : float
        Width of the elastic line: no width of the resolution exceeds it.
    """

    q_edges_invA: Array
    energy_meV: Array
    intensity: Array
    sigma: Array
    measured: npt.NDArray[np.bool_]
    incident_meV: float
    temperature_K: float
    elastic_fwhm_meV: float


@dataclass(frozen=True, slots=True, eq=False)
class PowderFit:
    """What was found.

    Attributes
    ----------
    names : tuple of str
        Force constants ``L1``, ``T1`` ... (N/m).
    forces_N_m, sigma_N_m : ndarray, shape (p,)
        Values and standard deviations (times the root of chi-squared where that exceeds 1).
    covariance : ndarray, shape (p, p)
        Of the force constants, the other parameters integrated out.
    width_meV, width_power : float
        Resolution: full width at half maximum at E = 0, and its power of (1 - E/Ei).
    chi2_reduced : float
        Goodness of fit.
    calculated : ndarray, shape (n, m)
        Fitted map.
    density : Density
        Density of states, smeared by 1 meV.
    features_meV : ndarray
        Its maxima.
    """

    names: tuple[str, ...]
    forces_N_m: Array
    sigma_N_m: Array
    covariance: Array
    width_meV: float
    width_power: float
    chi2_reduced: float
    calculated: Array
    density: Density
    features_meV: Array


def chopper_fwhm_meV(energy_meV: Array, elastic_meV: float, power: float, incident_meV: float) -> Array:
    """Return the resolution's full width at half maximum at energy transfers (meV)."""
    left = np.clip(1 - energy_meV / incident_meV, 0.02, None)
    return np.asarray(elastic_meV * left**power)


def fit_powder(
    data: PowderData,
    crystal: Crystal,
    number: int,
    *,
    start_N_m: Sequence[float] | None = None,
    points: int = 256,
) -> PowderFit:
    """Fit force constants to a map.

    Scale, a background (constant, linear in E, and as Q^2) and neutrons that were scattered more than once
    (density of states over E, whatever Q) are solved linearly at every step.

    Parameters
    ----------
    data : PowderData
        The map.
    crystal : Crystal
        Its crystal.
    number : int
        Shells of neighbours.
    start_N_m : sequence of float, optional
        Where to start; without it several stiffnesses are tried that fit the upper end of the intensity.
    points : int
        Wave vectors per bin of |Q| (in the irreducible part).

    Raises
    ------
    FrameFailed
        Too little is measured.
    """
    if data.measured.sum() < _LEAST_POINTS:
        raise FrameFailed(f"{int(data.measured.sum())} points measured, at least {_LEAST_POINTS} are needed")
    coarse = _Problem(data, crystal, number, max(16, points // 6))
    if start_N_m is not None:
        starts = [np.append(np.asarray(start_N_m, float), [0.8 * data.elastic_fwhm_meV, 0.8])]
    else:
        starts = _starts(coarse, crystal, number)
    solved = [coarse.solve(theta, 12) for theta in starts]
    best = min(solved, key=lambda found: float(found.cost))
    fine = _Problem(data, crystal, number, points)
    found = fine.solve(best.x, 12)
    return _result(fine, found, crystal, number)


class _Problem:
    """Residuals of a map for force constants and resolution, linear amounts solved."""

    def __init__(self, data: PowderData, crystal: Crystal, number: int, points: int) -> None:
        self.data, self.forces = data, 2 * number
        self._width = (data.elastic_fwhm_meV, 1.0)
        self.model = PowderModel(
            crystal, number, data.q_edges_invA, data.energy_meV, self._fwhm, data.temperature_K, points
        )
        self._weight = np.where(data.measured, 1 / np.where(data.measured, data.sigma, 1.0), 0.0)
        centre = self.model.q_invA
        shape = data.intensity.shape
        e = (data.energy_meV - data.energy_meV.mean()) / np.ptp(data.energy_meV)
        fixed = (np.ones(shape), np.broadcast_to(e, shape), np.broadcast_to(centre[:, None] ** 2, shape))
        self._fixed = np.stack([(c * self._weight)[data.measured] for c in fixed], 1)
        self._amounts = (fixed, np.zeros(5))

    def _fwhm(self, energy: Array) -> Array:
        return chopper_fwhm_meV(energy, *self._width, self.data.incident_meV)

    def signal(self, theta: Array) -> tuple[Array, Array]:
        """Single scattering and the shape of multiple scattering, each (n, m)."""
        self._width = (float(theta[-2]), float(theta[-1]))
        single = self.model.intensity(theta[: self.forces])
        states = self.model.density(theta[: self.forces])
        energy = self.data.energy_meV
        twice = np.interp(energy, states.energy_meV, states.states, right=0.0) / np.abs(energy)
        return single, np.broadcast_to(twice, single.shape)

    def amounts(self, theta: Array) -> tuple[Array, Array, Array]:
        """Linear amounts, residuals, and the calculated map."""
        signal = self.signal(theta)
        seen, w = self.data.measured, self._weight
        columns = np.column_stack([*((c * w)[seen] for c in signal), self._fixed])
        goal = (self.data.intensity * w)[seen]
        found = np.linalg.lstsq(columns, goal, rcond=None)[0]
        parts = (*signal, *self._amounts[0])
        total = sum(a * p for a, p in zip(found, parts, strict=True))
        return found, columns @ found - goal, np.asarray(total)

    def residual(self, theta: Array) -> Array:
        """Weighted residuals of what was measured."""
        return self.amounts(theta)[1]

    def solve(self, theta: Array, steps: int):  # type: ignore[no-untyped-def]
        """Bounded least squares from a start."""
        size = float(np.abs(theta[: self.forces]).max())
        reach = np.full(self.forces, 1.5 * size)
        low = np.append(-reach, [0.15 * self.data.elastic_fwhm_meV, _POWER[0]])
        high = np.append(reach, [1.05 * self.data.elastic_fwhm_meV, _POWER[1]])
        scale = np.append(np.full(self.forces, size / 20), [0.1 * self.data.elastic_fwhm_meV, 0.2])
        inside = np.clip(theta, low + 1e-6, high - 1e-6)
        return least_squares(
            self.residual, inside, bounds=(low, high), x_scale=scale, diff_step=1e-3, max_nfev=steps
        )


def _starts(problem: _Problem, crystal: Crystal, number: int) -> list[Array]:
    """The most promising lattices whose highest phonon is near the upper end of the intensity, best first."""
    zone, end = Dynamics(crystal, number, mesh(crystal, 8)), _upper_end_meV(problem.data)
    width, tried = [0.8 * problem.data.elastic_fwhm_meV, 0.8], []
    for across, second in _SHAPES[: 2 if number == 1 else None]:
        shape = np.zeros(2 * number)
        shape[: min(3, 2 * number)] = (1.0, across, second)[: 2 * number]
        top = float(zone.energies_meV(shape).max())
        tried += [np.append(shape * (s * end / top) ** 2, width) for s in _STIFFER]
    misfit = [float((problem.residual(theta) ** 2).sum()) for theta in tried]
    return [tried[k] for k in np.argsort(misfit, kind="stable")[:_SOLVED]]


def _upper_end_meV(data: PowderData) -> float:
    """Energy beyond which the mean intensity stays low."""
    seen = data.measured.sum(0)
    mean = np.where(seen > 0, (data.intensity * data.measured).sum(0) / np.maximum(seen, 1), 0.0)
    smooth = np.convolve(mean * data.energy_meV, np.ones(5) / 5, "same")
    floor = np.quantile(smooth[seen > 0], 0.05)
    strong = np.flatnonzero(smooth - floor > _EDGE * (smooth.max() - floor))
    return float(data.energy_meV[strong[-1]])


def _result(problem: _Problem, found, crystal: Crystal, number: int) -> PowderFit:  # type: ignore[no-untyped-def]
    """Covariance from the Jacobian of what was not solved linearly; the projection is in it already."""
    theta, p = found.x, problem.forces
    amounts, residual, calculated = problem.amounts(theta)
    free = max(1, residual.size - theta.size - amounts.size)
    chi2 = float((residual**2).sum() / free)
    covariance = np.linalg.pinv(found.jac.T @ found.jac) * max(1.0, chi2)
    axis = np.arange(0.0, 1.2 * float(problem.data.energy_meV[-1]), 0.1)
    zone = Dynamics(crystal, number, mesh(crystal, 24))
    density = density_of_states(zone, theta[:p], axis, _FEATURES_FWHM_MEV)
    return PowderFit(
        names=force_names(number),
        forces_N_m=theta[:p],
        sigma_N_m=np.sqrt(np.diag(covariance)[:p]),
        covariance=covariance[:p, :p],
        width_meV=float(theta[-2]),
        width_power=float(theta[-1]),
        chi2_reduced=chi2,
        calculated=calculated,
        density=density,
        features_meV=peaks_of(density.energy_meV, density.states, 0.05),
    )
