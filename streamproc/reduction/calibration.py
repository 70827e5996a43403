"""Calibration: the files that settings name, loaded and hashed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.errors import ConfigurationError
from streamproc.reduction.arrays import read_array, split_inner
from streamproc.reduction.azimuthal import AzimuthalPlan, PlanOptions
from streamproc.reduction.correction import Correction
from streamproc.reduction.fingerprint import sha256_file
from streamproc.reduction.geometry import Geometry, load_geometry
from streamproc.reduction.settings import ReductionSettings

__all__ = ["Calibration", "load_calibration"]


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What the settings name, loaded: geometry (None when no .poni is named), correction, and file hashes.

    ``files`` maps each setting to ``{"file": name, "sha256": hexadecimal}``: readable provenance.
    """

    settings: ReductionSettings
    geometry: Geometry | None
    correction: Correction
    files: Mapping[str, Mapping[str, str]]

    def plan(self, geometry: Geometry | None = None, shape: tuple[int, int] | None = None) -> AzimuthalPlan:
        """Build the plan these settings ask for.

        Parameters
        ----------
        geometry : Geometry, optional
            Of the run (``calibration_md``); used where the settings name no .poni file.
        shape : (int, int), optional
            Rows and columns of the frames to come, where neither settings nor geometry say them.

        Raises
        ------
        ConfigurationError
            As :meth:`AzimuthalPlan.build`.
        """
        s = self.settings
        options = PlanOptions(
            bins=s.bins,
            unit=s.unit,
            radial_range=s.radial_range,
            azimuth_bins=s.azimuth_bins,
            splitting=s.splitting,
            stack=s.stack,
            variance_floor=s.variance_floor,
            flip=s.flip,
        )
        return AzimuthalPlan.build(
            self.geometry or geometry, self.correction, options, shape=s.shape or shape
        )


def load_calibration(settings: ReductionSettings, base_dir: Path) -> Calibration:
    """Load every file that ``settings`` names; relative paths start at ``base_dir``.

    Raises
    ------
    ConfigurationError
        When a file is missing or unusable; the message names the setting and the file.
    """
    named = {n: v for n in ("poni", "mask", "dark", "flat", "hot_pixels") if (v := getattr(settings, n))}
    paths = {name: base_dir / Path(split_inner(value)[0]).expanduser() for name, value in named.items()}
    geometry = load_geometry(paths["poni"]) if "poni" in named else None
    images = {
        name: _image(name, paths[name], named[name]) for name in ("mask", "dark", "flat") if name in named
    }
    correction = Correction(
        mask=None if "mask" not in images else images["mask"] != 0,
        dark=images.get("dark"),
        flat=images.get("flat"),
        hot_pixels=_hot_pixels(paths["hot_pixels"], named["hot_pixels"]) if "hot_pixels" in named else None,
        hot_dark_above=settings.hot_dark_above,
        saturation=settings.saturation,
        mask_negative=settings.mask_negative,
        dead_time_s=settings.dead_time_s,
        exposure_s=settings.exposure_s,
        polarization_factor=settings.polarization_factor,
        solid_angle=settings.solid_angle,
    )
    correction.shape()
    files = {n: {"file": Path(v).name, "sha256": sha256_file(paths[n])} for n, v in named.items()}
    return Calibration(settings, geometry, correction, files)


def _image(setting: str, path: Path, value: str) -> npt.NDArray[Any]:
    array = _array(setting, path, value)
    if array.ndim == 3 and len(array) == 1:
        array = array[0]
    if array.ndim != 2 or not array.size:
        raise ConfigurationError(f"reduction.{setting}: {value} has shape {array.shape}, expected one image")
    array.flags.writeable = False
    return array


def _array(setting: str, path: Path, value: str) -> npt.NDArray[Any]:
    try:
        return read_array(path, split_inner(value)[1])
    except ConfigurationError as error:
        raise ConfigurationError(f"reduction.{setting}: {error.message}") from error


def _hot_pixels(path: Path, value: str) -> npt.NDArray[np.int64]:
    if path.suffix.lower() in {".npy", ".npz", ".h5", ".hdf5"}:
        pixels = _array("hot_pixels", path, value)
    else:
        if not path.is_file():
            raise ConfigurationError(f"reduction.hot_pixels: {path} does not exist")
        try:
            lines = path.read_text(encoding="utf-8-sig").replace(",", " ").splitlines()
            pixels = (
                np.loadtxt(lines, dtype=np.int64, ndmin=2)
                if any(map(str.strip, lines))
                else np.empty((0, 2), int)
            )
        except ValueError as error:
            raise ConfigurationError(
                f"reduction.hot_pixels: {path} must hold a row and a column number per line: {error}"
            ) from error
    if pixels.dtype.kind not in "ui" or pixels.ndim != 2 or pixels.shape[1] != 2:
        raise ConfigurationError(
            f"reduction.hot_pixels: {path} holds {pixels.dtype} of shape {pixels.shape}, expected whole "
            "numbers of shape (n, 2): row and column, counted from 0"
        )
    return pixels.astype(np.int64)
