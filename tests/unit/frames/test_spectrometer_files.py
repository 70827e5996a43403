"""Files of time-of-flight spectrometers: .nxspe and Mantid's processed workspaces, whole, masked and damaged."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from streamproc.errors import FrameFailed
from streamproc.frames.spectrometer_files import read_spectrometer

EDGES = np.linspace(-10.0, 40.0, 26)
ANGLES = np.array([10.0, 50.0, 90.0])


def nxspe(path: Path, **changes) -> Path:
    y = np.arange(75.0).reshape(3, 25)
    y[1, 3], y[2] = np.nan, -1e30
    fields = {
        "NXSPE_info/fixed_energy": 50.0, "NXSPE_info/psi": 12.5, "data/polar": ANGLES,
        "data/azimuthal": np.array([0.0, 90.0, 180.0]), "data/energy": EDGES, "data/data": y,
        "data/error": np.where(np.arange(75).reshape(3, 25) == 4, 0.0, 2.0),
    } | changes  # fmt: skip
    with h5py.File(path, "w") as file:
        for name, value in fields.items():
            if value is not None:
                file[f"run1/{name}"] = value
    return path


def mantid(path: Path, units: str = "DeltaE", incident: float | None = 59.4) -> Path:
    with h5py.File(path, "w") as file:
        work = file.create_group("mantid_workspace_1/workspace")
        work["values"], work["errors"] = np.full((2, 25), 3.0), np.full((2, 25), 0.5)
        work["axis1"] = EDGES
        work["axis1"].attrs["units"] = np.bytes_(units.encode())
        detector = file.create_group("mantid_workspace_1/instrument/detector")
        detector["detector_positions"] = [[4.0, 20.0, 90.0], [4.0, 22.0, -90.0], [4.0, 70.0, 0.0]]
        detector["detector_index"], detector["detector_count"] = [0, 2], [2, 1]
        if incident is not None:
            file["mantid_workspace_1/logs/Ei/value"] = [incident]
    return path


def test_masked_and_empty_bins_are_not_measured_whatever_they_are_written_as(tmp_path: Path) -> None:
    found = read_spectrometer(nxspe(tmp_path / "a.nxspe"))
    assert found.incident_meV == 50.0 and found.rotation_deg == 12.5
    assert list(found.two_theta_deg) == list(ANGLES) and np.array_equal(found.edges_meV, EDGES)
    assert not found.measured[2].any() and not found.measured[1, 3] and not found.measured[0, 4]
    assert found.measured.sum() == 75 - 25 - 2
    assert (found.intensity[~found.measured] == 0).all() and np.isinf(found.sigma[~found.measured]).all()
    assert found.intensity[0, 3] == 3.0 and found.sigma[0, 3] == 2.0


def test_groups_of_detectors_in_a_mantid_workspace_have_their_mean_angle(tmp_path: Path) -> None:
    found = read_spectrometer(mantid(tmp_path / "a.nxs"))
    assert list(found.two_theta_deg) == [21.0, 70.0] and list(found.azimuth_deg) == [90.0, 0.0]
    assert found.incident_meV == 59.4 and found.rotation_deg is None and found.measured.all()


def test_the_incident_energy_can_be_given_and_must_be_known(tmp_path: Path) -> None:
    file = mantid(tmp_path / "a.nxs", incident=None)
    with pytest.raises(FrameFailed, match=r"incident energy is nan.*incident_meV"):
        read_spectrometer(file)
    assert read_spectrometer(file, 80.0).incident_meV == 80.0
    with pytest.raises(FrameFailed, match=r"incident energy is -3\.0"):
        read_spectrometer(file, -3.0)


def test_other_files_are_refused_by_what_they_are(tmp_path: Path) -> None:
    text = tmp_path / "a.nxspe"
    text.write_text("no HDF5")
    with pytest.raises(FrameFailed, match="cannot be read as HDF5"):
        read_spectrometer(text)
    with h5py.File(tmp_path / "b.nxs", "w") as file:
        file["entry/data"] = 1
    with pytest.raises(FrameFailed, match=r"neither an \.nxspe file"):
        read_spectrometer(tmp_path / "b.nxs")
    with pytest.raises(FrameFailed, match="spectra are over TOF"):
        read_spectrometer(mantid(tmp_path / "c.nxs", units="TOF"))
    with pytest.raises(FrameFailed, match="lacks a field"):
        read_spectrometer(nxspe(tmp_path / "d.nxspe", **{"data/polar": None}))
    with pytest.raises(FrameFailed, match=r"expected \(n, m\) twice"):
        read_spectrometer(nxspe(tmp_path / "e.nxspe", **{"data/energy": EDGES[:-1]}))
    with pytest.raises(FrameFailed, match="nothing in it is measured"):
        read_spectrometer(nxspe(tmp_path / "f.nxspe", **{"data/data": np.full((3, 25), np.nan)}))
    cut = tmp_path / "g.nxspe"
    cut.write_bytes(nxspe(tmp_path / "h.nxspe").read_bytes()[:2000])
    with pytest.raises(FrameFailed, match="cannot be read as HDF5"):
        read_spectrometer(cut)
