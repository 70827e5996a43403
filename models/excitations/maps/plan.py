"""When to stop counting, and where to count next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.mapmodel.case import MapCase
from streamproc.models.excitations.mapmodel.errors import NotStable
from streamproc.models.excitations.maps.container import SqeMap
from streamproc.models.excitations.maps.fitted import MapFit
from streamproc.models.excitations.maps.kinds import physics_of
from streamproc.models.excitations.maps.physics import MapRenderer

__all__ = ["Next", "candidates_of", "factor_to_target", "where_next"]

Array = npt.NDArray[np.float64]

_STEP = 0.3
"""Steps of the derivative, in standard deviations of the fit."""

_CANDIDATES, _CHANNELS = 40, 48


@dataclass(frozen=True, slots=True, eq=False)
class Next:
    """Where another column would tell most.

    Attributes
    ----------
    q_rlu : ndarray, shape (3,)
        The column.
    energy : float
        The energy in it that tells most, in the model's unit.
    gain : float
        Expected information about the couplings (nats) of that column, counted as long as those so far.
    gains : ndarray, shape (c,)
        Of all candidates.
    candidates : ndarray, shape (c, 3)
        Those.
    """

    q_rlu: Array
    energy: float
    gain: float
    gains: Array = field(repr=False)
    candidates: Array = field(repr=False)


def factor_to_target(sigma: Mapping[str, float], target: Mapping[str, float]) -> float:
    """Return by what factor to count longer until every sigma is at its target; sigmas fall as its root.

    At most 1 where the targets are reached; NaN without targets.
    """
    found = [(sigma[n] / t) ** 2 for n, t in target.items() if n in sigma and t > 0]
    return float(max(found)) if found else float("nan")


def candidates_of(case: MapCase, measured: SqeMap, most: int = _CANDIDATES) -> Array:
    """Return columns to choose from: of the model's path or box, or those measured already, evenly picked.

    For a box a quasi-random sequence over it; so a scan may be sent where it has not been.
    """
    table = case.file.q
    if table.path is not None:
        corners = np.asarray(table.path, dtype=float)
        length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
        s = np.linspace(0, length[-1], most)
        return np.stack([np.interp(s, length, corners[:, k]) for k in range(3)], 1)
    if table.powder is not None:
        q = np.linspace(*table.powder, most)
        return np.stack([q, 0 * q, 0 * q], 1)
    own = measured.q_rlu[
        np.linspace(0, len(measured.q_rlu) - 1, min(most // 2, len(measured.q_rlu))).astype(int)
    ]
    low, high = np.asarray(table.box, dtype=float).T
    unit = np.mod(np.arange(1, most - len(own) + 1)[:, None] * [0.8191725, 0.6710436, 0.5497005], 1.0)
    return np.concatenate([own, low + (high - low) * unit])


def where_next(case: MapCase, measured: SqeMap, fit: MapFit, candidates: Array) -> Next | None:
    """Return the column that would narrow the couplings most (D-optimal design, a Laplace approximation).

    The gain of a column is half the logarithm of det(1 + C F): C the present covariance of the couplings, F
    the Fisher information of the column, with the noise that the measured columns have on average at each
    energy.

    Parameters
    ----------
    case : MapCase
        Model.
    measured : SqeMap
        The map so far, in the model's unit.
    fit : MapFit
        Its fit.
    candidates : ndarray, shape (c, 3)
        Columns to choose from.
    """
    p = len(case.parameters.free)
    energy = measured.energy_meV
    if len(energy) > _CHANNELS:
        energy = energy[:: len(energy) // _CHANNELS]
    derivative = _derivative(case, physics_of(case).renderer(candidates, energy, 8), fit, p)
    if derivative is None:
        return None
    scale = _scale(fit, case, measured)
    noise = _noise(measured, energy)
    weighted = scale * derivative / noise
    information = np.einsum("kcm,lcm->ckl", weighted, weighted)
    information *= len(measured.energy_meV) / len(energy)
    covariance = fit.covariance[:p, :p]
    gains = 0.5 * np.linalg.slogdet(np.eye(p) + covariance @ information)[1]
    best = int(np.argmax(gains))
    told = np.einsum("km,kl,lm->m", weighted[:, best], covariance, weighted[:, best])
    return Next(candidates[best], float(energy[int(np.argmax(told))]), float(gains[best]), gains, candidates)


def _derivative(case: MapCase, renderer: MapRenderer, fit: MapFit, p: int) -> Array | None:
    """Change of the drawn columns with each coupling, shape (p, c, m)."""
    best, size = fit.best[:p], np.sqrt(np.diag(fit.covariance)[:p])
    low, high = case.parameters.bounds()
    try:
        middle = renderer.map(case.parameters.values(best), fit.widths)
    except NotStable:
        return None
    found = np.zeros((p, *middle.shape))
    for k in range(p):
        step = float(np.clip(_STEP * size[k], 1e-6 * (high[k] - low[k]), 0.05 * (high[k] - low[k])))
        for way in (step, -step):
            moved = best.copy()
            moved[k] += way
            try:
                found[k] = (renderer.map(case.parameters.values(moved), fit.widths) - middle) / way
                break
            except NotStable:
                continue
    return found


def _scale(fit: MapFit, case: MapCase, measured: SqeMap) -> float:
    """Measured over drawn intensity of the excitations."""
    drawn = physics_of(case).renderer(measured.q_rlu, measured.energy_meV, 8).map(fit.values, fit.widths)
    weight = drawn * measured.measured
    return float((weight * fit.signal).sum() / max(float((weight * drawn).sum()), 1e-300))


def _noise(measured: SqeMap, energy: Array) -> Array:
    """Root mean square noise of the measured columns at some energies; the largest elsewhere."""
    seen = measured.measured.sum(0)
    square = (measured.sigma**2 * measured.measured).sum(0) / np.maximum(seen, 1)
    level = np.where(seen > 0, square, square.max())
    return np.asarray(np.sqrt(np.interp(energy, measured.energy_meV, level)))
