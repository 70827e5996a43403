"""Training of spin-model networks: inputs made twice agree, spoilt maps are as promised, the whole way works."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from streamproc.cli import _group
from streamproc.errors import ConfigurationError
from streamproc.inference.card import Calibration
from streamproc.inference.model import OnnxModel
from streamproc.settings import InferenceSettings

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from streamproc.models.excitations.command import main  # noqa: E402
from streamproc.models.excitations.map_training.calibrate import Held  # noqa: E402
from streamproc.models.excitations.map_training.network import Ensemble, lower, nll  # noqa: E402
from streamproc.models.excitations.map_training.train import mixer_of  # noqa: E402
from streamproc.models.excitations.maps.calibration import PlaceCalibration  # noqa: E402
from streamproc.models.excitations.maps.inputs import Preparer  # noqa: E402
from streamproc.models.excitations.maps.library import build_library  # noqa: E402
from streamproc.models.excitations.maps.reader import MapReader  # noqa: E402
from streamproc.models.excitations.spinmodel.case import read_case  # noqa: E402
from streamproc.models.networks.pulls import uniformity  # noqa: E402
from streamproc.models.networks.version_folder import read_version  # noqa: E402

MODELS = Path(__file__).parents[2] / "models"


@pytest.mark.parametrize("name", ["magnon-square", "magnon-honeycomb"])
def test_training_and_service_make_the_same_inputs_of_the_same_map(name: str) -> None:
    case = read_case(MODELS / name / "model.toml")
    library = build_library(case, 12, 3)
    batch = mixer_of(case, library, 4).batch(torch.arange(12))
    held, preparer = Held(batch, library.q_rlu, {}), Preparer(case)
    for row in range(12):
        prepared = held.prepared(row, case)
        assert prepared is not None
        assert np.allclose(preparer.input_of(prepared.coarse), prepared.x, atol=2e-3)


def test_the_same_seed_gives_the_same_library_and_the_same_spoilt_maps() -> None:
    case = read_case(MODELS / "magnon-chain" / "model.toml")
    one, two = build_library(case, 6, 9), build_library(case, 6, 9)
    assert one.sha256() == two.sha256() != build_library(case, 6, 10).sha256()
    first, second = (mixer_of(case, x, 2).batch(torch.arange(6)) for x in (one, two))
    assert torch.equal(first.x, second.x)
    assert torch.isfinite(first.x).all()


def test_the_loss_is_the_gaussian_likelihood_with_full_covariance() -> None:
    torch.manual_seed(3)
    heads, truth = torch.randn(2, 4, 9), torch.rand(4, 3)
    expected = 0.0
    for member in heads:
        factor = lower(member[:, 3:], 3)
        normal = torch.distributions.MultivariateNormal(member[:, :3], scale_tril=factor)
        expected += float(-(normal.log_prob(truth) + 1.5 * np.log(2 * np.pi)).mean())
    assert float(nll(heads, truth, 3)) == pytest.approx(expected, rel=1e-4)


def test_ranks_of_a_right_posterior_are_uniform_and_those_of_a_narrow_one_are_not() -> None:
    rng = np.random.default_rng(1)

    truth = rng.normal(0.5, 0.1, (4000, 1))
    card = PlaceCalibration(Calibration(floor=0.0, q68={"J": 1.0}, q90={"J": 1.6449}, limits={}), ["J"])

    def outputs(width: float) -> dict[str, np.ndarray]:
        found = {"mean": np.full((4000, 1), 0.5), "spread": np.zeros((4000, 1, 1))}
        return found | {"covariance": np.full((4000, 1, 1), width**2)}

    right, narrow = (uniformity(card.ranks(truth, outputs(w)), ["J"])["J"] for w in (0.1, 0.05))
    assert right["p_value"] > 0.001 > 1e-6 > narrow["p_value"]
    assert card.covers(truth, outputs(0.1)).mean() == pytest.approx(0.9, abs=0.02)


def test_the_ensemble_adds_its_corrections_to_the_guess() -> None:
    net = Ensemble(20, 5, 2, 3, 8, 4)
    x = torch.zeros(1, 20)
    moved = x.clone()
    moved[0, 5:7] = 0.5
    for weight in net.weights:
        torch.nn.init.zeros_(weight)
    assert torch.allclose(net(moved)[0][..., :2] - net(x)[0][..., :2], torch.tensor(0.5))


def test_the_whole_way_from_a_file_to_a_model_that_answers(tmp_path: Path) -> None:
    out = tmp_path / "mine" / "1"
    arguments = ["--model", str(MODELS / "magnon-chain" / "model.toml"), "--out", str(out), "--quick"]
    assert main([*arguments, "--seed", "5", "--threads", "1"]) == 0
    assert sorted(p.name for p in out.iterdir()) == [
        "evidence.npz",
        "golden.npz",
        "model.onnx",
        "report.html",
        "report.pdf",
    ]
    model = OnnxModel(out / "model.onnx", InferenceSettings())
    card = model.card
    assert card.task == "spin-model" and card.labels == ("J", "D")
    assert "every bond counted once" in card.reference["convention"]
    assert {"distance", "residual", "unexplained", "disagreement"} == set(card.calibration.limits)
    assert "--seed 5" in card.training["command"]
    json.loads(card.to_json())
    assert MapReader(model).names == ("J", "D")
    before = (out / "model.onnx").read_bytes()
    again = [*arguments[:4], "--calibrate"]
    assert main(again) == 0
    assert (out / "model.onnx").read_bytes() == before  # what the training had said
    assert main([*again, "--hold-out", "300"]) == 0
    _, other = read_version(out)
    assert other.training == card.training | {"hold_out": 300}
    assert other.weights_sha256 == card.weights_sha256 and set(other.calibration.pulls) == {"J", "D"}
    with pytest.raises(ConfigurationError, match="trained with another file"):
        main(["--model", str(MODELS / "magnon-square" / "model.toml"), *again[2:]])


def test_a_wrong_kind_is_refused_by_the_command(tmp_path: Path) -> None:
    file = tmp_path / "model.toml"
    file.write_text('kind = "nonsense"')
    with pytest.raises(ConfigurationError, match="kind = 'nonsense'"):
        main(["--model", str(file), "--out", str(tmp_path / "1")])


def test_train_lists_the_analysis() -> None:
    assert "excitation-fit" in CliRunner().invoke(_group, ["train"]).output
