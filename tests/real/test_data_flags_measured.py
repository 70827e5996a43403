"""Data flags on a measured frame: sound readings raise nothing, faults put into it are told by name.

Readings are drawn from the frame's own counts by binomial thinning, so their noise is real.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamproc.frames.pattern_files import read_image
from streamproc.reduction.azimuthal import AzimuthalPlan, PlanOptions
from streamproc.reduction.flags.reader import FrameReader
from streamproc.reduction.flags.settings import FlagSettings
from streamproc.reduction.flags.watch import FlagWatch
from streamproc.reduction.geometry import load_geometry

pytestmark = pytest.mark.real

LIMIT = 2**20 - 1


@pytest.fixture(scope="module")
def detector(shared_data: Path):
    folder = shared_data / "img2d_CeO2_pilatus"
    image = read_image(folder / "CeO2_Pilatus1M.tif")
    geometry = load_geometry(folder / "CeO2_Pilatus1M.poni")
    plan = AzimuthalPlan.build(geometry, None, PlanOptions(1000, flip="rows"), shape=image.shape)
    return image, FrameReader(plan, FlagSettings(saturation=LIMIT))


def _reading(image, random, share=0.5):
    thin = random.binomial(np.maximum(image, 0).astype(np.int64), share)
    return np.where(image >= 0, np.minimum(thin, LIMIT), image).astype("i4")


def _saturated(frame, image):
    frame[300:420, 500:620] = np.where(image[300:420, 500:620] >= 0, LIMIT, frame[300:420, 500:620])


def _dead(frame, image):
    frame[620:740, 100:220] = np.where(image[620:740, 100:220] >= 0, 0, frame[620:740, 100:220])


def _rows(frame, image):
    frame[400:404] = np.where(image[400:404] >= 0, 0, frame[400:404])


FAULTS = {"saturated": _saturated, "dead": _dead, "missing_rows": _rows}


@pytest.mark.parametrize("kind", ["", "beam_loss", "stale", *FAULTS])
def test_each_fault_is_told_by_its_name_and_a_sound_reading_raises_nothing(detector, kind) -> None:
    image, reader = detector
    random, watch = np.random.default_rng(3), FlagWatch(FlagSettings(saturation=LIMIT))
    before = None
    for n in range(9):
        frame = _reading(image, random, 0.005 if kind == "beam_loss" and n >= 6 else 0.5)
        if n >= 6 and kind in FAULTS:
            FAULTS[kind](frame, image)
        if n >= 6 and kind == "stale":
            frame = before
        before = frame
        judgement = watch.take(reader.read(frame)[0])
        up = {name for name, raised in judgement.flags.items() if raised}
        assert up == ({kind} if kind and n >= 6 else set())
        assert judgement.bad == bool(kind and n >= 6)
