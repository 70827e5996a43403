"""Momentum transfers of direct-geometry spectrometers and their rebinning, against loops and closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from streamproc.reduction.inelastic import momentum_transfer_invA, powder_bins, wave_number_invA


def test_elastic_scattering_has_the_momentum_transfer_of_diffraction() -> None:
    angle = np.array([5.0, 60.0, 140.0])
    k = float(wave_number_invA(25.0))
    assert 2 * np.pi / k == pytest.approx(
        9.0446 / np.sqrt(25.0), rel=1e-4
    )  # lambda = 9.045 A / sqrt(E / meV)
    q = momentum_transfer_invA(angle, [0.0], 25.0)[:, 0]
    assert q == pytest.approx(2 * k * np.sin(np.deg2rad(angle / 2)))


def test_forward_and_backward_scattering_are_the_ends_of_what_can_be_reached() -> None:
    q = momentum_transfer_invA([0.0, 180.0], [30.0], 50.0)[:, 0]
    ends = wave_number_invA([50.0, 20.0])
    assert q == pytest.approx([ends[0] - ends[1], ends[0] + ends[1]])


def test_no_neutron_gives_more_energy_than_it_has() -> None:
    assert np.isnan(momentum_transfer_invA([30.0], [51.0], 50.0)).all()


def test_bins_are_plain_means_with_the_error_of_a_mean() -> None:
    rng = np.random.default_rng(1)
    q, y = rng.uniform(0, 5, (40, 7)), rng.normal(size=(40, 7))
    s, seen = rng.uniform(0.1, 2.0, (40, 7)), rng.random((40, 7)) > 0.3
    q[0, 0] = np.nan
    edges = np.linspace(0.5, 4.5, 6)
    mean, sigma, there, centre = powder_bins(q, y, np.where(seen, s, np.inf), seen, edges)
    for k in range(5):
        for m in range(7):
            rows = [i for i in range(40) if seen[i, m] and edges[k] <= q[i, m] < edges[k + 1]]
            assert there[k, m] == bool(rows)
            if rows:
                assert mean[k, m] == pytest.approx(np.mean(y[rows, m]))
                assert sigma[k, m] == pytest.approx(np.sqrt(np.sum(s[rows, m] ** 2)) / len(rows))
                assert centre[k, m] == pytest.approx(np.mean(q[rows, m]))
            else:
                assert mean[k, m] == 0 and np.isinf(sigma[k, m])
