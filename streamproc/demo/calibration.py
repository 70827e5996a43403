"""Geometry, mask and dark of the demo's detector: written once, read by the simulation and by the service.

Written without pyFAI, so that the demo is quick to start; the tests read the files with pyFAI.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile

__all__ = [
    "DARK_COUNTS",
    "PONI_TEXT",
    "SHAPE",
    "CalibrationFiles",
    "beam_stop",
    "dark_level",
    "hot_pixels",
    "module_gaps",
    "write_calibration",
]

SHAPE = (1043, 981)
"""Rows and columns of a Pilatus 1M (pixels of 172 um)."""

DARK_COUNTS = 2.0
"""Mean dark level of the simulated detector (counts per pixel and frame)."""

PONI_TEXT = """\
# Geometry of the simulated detector of `streamproc demo`: 2theta 20 to 100 degrees, Cu K-alpha1.
poni_version: 2.1
Detector: Pilatus1M
Detector_config: {"orientation": 3}
Distance: 0.105
Poni1: 0.089698
Poni2: 0.084366
Rot1: 0.06
Rot2: -1.0471975511965976
Rot3: 0.0
Wavelength: 1.5405929e-10
"""
"""The detector looks at 2theta = 60 deg; the small Rot1 makes the rings cross the module gaps at an angle."""

_MODULE = (195, 487)
_GAP = (17, 7)
_HOT = 60
_DETECTOR_SEED = 20220711
"""The detector is one and the same piece: its faults do not change with the demo's seed."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class CalibrationFiles:
    """Where the calibration lies: pyFAI geometry, mask (non-zero = not used) and mean dark (counts)."""

    geometry: Path
    mask: Path
    dark: Path


def module_gaps() -> Mask:
    """Return where the detector has no pixels: the gaps between its 5 x 2 modules."""
    gaps = np.zeros(SHAPE, dtype=bool)
    for axis in (0, 1):
        period = _MODULE[axis] + _GAP[axis]
        inside = np.arange(SHAPE[axis]) % period >= _MODULE[axis]
        gaps |= inside[:, None] if axis == 0 else inside[None, :]
    return gaps


def beam_stop() -> Mask:
    """Return the shadow of the beam stop's arm, which comes in from the low-angle edge."""
    rows, columns = np.ogrid[: SHAPE[0], : SHAPE[1]]
    arm = (np.abs(columns - 470.0 - 0.06 * rows) < 9.0) & (rows < 260)
    head = (rows - 255.0) ** 2 + (columns - 485.0) ** 2 < 26.0**2
    return np.asarray(arm | head)


def hot_pixels() -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Return flat indices of the hot pixels and the counts they add to every frame."""
    rng = np.random.default_rng(_DETECTOR_SEED)
    alive = np.flatnonzero(~(module_gaps() | beam_stop()))
    where = rng.choice(alive, size=_HOT, replace=False)
    return where, rng.uniform(2_000.0, 40_000.0, size=_HOT)


def dark_level() -> npt.NDArray[np.float32]:
    """Return the expected dark (counts per pixel and frame): a fixed pattern of rows, columns and pixels."""
    rng = np.random.default_rng(_DETECTOR_SEED + 1)
    rows = rng.normal(0.0, 0.2, size=(SHAPE[0], 1))
    columns = rng.normal(0.0, 0.2, size=(1, SHAPE[1]))
    pixels = rng.normal(0.0, 0.2, size=SHAPE)
    dark = np.clip(DARK_COUNTS + rows + columns + pixels, 0.5, None)
    dark[module_gaps()] = 0.0
    return np.asarray(dark, dtype=np.float32)


def write_calibration(folder: Path) -> CalibrationFiles:
    """Write ``geometry.poni``, ``mask.tif`` and ``dark.tif``; a file that is there already stays as it is.

    The mask has gaps, beam stop and hot pixels, as a beamline's mask file would.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = CalibrationFiles(folder / "geometry.poni", folder / "mask.tif", folder / "dark.tif")
    if not files.geometry.exists():
        files.geometry.write_text(PONI_TEXT, encoding="utf-8")
    if not files.mask.exists():
        mask = module_gaps() | beam_stop()
        mask.flat[hot_pixels()[0]] = True
        tifffile.imwrite(files.mask, mask.astype(np.uint8))
    if not files.dark.exists():
        tifffile.imwrite(files.dark, dark_level())
    return files
