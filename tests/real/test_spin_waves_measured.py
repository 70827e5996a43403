"""Shipped spin-wave models on measured S(Q,E): couplings as published, another magnet is not fitted."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from streamproc.models.excitations.maps.container import SqeMap
from streamproc.models.excitations.maps.reader import MapReader
from streamproc.models.excitations.maps.ridge import fit_ridge, ridge_of

from streamproc.inference.model import OnnxModel
from streamproc.inference.registry import find_model
from streamproc.settings import InferenceSettings

pytestmark = pytest.mark.real


def reader_of(name: str) -> MapReader:
    settings = InferenceSettings()
    return MapReader(OnnxModel(find_model(name, settings), settings))


@pytest.fixture(scope="module")
def nickelate(shared_data: Path) -> SqeMap:
    folder = shared_data / "ins_La2NiO4"
    y = np.loadtxt(folder / "Sqw_path2.csv", delimiter=",").T
    q = np.loadtxt(folder / "Qlist_path2_woBG.csv", delimiter=",").T
    return SqeMap.of(q, np.loadtxt(folder / "Elist_path2_woBG.csv"), y, None, y != 0)


def test_la2nio4_is_in_domain_and_its_couplings_are_those_of_least_squares(nickelate: SqeMap) -> None:
    reader = reader_of("magnon-square")
    read = reader.read(nickelate)
    refined = reader.refine(nickelate, read)
    assert not read.reasons and refined is not None and not refined.reasons
    assert refined.numbers["J"].value == pytest.approx(32.0, rel=0.01)
    assert refined.numbers["J2"].value == pytest.approx(1.8, abs=0.3)


def test_the_ridge_of_la2nio4_gives_the_same_couplings(nickelate: SqeMap) -> None:
    case = reader_of("magnon-square").case
    scaled, free = nickelate.scaled(1 / 140.0), np.array([31.0, 1.5, 0.0]) / 140.0
    for _ in range(3):
        ridge = ridge_of(case, scaled, case.parameters.values(free), 6 / 140.0)
        fit = fit_ridge(case, ridge, free, [True, True, False])
        free = np.array(list(fit.values.values()))
    assert fit.peaks > 100 and fit.residual * 140 < 1.0
    assert free[0] * 140 == pytest.approx(32.0, rel=0.01)
    assert free[1] * 140 == pytest.approx(1.8, abs=0.3)


def test_the_zone_boundary_of_csvcl3_is_that_of_its_constant_energy_cuts(shared_data: Path) -> None:
    with gzip.open(shared_data / "ins_CsVCl3" / "CsVCl3_processed_data_Ei_102meV.txt.gz", "rt") as file:
        rows = np.loadtxt(file)
    energies = np.unique(rows[:, 1])
    rows = rows[np.lexsort((rows[:, 0], rows[:, 1]))].reshape(len(energies), -1, 4)
    place = np.median(rows[:, :, 0], axis=0) / 2
    y, sigma = rows[:, :, 2].T / 1e5, rows[:, :, 3].T / 1e5
    q = np.stack([0 * place, 0 * place, place], 1)
    seen = (y > -1e10) & (sigma > 0)
    whole = SqeMap.of(q, energies, y, np.maximum(sigma, 0), seen).window(40.0, 96.0)
    whole = whole.columns((place > 0.3) & (place < 0.75))
    reader = reader_of("magnon-chain")
    refined = reader.refine(whole, reader.read(whole))
    assert refined is not None
    assert refined.derived["zone_boundary"].value == pytest.approx(79.0, abs=1.5)
