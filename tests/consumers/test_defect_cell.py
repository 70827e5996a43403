"""A solid solution is read with the model of its metal: its cell is told, lengths and densities go with it."""

from __future__ import annotations

import numpy as np
import pytest
from streamproc.consumers._defect_reader import DefectReader
from streamproc.consumers._defect_settings import DefectSettings
from streamproc.consumers._patterns import MeasuredPattern
from streamproc.models.defects.material import material_of
from streamproc.models.defects.pattern import render_defects
from streamproc.models.defects.state import DefectState
from streamproc.models.powder.optics import CU_KA1_A, Instrument
from streamproc.models.powder.structures import structure

from streamproc.errors import ConfigurationError
from streamproc.inference.model import OnnxModel
from streamproc.inference.registry import find_model
from streamproc.settings import InferenceSettings

MODEL = OnnxModel(find_model("defects_copper", InferenceSettings()), InferenceSettings())
COPPER = material_of(structure("copper"), CU_KA1_A)
A = 10 * COPPER.a_nm
AXIS = np.arange(37.0, 148.0, 0.03)
STATE = DefectState(density_per_m2=2e15, arrangement=1.5, size_nm=60.0)
LIMITS = {"density_per_m2": 3e14}


def counts() -> np.ndarray:
    clean = render_defects(AXIS, COPPER, Instrument(), STATE)
    return np.random.default_rng(4).poisson(3e4 * clean / clean.max() + 300).astype(float)


def read(pattern: MeasuredPattern, cell_A: float | None = None):
    reader = DefectReader(DefectSettings(model="defects_copper", cell_A=cell_A, limits=LIMITS), MODEL)
    return reader.look([pattern])[0]


@pytest.mark.parametrize("ratio", [1.02, 0.985])
@pytest.mark.parametrize("kind", ["two_theta_deg", "q_invA"])
def test_a_crystal_that_is_larger_all_over_has_larger_domains_and_fewer_dislocations(ratio, kind) -> None:
    """Similar crystals: the pattern over s times the cell is the same."""
    y = counts()
    own = read(MeasuredPattern(AXIS, "two_theta_deg", y, CU_KA1_A))
    sine = np.sin(np.deg2rad(AXIS) / 2) / ratio
    inside = sine < 0.99
    axis = (
        np.rad2deg(2 * np.arcsin(sine[inside])) if kind != "q_invA" else 4 * np.pi / CU_KA1_A * sine[inside]
    )
    other = read(MeasuredPattern(axis, kind, y[inside], CU_KA1_A), cell_A=ratio * A)
    assert own.usable and other.usable and other.beyond["density_per_m2"]
    a, b = own.reading.estimates, other.reading.estimates
    assert b["size_nm"].value == pytest.approx(ratio * a["size_nm"].value, rel=1e-3)
    assert b["density_per_m2"].value == pytest.approx(a["density_per_m2"].value / ratio**2, rel=1e-3)
    assert b["growth"].value == pytest.approx(a["growth"].value, abs=1e-4)
    assert other.strain == pytest.approx(own.strain, abs=2e-5)


def test_without_the_cell_such_a_crystal_is_not_known() -> None:
    sine = np.sin(np.deg2rad(AXIS) / 2) / 1.02
    axis = np.rad2deg(2 * np.arcsin(sine))
    assert not read(MeasuredPattern(axis, "two_theta_deg", counts(), CU_KA1_A)).usable


def test_a_cell_that_is_no_solid_solution_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"cell_A = 4.05 is \+12.0 % off the cell of defects_copper"):
        read(MeasuredPattern(AXIS, "two_theta_deg", counts(), CU_KA1_A), cell_A=4.05)
