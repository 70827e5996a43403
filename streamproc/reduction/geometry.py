"""Geometry: where the detector stands, from a .poni file or from what xpdAcq writes into a start document."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamproc.errors import ConfigurationError, RunRefused
from streamproc.reduction.fingerprint import fingerprint, sha256_file

__all__ = ["Geometry", "geometry_from_calibration_md", "load_geometry"]

_PONI_KEYS = ("poni1", "poni2", "rot1", "rot2", "rot3")
_MD_KEYS = ("dist", *_PONI_KEYS, "pixel1", "pixel2")


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """A detector geometry as pyFAI holds it (lengths in m, angles in rad), with where it came from.

    Attributes
    ----------
    config : Mapping
        pyFAI's ``get_config()``: dist, poni1, poni2, rot1, rot2, rot3, wavelength, detector, detector_config.
    shape : (int, int) or None
        Rows and columns of the detector, None where the geometry does not say.
    source : str
        File name, or ``calibration_md``.
    sha256 : str
        Of the file's bytes, or of the calibration_md values.
    """

    config: Mapping[str, Any]
    shape: tuple[int, int] | None
    source: str
    sha256: str
    detector: Any = field(default=None, repr=False)

    @property
    def wavelength_A(self) -> float | None:
        """Wavelength (angstrom), None where the geometry does not say."""
        metres = self.config.get("wavelength")
        return metres * 1e10 if metres else None

    def integrator(self, shape: tuple[int, int] | None = None) -> Any:
        """Return a new pyFAI AzimuthalIntegrator; ``shape`` where its detector has none."""
        from pyFAI.integrator.azimuthal import AzimuthalIntegrator

        detector = copy.deepcopy(self.detector)
        if (
            detector.shape is None and shape is not None
        ):  # without it pyFAI ignores the detector's orientation
            detector.shape = detector.max_shape = shape
        values = {key: self.config[key] for key in ("dist", *_PONI_KEYS)}
        return AzimuthalIntegrator(
            **values, detector=detector, wavelength=self.config.get("wavelength") or None
        )

    @classmethod
    def of(cls, integrator: Any, source: str, sha256: str, shape: tuple[int, int] | None = None) -> Geometry:
        """Take the geometry out of a pyFAI object; ``shape`` where its detector does not know its own."""
        config = json.loads(json.dumps(dict(integrator.get_config())))
        known = integrator.detector.shape or shape
        return cls(config, tuple(known) if known else None, source, sha256, integrator.detector)


def load_geometry(path: Path) -> Geometry:
    """Read a ``.poni`` file with pyFAI.

    Raises
    ------
    ConfigurationError
        When the file is missing, unreadable, or leaves out a value that pyFAI would fill with a default.
    """
    if not path.is_file():
        raise ConfigurationError(
            f"geometry file {path} does not exist: set reduction.poni to the .poni file of this detector "
            "(pyFAI-calib2 makes one)"
        )
    present = _poni_keys(path)
    absent = [key for key in ("distance", *_PONI_KEYS) if key not in present]
    if absent:
        names = ", ".join(map(str.capitalize, absent))
        raise ConfigurationError(
            f"geometry file {path} lacks {names}: it must be a complete .poni file of pyFAI"
        )
    if not {"detector", "pixelsize1"} & present:
        raise ConfigurationError(
            f"geometry file {path} names neither a Detector nor PixelSize1 and PixelSize2"
        )
    import pyFAI

    try:
        integrator = pyFAI.load(str(path))
    except Exception as error:  # pyFAI raises whatever its parser met
        raise ConfigurationError(f"geometry file {path} cannot be read by pyFAI: {error}") from error
    _require_sense(integrator, str(path))
    return Geometry.of(integrator, path.name, sha256_file(path))


def geometry_from_calibration_md(calibration_md: Mapping[str, Any]) -> Geometry:
    """Take the geometry from a start document's ``calibration_md``, as xpdAcq writes it.

    Parameters
    ----------
    calibration_md : Mapping
        pyFAI's ``getPyFAI``. Needs dist, poni1, poni2, pixel1, pixel2 (m), rot1, rot2, rot3 (rad);
        wavelength (m), detector and max_shape where known. A detector pyFAI knows gets its
        shape from its pixel size (binning).

    Raises
    ------
    RunRefused
        When a value is missing or not a finite number; the message names it.
    """
    from pyFAI.detectors import Detector, detector_factory
    from pyFAI.integrator.azimuthal import AzimuthalIntegrator

    try:
        values = {key: float(calibration_md[key]) for key in _MD_KEYS}
        wavelength = calibration_md.get("wavelength")
        wavelength_m = None if wavelength is None else float(wavelength)
    except (KeyError, TypeError, ValueError) as error:
        raise RunRefused(
            f"calibration_md in the start document lacks a usable value ({type(error).__name__}: {error}), "
            f"expected numbers for {', '.join(_MD_KEYS)}: name a .poni file in the configuration instead"
        ) from error
    if calibration_md.get("splineFile"):
        raise RunRefused("calibration_md names a splineFile, which is not in the document: use a .poni file")
    _require_finite(values, wavelength_m)
    if not 0 < values["dist"] < 1e4 or min(values["pixel1"], values["pixel2"]) <= 0:
        raise RunRefused(
            f"calibration_md has distance {values['dist']} m and pixels {values['pixel1']} x "
            f"{values['pixel2']} m, expected positive lengths"
        )
    pixels = {"pixel1": values.pop("pixel1"), "pixel2": values.pop("pixel2")}
    try:
        detector = detector_factory(str(calibration_md.get("detector")), pixels)
    except RuntimeError:  # not a detector pyFAI knows: pixels and shape say it all
        detector = Detector(**pixels, max_shape=_max_shape(calibration_md.get("max_shape")))
    integrator = AzimuthalIntegrator(**values, detector=detector, wavelength=wavelength_m)
    digest = fingerprint(
        {"calibration_md": {k: calibration_md[k] for k in _MD_KEYS}, "wavelength": wavelength}, {}
    )
    return Geometry.of(integrator, "calibration_md", digest)


def _require_finite(values: Mapping[str, float], wavelength_m: float | None) -> None:
    wrong = [f"{key} = {value}" for key, value in values.items() if not math.isfinite(value)]
    if wavelength_m is not None and not 0 < wavelength_m < 1e-8:
        wrong.append(f"wavelength = {wavelength_m} m")
    if wrong:
        raise RunRefused(
            f"calibration_md in the start document has {', '.join(wrong)}: not finite or not possible"
        )


def _max_shape(shape: Any) -> tuple[int, int] | None:
    if shape is None:
        return None
    try:
        rows, columns = map(int, shape)
    except (TypeError, ValueError) as error:
        raise RunRefused(f"calibration_md has max_shape {shape!r}, expected rows and columns") from error
    return rows, columns


def _poni_keys(path: Path) -> set[str]:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    pairs = [line.split(":", 1) for line in lines if ":" in line and not line.lstrip().startswith("#")]
    return {key.strip().lower() for key, value in pairs if value.strip() not in ("", "None")}


def _require_sense(integrator: Any, name: str) -> None:
    detector = integrator.detector
    if not (detector.pixel1 and detector.pixel2):
        raise ConfigurationError(
            f"{name}: the detector {detector.name} has no pixel size; write PixelSize1 and 2"
        )
    values = {key: float(getattr(integrator, key)) for key in ("dist", *_PONI_KEYS)}
    wrong = [f"{key} = {value}" for key, value in values.items() if not math.isfinite(value)]
    if wrong or values["dist"] <= 0:
        raise ConfigurationError(f"{name}: {', '.join(wrong) or 'dist is not positive'}; calibrate again")
