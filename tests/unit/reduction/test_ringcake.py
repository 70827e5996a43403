"""Zones of rings over azimuth: the same pixels and corrections as the profile, each in its cell."""

import numpy as np
import pytest

from streamproc.errors import ConfigurationError, FrameFailed
from streamproc.reduction.azimuthal import AzimuthalPlan, PlanOptions
from streamproc.reduction.correction import Correction
from streamproc.reduction.geometry import Geometry
from streamproc.reduction.ringcake import RingCakePlan

from .conftest import SHAPE

ZONES = np.array([[[1.30, 1.50], [1.10, 1.30]], [[2.0, 2.3], [2.4, 2.5]]])
CELLS = 36


@pytest.mark.parametrize("splitting", ["no", "bbox"])
@pytest.mark.parametrize("flip", ["none", "rows"])
def test_sums_are_those_of_the_pixels_in_each_cell(geometry, correction, frame, splitting, flip):
    plan = AzimuthalPlan.build(geometry, correction, PlanOptions(400, splitting=splitting, flip=flip))
    sums = RingCakePlan.of(plan, ZONES, CELLS).sums(frame)
    integrator = geometry.integrator()
    q, chi = (integrator.center_array(SHAPE, unit=u) for u in ("q_A^-1", "chi_deg"))
    if flip == "rows":
        q, chi = np.flipud(q), np.flipud(chi)
    cell = np.clip((chi + 180) // (360 / CELLS), 0, CELLS - 1)
    for ring, zone, at in ((0, 0, 5), (0, 1, 17), (1, 0, 30), (1, 1, 0)):
        low, high = ZONES[ring, zone]
        inside = (q >= low) & (q < high) & (cell == at) & ~correction.mask
        expected = (frame - correction.dark)[inside].sum()
        assert sums.counts[ring, zone, at] == inside.sum() > 0
        assert sums.signal[ring, zone, at] == pytest.approx(expected)
        assert sums.norm[ring, zone, at] == pytest.approx(plan.constants.norm.reshape(SHAPE)[inside].sum())


def test_zones_over_all_azimuths_are_the_profile_of_the_same_pass(geometry, frame):
    """Whole bins of q as zones: the same numbers as the profile's."""
    plan = AzimuthalPlan.build(geometry, Correction(), PlanOptions(60, "q_A^-1"))
    profile, step = plan.integrate(frame), plan.axis[1] - plan.axis[0]
    zones = np.stack([plan.axis[20:40] - step / 2, plan.axis[20:40] + step / 2], -1)[:, None]
    zones[1:, 0, 0] = zones[:-1, 0, 1]  # rounding must not make them overlap
    sums = RingCakePlan.of(plan, zones, CELLS).sums(frame)
    np.testing.assert_allclose(sums.counts.sum((1, 2)), profile.counts[20:40], atol=2)
    np.testing.assert_allclose(sums.signal.sum((1, 2)), profile.signal[20:40], rtol=0.02)


def test_a_dark_of_the_run_replaces_the_others_and_is_made_ready_once(geometry, correction, frame):
    plan = AzimuthalPlan.build(geometry, correction, PlanOptions(400))
    cells = RingCakePlan.of(plan, ZONES, CELLS)
    dark = np.full(SHAPE, 2, np.uint16)
    dark.flags.writeable = False
    first, again = cells.sums(frame, dark), cells.sums(frame, dark)
    np.testing.assert_array_equal(first.signal, again.signal)
    np.testing.assert_allclose(first.signal, cells.sums(frame, np.array(dark)).signal)
    plain = AzimuthalPlan.build(geometry, Correction(correction.mask, flat=correction.flat), PlanOptions(400))
    raw = RingCakePlan.of(plain, ZONES, CELLS).sums(frame)
    np.testing.assert_allclose(first.signal, raw.signal - 2 * raw.counts)
    np.testing.assert_allclose(first.variance, raw.variance + 2 * raw.counts)


def test_what_cannot_be_is_said(geometry, frame):
    plan = AzimuthalPlan.build(geometry, Correction(), PlanOptions(100))
    with pytest.raises(ConfigurationError, match="overlap"):
        RingCakePlan.of(plan, np.array([[[1.0, 1.2], [1.1, 1.3]]]), CELLS)
    blind = Geometry({**geometry.config, "wavelength": None}, geometry.shape, "g", "", geometry.detector)
    with pytest.raises(ConfigurationError, match="no wavelength"):
        RingCakePlan.of(AzimuthalPlan.build(blind, Correction(), PlanOptions(100)), ZONES, CELLS)
    with pytest.raises(FrameFailed, match="has shape"):
        RingCakePlan.of(plan, ZONES, CELLS).sums(frame[:-1])
