"""A detector with rings, sound frames of it, and a laboratory pattern."""

import numpy as np
import pytest

from streamproc.reduction.azimuthal import AzimuthalPlan, PlanOptions
from streamproc.reduction.correction import Correction
from streamproc.reduction.flags.reader import FrameReader
from streamproc.reduction.flags.settings import FlagSettings
from streamproc.reduction.geometry import load_geometry

SIDE = 384
LIMIT = 50_000

PONI = f"""poni_version: 2.1
Detector: Detector
Detector_config: {{"pixel1": 2e-4, "pixel2": 2e-4, "max_shape": [{SIDE}, {SIDE}], "orientation": 3}}
Distance: 0.16
Poni1: 0.0381
Poni2: 0.0402
Rot1: 0.01
Rot2: -0.02
Rot3: 0.0
Wavelength: 0.7e-10
"""


class Bench:
    """Draws frames of four rings and reads them."""

    def __init__(self, geometry):
        self.plan = AzimuthalPlan.build(geometry, Correction(saturation=LIMIT), PlanOptions(bins=300))
        self.reader = FrameReader(self.plan, FlagSettings())
        integrator = geometry.integrator()
        self.angle = np.rad2deg(integrator.center_array((SIDE, SIDE), unit="2th_rad"))
        self.azimuth = integrator.center_array((SIDE, SIDE), unit="chi_deg")
        self.random = np.random.default_rng(5)

    def expected(self, level=60.0, width=0.35, at=(6.0, 9.2, 12.4, 15.1), texture=0.0, strain=0.0):
        mean = level * (0.5 + np.exp(-self.angle / 12))
        for place in at:
            moved = place - 2 * np.rad2deg(np.tan(np.deg2rad(place / 2))) * strain
            ring = np.exp(-0.5 * ((self.angle - moved) / (width / 2.355)) ** 2)
            mean = mean + 10 * level * 0.35 / width * ring * (
                1 + texture * np.cos(np.deg2rad(2 * self.azimuth))
            )
        return mean

    def draw(self, mean=None, dtype="u2"):
        return self.random.poisson(self.expected() if mean is None else mean).astype(dtype)

    def read(self, frame, dark=None):
        return self.reader.read(frame, dark)[0]


@pytest.fixture
def bench(tmp_path):
    path = tmp_path / "flags.poni"
    path.write_text(PONI)
    return Bench(load_geometry(path))


@pytest.fixture
def pattern():
    """Axis and expected counts of a laboratory pattern (Cu K-alpha)."""
    axis = np.linspace(12, 100, 3000)
    y = 150 + 200 * np.exp(-axis / 25)
    for at, height in ((28.4, 4000), (33.1, 1200), (47.5, 2500), (56.3, 1900), (76.7, 800)):
        y = y + height * np.exp(-0.5 * ((axis - at) / 0.09) ** 2)
    return axis, y
