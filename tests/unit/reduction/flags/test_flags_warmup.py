"""The small detector that is judged while an analysis loads has the types of any detector of its settings."""

import numpy as np
import pytest

from streamproc.reduction.calibration import load_calibration
from streamproc.reduction.flags.parts import PartedPlan
from streamproc.reduction.flags.warmup import _small_plan
from streamproc.reduction.settings import ReductionSettings


def types(parted):
    table, dark = parted.cells.plain.table, parted.cells.plain.dark
    arrays = [table.bins, parted.cells.plain.norm, *([] if dark is None else [dark.mean, dark.variance])]
    return [(a.dtype, a.flags.writeable, a.flags.c_contiguous) for a in arrays] + [
        parted.plan.constants.table
    ]


@pytest.mark.parametrize(
    "asked",
    [
        {"range_min": 2.0, "range_max": 10.0, "unit": "q_A^-1"},
        {"bins": 9000},
        {"splitting": "bbox", "flip": "rows", "azimuth_bins": 36},
        {"dark": "dark.npy", "mask": "mask.npy", "hot_dark_above": 50.0, "saturation": 20.0},
    ],
    ids=["range", "many rings", "split", "dark"],
)
def test_the_small_detector_has_the_types_of_the_real_one(bench, asked, tmp_path):
    dark = np.full((384, 384), 60, np.uint16)
    dark[100:] = 10  # some pixels are left
    np.save(tmp_path / "dark.npy", dark)
    np.save(tmp_path / "mask.npy", np.arange(dark.size).reshape(dark.shape) < 384)
    calibration = load_calibration(ReductionSettings(**asked), tmp_path)
    small = PartedPlan.of(_small_plan(calibration))
    real = PartedPlan.of(calibration.plan(bench.plan.geometry))
    assert small.plan.shape != real.plan.shape
    *arrays, table = types(small)
    *expected, real_table = types(real)
    assert arrays == expected
    assert type(table) is type(real_table)
    assert small.used.all() or asked.get("splitting") or asked.get("bins")  # nothing of it is masked
