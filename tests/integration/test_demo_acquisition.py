"""The demo's RunEngine, all four storages: valid documents and, read back independently, the same pixels."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from area_detector_handlers.handlers import AreaDetectorTiffHandler
from event_model import DocumentNames, Filler, schema_validators

from streamproc.demo.acquisition import acquire
from streamproc.demo.calibration import SHAPE
from streamproc.demo.devices import STORAGES, Storage
from streamproc.demo.sample import grid_points

POINTS = 4
Documents = list[tuple[str, Any]]


def _expose(n: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 400, SHAPE, dtype=np.uint16)


def _run(storage: Storage, folder: Path, callbacks: Any = ()) -> Documents:
    documents: Documents = []
    status = acquire(
        grid_points(POINTS, 0),
        [lambda name, doc: documents.append((name, doc)), *callbacks],
        storage=storage,
        expose=_expose,
        frames_folder=folder / "frames",
    )
    assert status == "success"
    return documents


@pytest.fixture(scope="module", params=STORAGES)
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Storage, Documents]:
    return request.param, _run(request.param, tmp_path_factory.mktemp(request.param))


def test_every_document_is_valid_event_model(made: tuple[Storage, Documents]) -> None:
    for name, doc in made[1]:
        schema_validators[DocumentNames[name]].validate(doc)


def test_the_storage_decides_which_asset_documents_come(made: tuple[Storage, Documents]) -> None:
    storage, documents = made
    counts = Counter(name for name, _ in documents)
    assets = {
        "inline": {},
        "hdf5": {"stream_resource": 1, "stream_datum": POINTS},
        "tiff": {"stream_resource": 1, "stream_datum": POINTS},
        "resource": {"resource": 1, "datum": POINTS},
    }
    assert counts == {"start": 1, "descriptor": 1, "event": POINTS, "stop": 1, **assets[storage]}


def test_frames_read_back_are_the_exposed_ones(made: tuple[Storage, Documents]) -> None:
    storage, documents = made
    frames = {"inline": _inline, "hdf5": _hdf5, "tiff": _tiff, "resource": _resource}[storage](documents)
    for n, frame in enumerate(frames):
        assert frame.dtype == np.dtype("<u2")
        assert np.array_equal(frame, _expose(n))


def test_the_start_document_lets_a_map_be_drawn(made: tuple[Storage, Documents]) -> None:
    start = made[1][0][1]
    assert start["hints"]["dimensions"] == [[["sample_y"], "primary"], [["sample_x"], "primary"]]
    assert (start["num_points"], start["shape"], start["plan_type"]) == (POINTS, [2, 2], "generator")
    events = [doc for name, doc in made[1] if name == "event"]
    places = [(e["data"]["sample_x"], e["data"]["sample_y"]) for e in events]
    assert places == [(p.x_mm, p.y_mm) for p in grid_points(POINTS, 0)]


def test_hdf5_can_be_read_in_swmr_mode_while_the_scan_runs(tmp_path: Path) -> None:
    rows: list[int] = []
    uri: list[str] = []

    def look(name: str, doc: Any) -> None:
        if name == "stream_resource":
            uri.append(doc["uri"])
        elif name == "event":
            with h5py.File(uri[0].removeprefix("file://localhost"), "r", libver="latest", swmr=True) as file:
                data = file["/entry/data/data"]
                rows.append(data.shape[0])
                assert np.array_equal(data[-1], _expose(data.shape[0] - 1))

    _run("hdf5", tmp_path, [look])
    assert rows == [1, 2, 3, 4]


def test_asked_to_stop_the_run_ends_with_an_abort_document(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "streamproc.demo.acquisition",
        "--folder",
        str(tmp_path),
        "--points",
        "100",
    ]
    with subprocess.Popen([*command, "--rate", "2"], stdout=subprocess.PIPE, text=True) as beamline:
        assert beamline.stdout is not None
        assert json.loads(beamline.stdout.readline())["event"] == "start"
        beamline.terminate()
        assert json.loads(beamline.stdout.readline()) | {"uid": ""} == {
            "event": "stop", "uid": "", "exit_status": "abort"
        }  # fmt: skip
        assert beamline.wait(10.0) == 1


def test_held_back_it_measures_only_after_a_line_comes(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "streamproc.demo.acquisition",
        "--folder",
        str(tmp_path),
        "--points",
        "1",
    ]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([*command, "--hold"], text=True, **pipes) as beamline:
        assert beamline.stdout is not None
        assert json.loads(beamline.stdout.readline()) == {"event": "ready"}
        said, _ = beamline.communicate("go\n", timeout=20.0)
    assert [json.loads(line)["event"] for line in said.splitlines()] == ["start", "stop"]
    with subprocess.Popen([*command, "--hold"], text=True, **pipes) as orphan:
        said, _ = orphan.communicate(timeout=20.0)
    assert orphan.returncode == 1
    assert [json.loads(line)["event"] for line in said.splitlines()] == ["ready"]


def _inline(documents: Documents) -> list[np.ndarray]:
    return [doc["data"]["pilatus"] for name, doc in documents if name == "event"]


def _hdf5(documents: Documents) -> list[np.ndarray]:
    resource = next(doc for name, doc in documents if name == "stream_resource")
    with h5py.File(resource["uri"].removeprefix("file://localhost")) as file:
        data = file[resource["parameters"]["dataset"]]
        assert data.chunks == (1, *SHAPE)
        rows = [doc["indices"] for name, doc in documents if name == "stream_datum"]
        return [data[r["start"]] for r in rows]


def _tiff(documents: Documents) -> list[np.ndarray]:
    resource = next(doc for name, doc in documents if name == "stream_resource")
    folder = resource["uri"].removeprefix("file://localhost")
    rows = [doc["indices"] for name, doc in documents if name == "stream_datum"]
    return [tifffile.imread(folder + resource["parameters"]["template"].format(r["start"])) for r in rows]


def _resource(documents: Documents) -> list[np.ndarray]:
    filler = Filler({"AD_TIFF": AreaDetectorTiffHandler}, inplace=False)
    filled = [filler(name, doc) for name, doc in documents]
    return [doc["data"]["pilatus"][0] for name, doc in filled if name == "event"]
