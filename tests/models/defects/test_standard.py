"""An instrument measured with a simulated standard is the instrument it was simulated with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("gemmi", reason="reflection tables need gemmi (extra demo or train)")

from streamproc.models.defects.standard import instrument_from_standard
from streamproc.models.powder.optics import Grain, Instrument
from streamproc.models.powder.simulate import bin_edges, render_phase, table_of
from streamproc.models.powder.structures import structure

from streamproc.errors import ConfigurationError

TRUE = Instrument(
    u_deg2=0.006, v_deg2=-0.003, w_deg2=0.005, lorentz_x_deg=0.03, asymmetry_deg=0.0, zero_deg=0.02,
    displacement_mm=0.06,
)  # fmt: skip
AXIS = np.arange(20.0, 145.0, 0.015)


def fwhm(instrument: Instrument, two_theta: float) -> float:
    theta = np.deg2rad(two_theta) / 2
    gauss = np.sqrt(
        instrument.u_deg2 * np.tan(theta) ** 2 + instrument.v_deg2 * np.tan(theta) + instrument.w_deg2
    )
    lorentz = instrument.lorentz_x_deg / np.cos(theta) + instrument.lorentz_y_deg * np.tan(theta)
    return 0.5346 * lorentz + np.sqrt(0.2166 * lorentz**2 + gauss**2)


def standard() -> np.ndarray:
    table = table_of(structure("lanthanum hexaboride"), TRUE.wavelength_A, 0.78)
    pattern = render_phase(bin_edges(AXIS), table, TRUE, Grain(size_nm=1e5, strain=0.0))
    return np.random.default_rng(4).poisson(pattern / pattern.max() * 4e4 + 60).astype(float)


def test_widths_and_shifts_of_the_instrument_are_found() -> None:
    y = standard()
    base = replace(
        TRUE, u_deg2=0.0, v_deg2=0.0, w_deg2=0.0, lorentz_x_deg=0.0, zero_deg=0.0, displacement_mm=0.0
    )
    found = instrument_from_standard(AXIS, y, np.maximum(y, 1), structure("lanthanum hexaboride"), base)
    for two_theta in (30.0, 70.0, 110.0, 140.0):
        assert fwhm(found, two_theta) == pytest.approx(fwhm(TRUE, two_theta), rel=0.05)
    assert found.zero_deg == pytest.approx(0.02, abs=0.003)
    assert found.displacement_mm == pytest.approx(0.06, abs=0.006)


def test_the_wrong_standard_is_refused_in_words() -> None:
    y = np.random.default_rng(1).poisson(100, AXIS.size).astype(float)
    with pytest.raises(ConfigurationError, match="lines of lanthanum hexaboride could be fitted"):
        instrument_from_standard(AXIS, y, np.maximum(y, 1), structure("lanthanum hexaboride"), TRUE)
