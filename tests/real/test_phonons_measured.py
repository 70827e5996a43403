"""Measured aluminium through the shipped lattice model: its van Hove maxima, and maps that are not its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from streamproc.models.excitations.maps.container import SqeMap
from streamproc.models.excitations.maps.reader import MapReader

from streamproc.frames.spectrometer_files import read_spectrometer
from streamproc.inference.model import OnnxModel
from streamproc.inference.registry import find_model
from streamproc.reduction.inelastic import momentum_transfer_invA, powder_bins
from streamproc.settings import InferenceSettings

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def reader() -> MapReader:
    settings = InferenceSettings()
    return MapReader(OnnxModel(find_model("phonon-fcc", settings), settings))


@pytest.fixture(scope="module")
def aluminium(shared_data: Path) -> SqeMap:
    found = read_spectrometer(shared_data / "ins_mari_mslice" / "MAR21335_Ei60meV.nxs")
    energy = (found.edges_meV[1:] + found.edges_meV[:-1]) / 2
    q = momentum_transfer_invA(found.two_theta_deg, energy, found.incident_meV)
    edges = np.arange(np.nanmin(q) + 0.5, np.nanmax(q[:, energy > 9]), 0.25)
    y, sigma, measured, _ = powder_bins(q, found.intensity, found.sigma, found.measured, edges)
    keep = (energy > 9) & (energy < 44)
    middle = (edges[1:] + edges[:-1]) / 2
    columns = np.stack([middle, 0 * middle, 0 * middle], 1)
    return SqeMap.of(columns, energy[keep], y[:, keep], sigma[:, keep], measured[:, keep])


def test_aluminium_is_in_domain_and_its_van_hove_maxima_are_where_they_are_known(
    reader: MapReader, aluminium: SqeMap
) -> None:
    read = reader.read(aluminium)
    refined = reader.refine(aluminium, read, 5.0)
    assert not read.reasons and refined is not None and not refined.reasons
    assert 19 < refined.derived["transverse_maximum"].value < 23
    assert refined.derived["longitudinal_maximum"].value == pytest.approx(36.0, abs=0.5)
    # published force constants of aluminium have L1 near 21 N/m, twenty times the others across bonds
    assert refined.numbers["L1"].value == pytest.approx(21.0, abs=0.5)
    assert 0 < refined.numbers["L1"].sigma < 0.2
    assert refined.fit.chi2_reduced < 1.15
    # nothing had told the fit how wide the elastic line is (3.6 meV)
    assert refined.fit.widths.energy_fwhm == pytest.approx(3.6, abs=0.8)


def test_the_same_map_out_of_order_or_upside_down_is_refused(reader: MapReader, aluminium: SqeMap) -> None:
    order = np.random.default_rng(1).permutation(len(aluminium.q_rlu))
    parts = ("intensity", "sigma", "measured")
    for wrong in (
        replace(aluminium, **{k: getattr(aluminium, k)[order] for k in parts}),
        replace(aluminium, **{k: getattr(aluminium, k)[:, ::-1] for k in parts}),
    ):
        read = reader.read(wrong)
        refined = reader.refine(wrong, read, 5.0)
        assert read.reasons or refined is None or refined.reasons
