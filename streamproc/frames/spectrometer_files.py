"""Files of direct-geometry time-of-flight spectrometers: ``.nxspe`` and Mantid's processed ``.nxs``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.errors import FrameFailed

__all__ = ["Spectrometer", "read_spectrometer"]

Float = npt.NDArray[np.float64]

_HUGE = 1e29
"""Masked detectors are written as NaN, or as -1e30 by older programs."""


@dataclass(frozen=True, slots=True, eq=False)
class Spectrometer:
    """Spectra of n detectors (or groups) over m bins of energy transfer.

    Attributes
    ----------
    two_theta_deg, azimuth_deg : ndarray, shape (n,)
        Scattering angle, and angle around the beam.
    edges_meV : ndarray, shape (m + 1,)
        Edges of the bins: energy given to the sample, rising.
    intensity, sigma : ndarray, shape (n, m)
        As in the file; where not measured 0 and inf.
    measured : ndarray of bool, shape (n, m)
        False where masked, not finite, or without a single count (the file's error is then 0).
    incident_meV : float
        Energy of the incident neutrons.
    rotation_deg : float or None
        psi, the crystal's rotation, where the file says it.
    """

    two_theta_deg: Float
    azimuth_deg: Float
    edges_meV: Float
    intensity: Float
    sigma: Float
    measured: npt.NDArray[np.bool_]
    incident_meV: float
    rotation_deg: float | None = None


def read_spectrometer(path: Path | str, incident_meV: float | None = None) -> Spectrometer:
    """Read a file.

    Parameters
    ----------
    path : Path or str
        ``.nxspe``, or a workspace that Mantid saved with SaveNexus (spectra over energy transfer).
    incident_meV : float, optional
        Incident energy, where the file does not say it.

    Raises
    ------
    FrameFailed
        The file cannot be read, is of another kind, or lacks something; says what.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            entry = _entry(file)
            if entry is None:
                raise FrameFailed(
                    f"{path}: neither an .nxspe file (no NXSPE_info) nor a processed workspace of Mantid "
                    f"(no workspace/values); it holds {', '.join(file) or 'nothing'}"
                )
            reader = _nxspe if "NXSPE_info" in entry else _mantid
            return _checked(reader(entry), path, incident_meV)
    except OSError as error:
        raise FrameFailed(f"{path}: cannot be read as HDF5: {error}") from error
    except KeyError as error:
        raise FrameFailed(f"{path}: lacks a field of its format: {error.args[0]}") from error


def _entry(file: Any) -> Any:
    for name in file:
        group = file[name]
        if hasattr(group, "keys") and ("NXSPE_info" in group or "workspace/values" in group):
            return group
    return None


def _nxspe(entry: Any) -> dict[str, Any]:
    """Fields of Mantid's SaveNXSPE and Horace."""
    data, info = entry["data"], entry["NXSPE_info"]
    psi = float(np.ravel(info["psi"][()])[0]) if "psi" in info else np.nan
    return {
        "two_theta_deg": data["polar"][()],
        "azimuth_deg": data["azimuthal"][()],
        "edges_meV": data["energy"][()],
        "intensity": data["data"][()],
        "sigma": data["error"][()],
        "incident_meV": float(np.ravel(info["fixed_energy"][()])[0]) if "fixed_energy" in info else np.nan,
        "rotation_deg": psi if np.isfinite(psi) else None,
    }


def _mantid(entry: Any) -> dict[str, Any]:
    """A MatrixWorkspace: detectors of each spectrum as distance, scattering angle, azimuth."""
    work, detector = entry["workspace"], entry["instrument/detector"]
    units = work["axis1"].attrs.get("units", b"")
    units = units.decode() if isinstance(units, bytes) else str(units)
    if units and units != "DeltaE":
        raise FrameFailed(
            f"{entry.file.filename}: its spectra are over {units}, expected energy transfer (DeltaE)"
        )
    places = detector["detector_positions"][()]
    index, count = detector["detector_index"][()], detector["detector_count"][()]
    groups = [places[i : i + n] for i, n in zip(index, count, strict=True)]
    logs = entry.get("logs", {})
    incident = float(np.ravel(logs["Ei"]["value"][()])[-1]) if "Ei" in logs else np.nan
    return {
        "two_theta_deg": np.array([g[:, 1].mean() for g in groups]),
        "azimuth_deg": np.array([g[0, 2] for g in groups]),
        "edges_meV": work["axis1"][()],
        "intensity": work["values"][()],
        "sigma": work["errors"][()],
        "incident_meV": incident,
        "rotation_deg": None,
    }


def _checked(fields: dict[str, Any], path: Path | str, incident_meV: float | None) -> Spectrometer:
    found = {k: np.asarray(v, float) for k, v in fields.items() if isinstance(v, np.ndarray)}
    y, s, edges = found["intensity"], found["sigma"], found["edges_meV"]
    n = len(found["two_theta_deg"])
    if y.shape != (n, edges.size - 1) or s.shape != y.shape or not (np.diff(edges) > 0).all():
        raise FrameFailed(
            f"{path}: intensities of shape {y.shape}, errors {s.shape}, {n} angles, {edges.size} energies; "
            "expected (n, m) twice, n angles and m + 1 rising edges"
        )
    incident = fields["incident_meV"] if incident_meV is None else incident_meV
    if not np.isfinite(incident) or incident <= 0 or edges[0] >= incident:
        raise FrameFailed(
            f"{path}: the incident energy is {incident} meV with transfers from {edges[0]:g} to "
            f"{edges[-1]:g} meV; give the right one (incident_meV)"
        )
    measured = np.isfinite(y) & np.isfinite(s) & (np.abs(y) < _HUGE) & (s > 0)
    if not measured.any():
        raise FrameFailed(f"{path}: nothing in it is measured: all values are masked or without error")
    return Spectrometer(
        two_theta_deg=found["two_theta_deg"],
        azimuth_deg=found["azimuth_deg"],
        edges_meV=edges,
        intensity=np.where(measured, y, 0.0),
        sigma=np.where(measured, s, np.inf),
        measured=measured,
        incident_meV=float(incident),
        rotation_deg=fields["rotation_deg"],
    )
