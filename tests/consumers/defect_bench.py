"""A run of simulated copper patterns for the defect flags, and how to send it through the consumer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from streamproc.consumers.defect_flags import DefectFlags, DefectFlagsSettings
from streamproc.models.defects.faults import Faults
from streamproc.models.defects.material import material_of
from streamproc.models.defects.pattern import render_defects
from streamproc.models.defects.reference import reference_of
from streamproc.models.defects.state import DefectState
from streamproc.models.powder.optics import CU_KA1_A
from streamproc.models.powder.structures import structure

from streamproc.analysis import Frame, LoadContext
from streamproc.documents import Position
from streamproc.inference.model import OnnxModel
from streamproc.inference.registry import find_model
from streamproc.runs import Run
from streamproc.settings import InferenceSettings

AXIS = np.arange(37.0, 146.0, 0.05)
SOUND = DefectState(density_per_m2=2e14, arrangement=1.5, q=2.0, size_nm=150)
UID = "3d1d3c0e-8a55-4c0c-9a3b-0c1c1f6b7a10"
REFERENCE = reference_of(
    OnnxModel(find_model("defects_copper", InferenceSettings()), InferenceSettings()).card
)
COPPER = material_of(structure("copper"), CU_KA1_A)


def deformed(step: int) -> DefectState:
    """The crystal ``step`` readings after the onset."""
    return replace(SOUND, density_per_m2=2e14 * (1 + step), faults=Faults(deformation=0.002 * step))


def expected(state: DefectState, counts: float = 2e4) -> np.ndarray:
    pattern = render_defects(AXIS, COPPER, REFERENCE.instrument, state)
    return pattern / pattern.max() * counts + 0.02 * counts


def frames(means: Sequence[np.ndarray], monitors: Sequence[float] | None = None) -> list[Frame]:
    rng = np.random.default_rng(3)
    out = []
    for k, mean in enumerate(means):
        readings: dict[str, Any] = {"two_theta": AXIS, "i0": 1e6 if monitors is None else monitors[k]}
        counts = rng.poisson(mean).astype(float)
        out.append(Frame(UID, "primary", k + 1, "counts", counts, 1.7e9 + k, readings))
    return out


def run() -> Run:
    keys = {
        k: {"dtype": "array", "dtype_numpy": "<f8", "shape": [AXIS.size], "source": "simulation"}
        for k in ("counts", "two_theta")
    }
    keys["i0"] = {"dtype": "number", "dtype_numpy": "<f8", "shape": [], "source": "simulation"}
    start = {"uid": UID, "time": 1.7e9, "scan_id": 3, "plan_name": "count", "plan_type": "generator"}
    descriptor = {
        "uid": f"{UID}-d", "run_start": UID, "name": "primary", "time": 1.7e9, "data_keys": keys,
        "configuration": {}, "hints": {}, "object_keys": {k: [k] for k in keys},
    }  # fmt: skip
    return Run(UID, start, Position("example", 0, 0), descriptors={f"{UID}-d": descriptor})


def table(**defects: Any) -> dict[str, Any]:
    return {
        "axis_key": "two_theta",
        "wavelength_A": 1.5405929,
        "data_flags": {"monitor_key": "i0", "saturation": 6e4},
        "defects": {"model": "defects_copper", "limits": {"density_per_m2": 3e14}, **defects},
    }


def loaded(**defects: Any) -> DefectFlags:
    settings = DefectFlagsSettings.model_validate(table(**defects))
    return DefectFlags.load(settings, LoadContext(InferenceSettings()))
