"""Pure powders of the round robin: no defect flag and no bad data; of their textures only brucite's is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamproc.consumers.defect_flags import DefectFlags, DefectFlagsSettings
from streamproc.consumers.phase_map import PhaseMap, PhaseMapSettings

from streamproc.analysis import Frame, LoadContext
from streamproc.documents import Position
from streamproc.frames.pattern_files import read_pattern
from streamproc.runs import Run
from streamproc.settings import InferenceSettings

pytestmark = pytest.mark.real

PURE = ("brucite", "corundum", "fluorite", "zincite")


def went(analysis: Any, file: Path) -> tuple[Any, list[Any]]:
    pattern = read_pattern(file)
    readings = {"two_theta": np.asarray(pattern.axis, float)}
    frame = Frame("u", "primary", 1, "k", np.asarray(pattern.intensity, float), 0.0, readings)
    running = analysis.begin(Run("u", {"uid": "u"}, Position("test", 0, 0)))
    (answer,) = running.process([frame])
    return answer, [*running.update([answer]), *running.end()]


@pytest.mark.parametrize("model", ["defects_copper", "defects_iron", "defects_nickel"])
def test_pure_powders_of_other_materials_raise_no_defect_flag_and_are_good_data(shared_data, model) -> None:
    """Limits so low that any crystal exceeds them: the model abstains, and says why."""
    table = {
        "axis_key": "two_theta", "wavelength_A": 1.5406,
        "defects": {"model": model, "limits": {"density_per_m2": 1.0, "microstrain": 1e-9, "amorphous": -1.0}},
    }  # fmt: skip
    analysis = DefectFlags.load(DefectFlagsSettings.model_validate(table), LoadContext(InferenceSettings()))
    files = sorted((shared_data / "iucr_qarr").glob("*.prn"))
    assert {f.stem for f in files} >= set(PURE)
    for file in files:
        answer, said = went(analysis, file)
        flags = next(s.values for s in said if s.stream == "defect_flags")
        assert not any(v for k, v in flags.items() if k.startswith("defect_flag_")), file.stem
        assert any(r.startswith("defects: ") for r in answer.reasons), file.stem
        assert not next(s.values for s in said if s.stream == "data_flags")["data_bad"], file.stem


def test_of_the_pure_powders_only_brucite_is_textured(shared_data) -> None:
    settings = PhaseMapSettings(axis_key="two_theta", refine_every=1)
    analysis = PhaseMap.load(settings, LoadContext(InferenceSettings()))
    found = {}
    for name in PURE:
        _, said = went(analysis, shared_data / "iucr_qarr" / f"{name}.prn")
        found[name] = next(s.values for s in said if s.stream == "refined")[f"{name}_textured"]
    assert found == {"brucite": True, "corundum": False, "fluorite": False, "zincite": False}
