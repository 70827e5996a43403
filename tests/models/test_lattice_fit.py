"""Force constants from simulated powder maps: found from no start, with errors that hold, or refused."""

from __future__ import annotations

import numpy as np
import pytest
from streamproc.models.excitations.lattice.crystal import cubic
from streamproc.models.excitations.lattice.fit import PowderData, chopper_fwhm_meV, fit_powder
from streamproc.models.excitations.lattice.scattering import PowderModel

from streamproc.errors import FrameFailed

EDGES, ENERGY = np.arange(2.0, 8.1, 0.75), np.arange(8.0, 44.0, 0.8)


def simulated(
    kind: str, edge_A: float, mass_u: float, forces, seed: int, counts: float = 150.0
) -> PowderData:
    model = PowderModel(
        cubic(kind, edge_A, mass_u), len(forces) // 2, EDGES, ENERGY,
        lambda e: chopper_fwhm_meV(e, 3.0, 0.8, 60.0), 10.0, points=2000,
    )  # fmt: skip
    clean = model.intensity(forces)
    rng = np.random.default_rng(seed)
    expected = counts * clean / clean.max() + 6.0
    observed = rng.poisson(expected).astype(float)
    seen = rng.random(observed.shape) > 0.1
    return PowderData(EDGES, ENERGY, observed, np.sqrt(np.maximum(observed, 1.0)), seen, 60.0, 10.0, 3.6)


@pytest.mark.parametrize(
    ("kind", "edge_A", "mass_u", "forces"),
    [("fcc", 4.03, 26.98, (20.5, -1.2, 2.2, -0.4)), ("bcc", 2.86, 55.85, (55.0, 3.0, 12.0, 1.0))],
)
def test_force_constants_are_found_without_a_start(kind: str, edge_A: float, mass_u: float, forces) -> None:
    data = simulated(kind, edge_A, mass_u, forces, seed=1)
    fit = fit_powder(data, cubic(kind, edge_A, mass_u), 2, points=400)
    assert fit.names == ("L1", "T1", "L2", "T2")
    assert fit.chi2_reduced < 2.0
    off = np.abs(fit.forces_N_m - forces)
    assert (off < 6 * fit.sigma_N_m + 0.02 * max(forces)).all(), (fit.forces_N_m, fit.sigma_N_m)
    assert fit.covariance == pytest.approx(fit.covariance.T)
    assert fit.sigma_N_m == pytest.approx(np.sqrt(np.diag(fit.covariance)))


def test_too_little_of_a_map_is_refused() -> None:
    data = simulated("fcc", 4.03, 26.98, (20.5, -1.2), seed=1)
    blind = PowderData(
        data.q_edges_invA, data.energy_meV, data.intensity, data.sigma, data.measured & False,
        data.incident_meV, data.temperature_K, data.elastic_fwhm_meV,
    )  # fmt: skip
    with pytest.raises(FrameFailed, match="0 points measured, at least 100"):
        fit_powder(blind, cubic("fcc", 4.03, 26.98), 1)
