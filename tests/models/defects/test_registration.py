"""Lines are brought to their places, whatever strain and zero; the model then reads the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from streamproc.models.defects.material import material_of
from streamproc.models.defects.network.estimate import read_defects
from streamproc.models.defects.pattern import render_defects
from streamproc.models.defects.reference import reference_of
from streamproc.models.defects.registration import Registration
from streamproc.models.defects.state import DefectState
from streamproc.models.powder.optics import CU_KA1_A
from streamproc.models.powder.pattern import prepare
from streamproc.models.powder.structures import structure

from streamproc.inference.model import OnnxModel
from streamproc.inference.registry import find_model
from streamproc.settings import InferenceSettings

COPPER = material_of(structure("copper"), CU_KA1_A)
MODEL = OnnxModel(find_model("defects_copper", InferenceSettings()), InferenceSettings())
REFERENCE = reference_of(MODEL.card)
AXIS = np.arange(37.0, 146.0, 0.04)
GRID = np.linspace(MODEL.card.axis.start, MODEL.card.axis.stop, MODEL.card.axis.n)
FINDER = Registration(REFERENCE, GRID)
CRYSTAL = DefectState(density_per_m2=3e14, arrangement=1.5, q=2.0, size_nm=150)


def measured(strain: float, zero_deg: float, seed: int, material=COPPER) -> np.ndarray:
    optics = replace(REFERENCE.instrument, zero_deg=zero_deg)
    y = render_defects(AXIS, material, optics, replace(CRYSTAL, cell_scale=1 + strain))
    return np.random.default_rng(seed).poisson(y / y.max() * 2e4 + 300).astype(float)


def found(y: np.ndarray):
    x, _ = prepare(AXIS, y, MODEL.card.axis)
    return FINDER.find(x.astype(float) ** 2)


@pytest.mark.parametrize(
    ("strain", "zero"), [(0, 0), (1e-3, 0), (-3e-3, 0.02), (5e-3, -0.05), (0, 0.1), (-5e-3, 0)]
)
def test_strain_and_zero_are_found(strain, zero) -> None:
    lines = found(measured(strain, zero, 1))
    assert lines.lines >= 5
    assert lines.strain == pytest.approx(strain, abs=2e-4)
    assert lines.zero_deg == pytest.approx(zero, abs=0.015)


def test_the_model_reads_a_stretched_crystal_as_the_same_crystal() -> None:
    """Without it sizes move by more than a tenth between strains; with it by less than 5 %."""
    moved, plain = [], []
    for k, strain in enumerate((-2e-3, -1e-3, 0.0, 5e-4, 1e-3, 2e-3)):
        y = measured(strain, 0.0, 10 + k)
        rows = [prepare(AXIS, y, MODEL.card.axis)[0]]
        rows.append(prepare(FINDER.moved(found(y), AXIS), y, MODEL.card.axis)[0])
        out = MODEL.run(np.stack(rows))
        both = [read_defects({n: v[i] for n, v in out.items()}, MODEL.card).estimates for i in range(2)]
        plain.append(both[0]["size_nm"].plain)
        moved.append(both[1]["size_nm"].plain)
    assert np.std(moved) < 0.05 < 0.1 < np.std(plain)


@pytest.mark.parametrize("strain", [-5e-3, -2e-3, 3e-3])
def test_an_axis_that_ends_with_the_models_is_whole_after_moving(strain) -> None:
    """Lines move by up to a degree at the end; they come to their places, and nothing is left unmeasured."""
    ends = np.arange(38.0, 145.01, 0.05)
    y = render_defects(ends, COPPER, REFERENCE.instrument, replace(CRYSTAL, cell_scale=1 + strain))
    y = np.random.default_rng(3).poisson(y / y.max() * 2e4 + 300).astype(float)
    lines = FINDER.find(prepare(ends, y, MODEL.card.axis)[0].astype(float) ** 2)
    axis = FINDER.moved(lines, ends)
    x, coverage = prepare(axis, y, MODEL.card.axis)
    assert lines.strain == pytest.approx(strain, abs=2e-4) and coverage > 0.999
    assert (np.diff(axis) > 0).all()
    again = FINDER.find(x.astype(float) ** 2)
    assert abs(again.strain) < 1e-4 and abs(again.zero_deg) < 0.01


def test_a_pattern_as_coarse_as_the_axis_stays_where_it_is() -> None:
    y = render_defects(GRID, COPPER, REFERENCE.instrument, replace(CRYSTAL, cell_scale=1.002))
    lines = FINDER.find(y)
    assert lines.strain == pytest.approx(0.002, abs=2e-4)
    np.testing.assert_array_equal(FINDER.moved(lines, GRID), GRID)


def test_where_there_are_no_lines_or_other_ones_nothing_is_moved() -> None:
    flat = np.random.default_rng(0).poisson(300.0, AXIS.size).astype(float)
    assert found(flat).lines == 0 and found(flat).strain == 0.0
    np.testing.assert_array_equal(FINDER.moved(found(flat), AXIS), AXIS)
    nickel = material_of(structure("nickel"), CU_KA1_A)
    assert abs(found(measured(0.0, 0.0, 2, nickel)).strain) < 6.1e-3  # 2.5 % away: never pulled over
