"""The lattice model in the repository: card, golden vectors, size, and its answer to a fresh simulated map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import streamproc.models as package
from streamproc.models.excitations.lattice.case import case_of
from streamproc.models.excitations.maps.container import SqeMap
from streamproc.models.excitations.maps.example_powder import ALUMINIUM, powder_counts
from streamproc.models.excitations.maps.reader import MapReader

from streamproc.inference.model import OnnxModel
from streamproc.inference.registry import find_model
from streamproc.settings import InferenceSettings

FOLDER = Path(next(iter(package.__path__))) / "phonon-fcc"


@pytest.fixture(scope="module")
def reader() -> MapReader:
    settings = InferenceSettings()
    return MapReader(OnnxModel(find_model("phonon-fcc", settings), settings))


def test_the_file_is_small_and_its_card_says_what_a_reader_needs(reader: MapReader) -> None:
    card = reader.card
    assert (FOLDER / card.version / "model.onnx").stat().st_size <= 5_000_000
    assert card.reference["model_toml"] == (FOLDER / "model.toml").read_text()
    assert "axially symmetric Born-von Karman" in card.reference["convention"]
    assert {"data_sha256", "seed", "steps", "duration_s", "command"} <= set(card.training)
    assert card.licence == "BSD-3-Clause"


def test_golden_vectors_are_reproduced(reader: MapReader) -> None:
    with np.load(FOLDER / reader.card.version / "golden.npz") as stored:
        found = reader.network.run(stored["x"])
        for name in ("mean", "covariance", "spread", "distance"):
            assert np.allclose(found[name], stored[name], rtol=1e-3, atol=1e-5), name


def test_intervals_cover_what_they_claim_on_held_out_maps(reader: MapReader) -> None:
    covered = reader.card.scores["simulated"]["coverage90"]
    assert all(0.86 <= c <= 0.94 for c in covered.values()), covered
    ranks = reader.card.scores["ranks"]
    assert set(ranks) == set(reader.names)
    assert all(r["largest_distance"] < 0.05 for r in ranks.values()), ranks


Q, ENERGY = np.arange(2.0, 8.1, 0.4), np.arange(8.5, 48.0, 1.0)
COPPER = {"a": 3.615, "mass": 63.55}
COPPER_FORCES = {"L1": 27.5, "T1": -1.5, "L2": 0.3, "T2": 0.0, "L3": 0.6, "T3": 0.0}


def counted(y: np.ndarray) -> SqeMap:
    return SqeMap.of(np.stack([Q, 0 * Q, 0 * Q], 1), ENERGY, y, np.sqrt(np.maximum(y, 1)))


def test_a_fresh_map_is_read_and_fitted_from_there(reader: MapReader) -> None:
    whole = counted(powder_counts(reader.case, Q, ENERGY, ALUMINIUM, 200.0, 5))
    read = reader.read(whole)
    low, high = read.answer.numbers["L1"].interval90
    assert not read.reasons and low - 1 < ALUMINIUM["L1"] < high + 1
    refined = reader.refine(whole, read, 4.64)
    assert refined is not None and not refined.reasons
    for name, truth in ALUMINIUM.items():
        assert abs(refined.numbers[name].value - truth) < 4 * refined.numbers[name].sigma, name


@pytest.mark.parametrize("counts", [40.0, 200.0])
def test_copper_is_not_taken_for_aluminium_however_little_was_counted(
    reader: MapReader, counts: float
) -> None:
    content = reader.case.file.model_dump(mode="json", exclude_none=True)
    content["crystal"] |= COPPER
    map_ = counted(powder_counts(case_of(content, Path("copper")), Q, ENERGY, COPPER_FORCES, counts, 11, 0.4))
    refined = reader.refine(map_, reader.read(map_), 4.64)
    assert refined is not None
    assert any(reason.startswith("unknown-structure") for reason in refined.reasons)
