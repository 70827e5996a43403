"""Documents of real device classes, with files made for them where the documents say they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile

from streamproc.documents import Position
from streamproc.frames.paths import PathPolicy
from streamproc.frames.readers import FrameReader
from streamproc.frames.requests import DatumRef, FrameRequest, Locator, StreamSlice

pytestmark = pytest.mark.real

NUMBERS = np.arange(5.0)
IMAGES = np.arange(5 * 13 * 17).reshape(5, 13, 17)
PHOTOS = np.arange(3 * 150, dtype="u2").astype("u1").reshape(3, 10, 15)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("dataset.h5", "dataset_part2.h5"):
        with h5py.File(tmp_path / name, "w") as file:
            file.create_dataset("/entry/data/data_1", data=NUMBERS, chunks=(100,), maxshape=(None,))
            file.create_dataset(
                "/entry/data/data_2", data=IMAGES, chunks=(100, 13, 17), maxshape=(None, 13, 17)
            )
    (tmp_path / "tiff_files").mkdir()
    for i, photo in enumerate(PHOTOS):
        tifffile.imwrite(tmp_path / "tiff_files" / f"img_{i:05d}.tif", photo)
    return tmp_path


def expected(key: str, index: int) -> np.ndarray:
    rows = {"det-key1": NUMBERS, "det-key2": IMAGES, "det-key3": PHOTOS}[key]
    return rows[index : index + 1].squeeze(axis=0) if rows.ndim > 1 else rows[index : index + 1]


@pytest.mark.parametrize(
    ("name", "readings"),
    [("", 9), ("_legacy", 3), ("_single_key", 3), ("_single_key_two_files", 8)],
)
def test_every_external_reading_is_found_where_the_documents_say(
    shared_data: Path, root: Path, name: str, readings: int
) -> None:
    text = (shared_data / "real_documents" / f"tiled_plugins_external_assets{name}.json").read_text()
    documents = json.loads(text.replace("{{ root_path }}", str(root)).replace("{{ uuid }}", "u"))
    reader = FrameReader(PathPolicy((root,)))
    found = list(locators([(d["name"], d["doc"]) if isinstance(d, dict) else tuple(d) for d in documents]))
    assert len(found) == readings
    for key, index, data_key, locator in found:
        asked = FrameRequest("run", "primary", 1, key, data_key, locator, 0.0, Position("t", 0, 0))
        np.testing.assert_array_equal(reader.read(asked), expected(key, index))
    assert reader.notes("run") == ()
    reader.close()


def locators(documents: list[tuple[str, Any]]) -> Any:
    """Yield key, index, data key and locator of each external reading."""
    resources: dict[str, Any] = {}
    keys: dict[str, Any] = {}
    for name, doc in documents:
        if name == "descriptor":
            keys.update(doc["data_keys"])
        elif name in ("resource", "stream_resource"):
            resources[doc["uid"]] = doc
        elif name == "datum":
            locator: Locator = DatumRef(resources[doc["resource"]], doc)
            yield "det-key2", doc["datum_kwargs"]["frame"], keys["det-key2"], locator
        elif name == "stream_datum":
            resource = resources[doc["stream_resource"]]
            for i in range(doc["indices"]["start"], doc["indices"]["stop"]):
                key = resource["data_key"]
                yield key, i, keys[key], StreamSlice(resource, i)
