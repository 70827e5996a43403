"""A small tilted detector with every kind of correction image, and frames to integrate."""

import numpy as np
import pytest

from streamproc.reduction.correction import Correction
from streamproc.reduction.geometry import load_geometry

SHAPE = (180, 211)

PONI = """# made by hand
poni_version: 2.1
Detector: Detector
Detector_config: {"pixel1": 1e-3, "pixel2": 1e-3, "max_shape": [180, 211], "orientation": 3}
Distance: 0.25
Poni1: 0.081
Poni2: 0.097
Rot1: 0.05
Rot2: -0.03
Rot3: 0.01
Wavelength: 0.5e-10
"""


@pytest.fixture
def poni(tmp_path):
    path = tmp_path / "detector.poni"
    path.write_text(PONI)
    return path


@pytest.fixture
def geometry(poni):
    return load_geometry(poni)


@pytest.fixture
def rng():
    return np.random.default_rng(20240501)


@pytest.fixture
def correction(rng):
    """Mask, dark, flat, polarisation and solid angle, all at once."""
    return Correction(
        mask=rng.random(SHAPE) < 0.06,
        dark=rng.uniform(0, 3, SHAPE),
        flat=rng.uniform(0.8, 1.2, SHAPE),
        polarization_factor=0.95,
    )


@pytest.fixture
def frame(rng, geometry):
    """Counts of a few rings on a background; a third of the pixels hold zero."""
    two_theta = np.rad2deg(geometry.integrator().twoThetaArray(SHAPE))
    mean = 0.6 + sum(40 * np.exp(-(((two_theta - at) / 0.25) ** 2)) for at in (6, 11, 17, 23))
    return rng.poisson(mean).astype(np.uint16)
