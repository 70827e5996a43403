"""Shipped spin-wave models on measured S(Q,E): couplings as published, another magnet is not fitted."""

from __future__ import annotations

import gzip
from dataclasses import replace
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


@pytest.fixture(scope="module")
def chain_magnet(shared_data: Path) -> SqeMap:
    with gzip.open(shared_data / "ins_CsVCl3" / "CsVCl3_processed_data_Ei_102meV.txt.gz", "rt") as file:
        rows = np.loadtxt(file)
    energies = np.unique(rows[:, 1])
    rows = rows[np.lexsort((rows[:, 0], rows[:, 1]))].reshape(len(energies), -1, 4)
    place = np.median(rows[:, :, 0], axis=0) / 2
    y, sigma = rows[:, :, 2].T / 1e5, rows[:, :, 3].T / 1e5
    q = np.stack([0 * place, 0 * place, place], 1)
    seen = (y > -1e10) & (sigma > 0)
    whole = SqeMap.of(q, energies, y, np.maximum(sigma, 0), seen).window(40.0, 96.0)
    return whole.columns((place > 0.3) & (place < 0.75))


def test_csvcl3_is_said_to_hold_the_direct_beam_and_its_zone_boundary_is_right(chain_magnet: SqeMap) -> None:
    reader = reader_of("magnon-chain")
    refined = reader.refine(chain_magnet, reader.read(chain_magnet))
    assert refined is not None
    assert refined.derived["zone_boundary"].value == pytest.approx(79.0, abs=1.5)
    reason = next(r for r in refined.reasons if r.startswith("unknown-structure"))
    # the beam comes in at low l and high energies, and the edge leaves above l = 0.5
    assert float(reason.rpartition(" at ")[2].removesuffix(" meV")) > 80


def test_csvcl3_is_in_domain_once_the_direct_beam_and_a_detectors_edge_are_masked(
    chain_magnet: SqeMap,
) -> None:
    place, energy = np.meshgrid(chain_magnet.q_rlu[:, 2], chain_magnet.energy_meV, indexing="ij")
    beam = (energy > 70 + (place - 0.31) * 130) & (place < 0.52)
    edge = np.abs(place - np.interp(energy, [40, 62, 77, 96], [0.668, 0.632, 0.588, 0.505])) < 0.016
    clean = replace(chain_magnet, measured=chain_magnet.measured & ~beam & ~edge)
    reader = reader_of("magnon-chain")
    refined = reader.refine(clean, reader.read(clean))
    assert refined is not None and not refined.reasons
    assert refined.derived["zone_boundary"].value == pytest.approx(79.0, abs=1.5)
