"""Indexing of measured single-phase patterns: the crystal system and the cell are right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from streamproc.models.powder.indexing import index_peaks
from streamproc.models.powder.indexing.lattice import primitive_metric, same_lattice, signature
from streamproc.models.powder.peaks import Doublet, find_peaks

from streamproc.frames.pattern_files import read_pattern

pytestmark = pytest.mark.real

BEAM = Doublet(1.5405929, 1.5444274)


@pytest.mark.parametrize(
    ("file", "system", "centring", "cell"),
    [
        ("iucr_qarr/corundum.prn", "hexagonal", "R", (4.7592, 4.7592, 12.9918, 90, 90, 120)),
        ("iucr_qarr/zincite.prn", "hexagonal", "P", (3.2499, 3.2499, 5.2066, 90, 90, 120)),
        ("iucr_qarr/fluorite.prn", "cubic", "F", (5.4631, 5.4631, 5.4631, 90, 90, 90)),
        ("iucr_qarr/brucite.prn", "hexagonal", "P", (3.1464, 3.1464, 4.7680, 90, 90, 120)),
        ("xrd_autoanalyzer/spectra/MnO.xy", "cubic", "F", (4.4457, 4.4457, 4.4457, 90, 90, 90)),
        ("xrd_autoanalyzer/spectra/MnO2.xy", "tetragonal", "P", (4.3999, 4.3999, 2.8740, 90, 90, 90)),
    ],
)
def test_measured_patterns_are_indexed(
    shared_data: Path, file: str, system: str, centring: str, cell: tuple
) -> None:
    pattern = read_pattern(shared_data / file)
    found = find_peaks(pattern.axis, pattern.intensity, BEAM)
    hint = index_peaks(found, BEAM.wavelength_A, max_s=60)
    assert max(hint.systems, key=lambda s: hint.systems[s]) == system
    truth = signature(primitive_metric(np.array(cell, float), centring))
    assert same_lattice(
        signature(primitive_metric(np.array(hint.best.cell), hint.best.centring)), truth, 0.002
    )
