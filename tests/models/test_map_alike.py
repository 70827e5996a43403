"""Whether a map shows the fitted dispersion: against one spectrum for all columns."""

from __future__ import annotations

import numpy as np
import pytest
from streamproc.models.excitations.maps.alike import alike
from streamproc.models.excitations.maps.fitted import MapFit
from streamproc.models.excitations.maps.linear import Linear
from streamproc.models.excitations.maps.widths import Widths

N, M = 30, 50
CELLS = np.ones((N, M), bool)


def ridge(at: float, slope: float, strength: float = 60.0) -> np.ndarray:
    column, channel = np.arange(N)[:, None], np.arange(M)[None, :]
    return 4.0 + strength * np.exp(-0.5 * ((channel - at - slope * column) / 2.0) ** 2)


def fitted(y: np.ndarray, model: np.ndarray, cells: np.ndarray = CELLS) -> MapFit:
    expected = np.maximum(model[cells], 1.0)
    background = np.ones((1, int(cells.sum())))
    linear = Linear(y[cells], 1 / np.sqrt(expected), background, np.zeros(int(cells.sum())))
    none = np.zeros((2, 2))
    widths = Widths(1.0, 1.0, 50.0, 0.0, 0.0, 0.0)
    return MapFit(
        {}, ("J", "energy_fwhm"), np.zeros(2), none, widths, 1.0, 1.0, 10.0, model, model - 4.0, 1, True, linear
    )  # fmt: skip


def counted(expected: np.ndarray, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).poisson(expected).astype(float)


def test_the_right_dispersion_explains_what_differs() -> None:
    truth = ridge(8.0, 1.0)
    found = alike(fitted(counted(truth), truth), CELLS, counts=True)
    assert found is not None and not found.missed
    assert found.explained == pytest.approx(1.0, abs=0.02)
    assert found.numbers == M and found.cells == N * M


@pytest.mark.parametrize("model", [ridge(37.0, -1.0), np.full((N, M), 9.0)], ids=["turned", "none"])
def test_another_dispersion_is_missed(model: np.ndarray) -> None:
    found = alike(fitted(counted(ridge(8.0, 1.0)), model), CELLS, counts=True)
    assert found is not None and found.missed and found.explained < 0.5


def test_lines_at_all_wave_vectors_are_missed_by_a_dispersion() -> None:
    found = alike(fitted(counted(ridge(25.0, 0.0)), ridge(8.0, 1.0)), CELLS, counts=True)
    assert found is not None and found.missed and found.explained < 0


@pytest.mark.parametrize("seed", range(20))
def test_a_flat_band_that_is_met_is_no_fault_nor_is_hardly_a_count(seed: int) -> None:
    for truth in (ridge(25.0, 0.0), ridge(8.0, 1.0, 2.0), np.full((N, M), 1.0)):
        found = alike(fitted(counted(truth, seed), truth), CELLS, counts=True)
        assert found is not None and not found.missed


def test_errors_that_are_too_small_favour_neither() -> None:
    rng, truth = np.random.default_rng(3), ridge(25.0, 0.0)
    y = truth + 3 * np.sqrt(truth) * rng.normal(size=truth.shape)
    found = alike(fitted(y, truth), CELLS, counts=False)
    assert found is not None and not found.missed


def test_masked_cells_and_columns_count_for_nothing() -> None:
    truth, cells = ridge(8.0, 1.0), CELLS.copy()
    cells[::2], cells[:, :5] = False, False
    y = np.where(cells, counted(truth), 1e6)
    found = alike(fitted(y, truth, cells), cells, counts=True)
    assert found is not None and found.cells == cells.sum() and found.numbers == M - 5
    assert not found.missed


def test_fewer_than_three_columns_are_not_judged() -> None:
    cells = np.zeros_like(CELLS)
    cells[:2] = True
    truth = ridge(8.0, 1.0)
    assert alike(fitted(counted(truth), truth, cells), cells, counts=True) is None
