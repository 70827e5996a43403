"""The simulator: what is drawn is what is said, and what the network reads keeps the counts."""

from __future__ import annotations

import numpy as np
import pytest
from streamproc.models.excitations.oscillators.foreign import KINDS, foreign_spectrum
from streamproc.models.excitations.oscillators.forward import Forward
from streamproc.models.excitations.oscillators.instruments import Priors, build_library
from streamproc.models.excitations.oscillators.mixtures import Mixer, Strengths
from streamproc.models.excitations.oscillators.parameters import Composition
from streamproc.models.excitations.oscillators.prepare import CONDITIONS, GRID, prepare, resample
from streamproc.models.excitations.oscillators.spectrum import Spectrum


@pytest.fixture(scope="module")
def library():
    return build_library(25, 3)


def test_the_same_seed_gives_the_same_spectra(library):
    assert build_library(5, 3).sha256() == build_library(5, 3).sha256() != build_library(5, 4).sha256()
    one, two = Mixer(library, 8).batch(20), Mixer(library, 8).batch(20)
    assert np.array_equal(one.x, two.x)
    assert np.array_equal(one.modes, two.modes, equal_nan=True)


def test_axes_and_modes_keep_to_the_declared_ranges(library):
    p = Priors()
    for row in range(len(library)):
        n = library.points[row]
        e = library.energy[row, :n]
        assert 40 <= n <= 400
        assert p.window[0] * 0.999 <= e[-1] - e[0] <= p.window[1] * 1.001
        assert (np.diff(e) > 0).all()
        assert library.resolution(row).fwhm == pytest.approx(1.0, rel=2e-3)
        assert p.thermal[0] <= library.kT[row] <= p.thermal[1]
        assert (library.truth[row, :, 0] <= e[-1]).all()


def test_expected_counts_are_those_of_the_forward_model(library):
    """Mean of many Poisson draws of one spectrum's modes, rendered again from the stated truth."""
    batch = Mixer(library, 2, Strengths(number=(0, 0, 1, 0, 0), no_elastic=1.0)).batch(60)
    checked = 0
    for k in np.flatnonzero(batch.number == 2)[:8]:
        row = batch.row[k]
        data = batch.spectrum(int(k), library)
        forward = Forward(data.energy, library.resolution(int(row)), float(library.kT[row]))
        c = Composition(2, elastic=False)
        modes = batch.modes[k, :2].ravel()
        mu = forward(c, np.array([*modes, library.zero[row], 0.0]))[0]
        rest = data.counts - mu
        # what is left is background: flat or tilted, below 30, and counting noise
        ramp = np.stack([np.ones_like(rest), np.linspace(-1, 1, rest.size)])
        flat = np.linalg.lstsq((ramp / np.sqrt(mu + 1)).T, rest / np.sqrt(mu + 1), rcond=None)[0] @ ramp
        chi2 = ((rest - flat) ** 2 / np.maximum(mu + flat, 1)).mean()
        assert chi2 == pytest.approx(1.0, abs=0.6)
        checked += 1
    assert checked >= 5


def test_modes_are_sorted_visible_and_apart(library):
    batch = Mixer(library, 4).batch(300)
    assert set(batch.number) == {0, 1, 2, 3, 4}
    for k in range(300):
        n = batch.number[k]
        modes = batch.modes[k, :n]
        assert np.isfinite(modes).all()
        assert np.isnan(batch.modes[k, n:]).all()
        assert (np.diff(modes[:, 0]) >= 0).all()
        for i in range(n):
            for j in range(i):
                narrower = min(modes[i, 1], modes[j, 1])
                assert abs(modes[i, 0] - modes[j, 0]) >= 0.75 * np.hypot(1, narrower) - 1e-9


def test_resampling_keeps_the_integral_and_agrees_with_a_loop():
    rng = np.random.default_rng(0)
    energy = np.sort(rng.uniform(-5, 20, 70))
    counts = rng.poisson(20, 70).astype(float)
    found = resample(energy, counts, 33)
    edges = np.concatenate([[energy[0]], (energy[1:] + energy[:-1]) / 2, [energy[-1]]])
    bins = np.linspace(energy[0], energy[-1], 34)
    expected = [
        sum(
            c * max(0.0, min(edges[i + 1], bins[b + 1]) - max(edges[i], bins[b])) for i, c in enumerate(counts)
        ) / (bins[1] - bins[0])
        for b in range(33)
    ]  # fmt: skip
    assert found == pytest.approx(np.array(expected))
    assert found.sum() * (bins[1] - bins[0]) == pytest.approx((counts * np.diff(edges)).sum())


def test_the_input_knows_no_unit_of_energy():
    rng = np.random.default_rng(1)
    energy, counts = np.linspace(-10, 30, 100), rng.poisson(40, 100).astype(float)
    here = prepare(Spectrum(energy, counts), 1.5, 0.2, 2.0)
    there = prepare(Spectrum(1e-3 * energy, counts), 1.5e-3, 0.2, 2.0e-3)
    assert here.shape == (GRID + len(CONDITIONS),)
    assert here == pytest.approx(there, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_foreign_spectra_are_spectra_and_differ_by_seed(kind, library):
    one, forward = foreign_spectrum(kind, library, 1, 5)
    two, _ = foreign_spectrum(kind, library, 1, 6)
    assert one.counts.shape == forward.energy.shape
    assert one.counts.sum() > 0
    assert not np.array_equal(one.counts, two.counts)
