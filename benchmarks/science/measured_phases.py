"""Measured patterns of single phases, with their cells from the literature."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from random_crystals import Drawn
from streamproc.models.powder.indexing.lattice import primitive_metric, signature

from streamproc.frames.pattern_files import read_pattern

H, T = (90.0, 90.0, 120.0), (90.0, 90.0, 90.0)
PHASES = (
    ("iucr_qarr/corundum.prn", "hexagonal", "R", (4.7592, 4.7592, 12.9918, *H)),
    ("iucr_qarr/zincite.prn", "hexagonal", "P", (3.2499, 3.2499, 5.2066, *H)),
    ("iucr_qarr/fluorite.prn", "cubic", "F", (5.4631, 5.4631, 5.4631, *T)),
    ("iucr_qarr/brucite.prn", "hexagonal", "P", (3.1464, 3.1464, 4.7680, *H)),
    ("nist_srm660c/nist_srm660c_100a.cif", "cubic", "P", (4.15678, 4.15678, 4.15678, *T)),
    ("xrd_autoanalyzer/spectra/MnO.xy", "cubic", "F", (4.4457, 4.4457, 4.4457, *T)),
    ("xrd_autoanalyzer/spectra/Mn2O3.xy", "cubic", "I", (9.4091, 9.4091, 9.4091, *T)),
    ("xrd_autoanalyzer/spectra/MnO2.xy", "tetragonal", "P", (4.3999, 4.3999, 2.8740, *T)),
    ("xrd_autoanalyzer/spectra/TiO2.xy", "tetragonal", "I", (3.7852, 3.7852, 9.5139, *T)),
    ("xrd_autoanalyzer/spectra/LiMnO2.xy", "orthorhombic", "P", (2.8060, 4.5756, 5.7520, *T)),
)
"""File, system, centring, cell. The first four as in models/powder/structures.py, LaB6 as certified for the
scan; the last five after Sasaki 1979, Geller 1971, Bolzan 1993, Howard 1991 and Hoppe 1975."""


def measured(folder: Path) -> Iterator[Drawn]:
    """Read them all."""
    for name, system, centring, cell in PHASES:
        path = folder / name
        if path.suffix == ".cif":
            x, counts = scan_of_cif(path)
        else:
            pattern = read_pattern(path)
            x, counts = pattern.axis, pattern.intensity
        lattice = signature(primitive_metric(np.array(cell), centring))
        yield Drawn(name, x, counts, True, ((system, lattice),))


def scan_of_cif(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the measured points of a powder CIF."""
    import gemmi

    for block in gemmi.cif.read(str(path)):
        scan = block.find("_pd_proc_", ["2theta_corrected", "intensity_total"])
        if len(scan):
            rows = np.array([[gemmi.cif.as_number(v) for v in row] for row in scan])
            return rows[:, 0], rows[:, 1]
    raise SystemExit(f"{path}: no measured points")
