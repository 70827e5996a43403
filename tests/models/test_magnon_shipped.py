"""The spin-wave models in the repository: cards, golden vectors, sizes, and answers to fresh simulated maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import streamproc.models as package
from streamproc.models.excitations.maps.container import SqeMap
from streamproc.models.excitations.maps.example import example_case, simulated_counts
from streamproc.models.excitations.maps.reader import MapReader

from streamproc.inference.model import OnnxModel
from streamproc.inference.registry import find_model
from streamproc.settings import InferenceSettings

SHIPPED = {
    "magnon-square": ({"J": 0.65, "J2": 0.02, "D": -0.003}, [0.5, 0.5, 0.0], [1.1, 0.2, 0.0]),
    "magnon-chain": ({"J": 1.1, "D": -0.004}, [0.0, 0.0, 0.5], [0.3, 0.0, 1.0]),
    "magnon-honeycomb": ({"J": -0.4, "J2": -0.01, "DM": 0.04, "D": -0.01}, [0.0, 0.0, 0.0], [0.9, 0.6, 0.0]),
}
ROOT = Path(next(iter(package.__path__)))


@pytest.fixture(scope="module", params=sorted(SHIPPED))
def reader(request) -> MapReader:
    settings = InferenceSettings()
    return MapReader(OnnxModel(find_model(request.param, settings), settings))


def test_the_file_is_small_and_its_card_says_what_a_reader_needs(reader: MapReader) -> None:
    card = reader.card
    folder = ROOT / card.name / card.version
    assert (folder / "model.onnx").stat().st_size <= 5_000_000
    assert card.reference["model_toml"] == (ROOT / card.name / "model.toml").read_text()
    convention = card.reference["convention"]
    assert (
        "every bond counted once" in convention and "Zc*J" in convention and "not sqrt(S(S+1))" in convention
    )
    assert {"data_sha256", "seed", "steps", "duration_s", "command"} <= set(card.training)
    assert card.licence == "BSD-3-Clause"


def test_intervals_cover_what_they_claim_on_held_out_maps(reader: MapReader) -> None:
    covered = reader.card.scores["simulated"]["coverage90"]
    assert all(0.86 <= c <= 0.94 for c in covered.values()), covered
    ranks = reader.card.scores["ranks"]
    assert set(ranks) == set(reader.names)
    assert all(r["largest_distance"] < 0.05 for r in ranks.values()), ranks


def test_a_fresh_map_of_another_energy_scale_is_read(reader: MapReader) -> None:
    values, first, last = SHIPPED[reader.card.name]
    q = np.array(first) + np.linspace(0, 1, 60)[:, None] * (np.array(last) - first)
    energy = np.arange(0.4, 3.6, 0.05)
    y = simulated_counts(example_case(reader.card.name), q, energy, values, 80.0, 5, 3.6)
    whole = SqeMap.of(q, energy, y, np.sqrt(np.maximum(y, 1)))
    read = reader.read(whole)
    low, high = read.answer.numbers["J"].interval90
    assert not read.reasons and low - 0.1 * abs(low) < values["J"] < high + 0.1 * abs(high)
    refined = reader.refine(whole, read)
    assert refined is not None and not refined.reasons
    found = refined.numbers["J"]
    assert abs(found.value - values["J"]) < max(4 * found.sigma, 0.02 * abs(values["J"]))


def test_one_spectrum_at_all_wave_vectors_and_columns_elsewhere_are_no_dispersion_of_its_own(
    reader: MapReader,
) -> None:
    values, first, last = SHIPPED[reader.card.name]
    q = np.array(first) + np.linspace(0, 1, 40)[:, None] * (np.array(last) - first)
    energy = np.arange(0.4, 3.6, 0.05)
    y = simulated_counts(example_case(reader.card.name), q, energy, values, 80.0, 5, 3.6)
    rng = np.random.default_rng(11)
    lines = np.exp(-0.5 * ((energy[:, None] - [1.2, 2.3]) / 0.1) ** 2).sum(1)
    everywhere = rng.poisson(np.tile(10 + 40 * lines, (len(q), 1))).astype(float)
    for foreign in (everywhere, y[rng.permutation(len(q))]):
        one = SqeMap.of(q, energy, foreign, np.sqrt(np.maximum(foreign, 1)))
        refined = reader.refine(one, reader.read(one))
        assert refined is not None
        assert any(reason.startswith("other-dispersion") for reason in refined.reasons), refined.reasons
