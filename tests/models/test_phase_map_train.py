"""A tiny model, trained, exported, calibrated and loaded: the whole way of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch (extra train)")
pytest.importorskip("onnx", reason="training needs onnx (extra train)")

from streamproc.models.phase_map.train import main

from streamproc.inference.model import OnnxModel
from streamproc.settings import InferenceSettings

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "phase_qpa" / "7"
    assert main(["--out", str(out), "--quick", "--seed", "3"]) == 0
    return out


def test_a_tiny_training_gives_a_model_that_loads_with_its_card(trained: Path) -> None:
    model = OnnxModel(trained / "model.onnx", InferenceSettings())
    assert model.card.version == "7"
    assert model.card.training["seed"] == 3
    assert 0.8 < model.card.scores["simulated"]["coverage90"] <= 1.0
    assert sorted(p.name for p in trained.iterdir()) == ["golden.npz", "model.onnx"]


def test_the_same_seed_gives_the_same_weights_also_when_resumed(trained: Path, tmp_path: Path) -> None:
    from streamproc.models.phase_map import train as module

    settings = module.replace(module.TrainSettings().quick(), seed=3)
    work = tmp_path / "again"
    work.mkdir()
    library = module.build_library(settings.library, settings.seed)
    half = module.fit(library, settings, work, stop_after=settings.epochs // 2)
    assert (work / "checkpoint.pt").is_file() and half is not None
    resumed = module.fit(library, settings, work, resume=True)
    centre, whiten = module.feature_statistics(resumed, library, settings.seed)
    first = OnnxModel(trained / "model.onnx", InferenceSettings())
    from streamproc.models.phase_map.export import to_onnx

    from streamproc.inference.onnxfile import inspect_onnx

    data = to_onnx(resumed, centre, whiten)
    assert inspect_onnx(data).content_sha256 == first.card.weights_sha256


def test_the_graph_computes_what_torch_computes(trained: Path) -> None:
    import torch
    from streamproc.models.phase_map.calibrate import OnnxRunner
    from streamproc.models.phase_map.export import to_onnx
    from streamproc.models.phase_map.network import Ensemble, split

    torch.manual_seed(0)
    ensemble = Ensemble(2000, 32, 8, 3)
    with torch.no_grad():
        for parameter in ensemble.parameters():
            parameter.copy_(parameter.half().float())
    whiten = np.eye(24, dtype=np.float32)
    x = torch.rand(5, 2000)
    out = OnnxRunner(to_onnx(ensemble, np.zeros(24, np.float32), whiten))(x.numpy())
    with torch.no_grad():
        heads, features = ensemble(x)
        values, log_scale = split(heads)
    flat = features.transpose(0, 1).flatten(1)
    expected = {
        "fractions": values.mean(0)[:, :4], "unknown": values.mean(0)[:, 4], "amorphous": values.mean(0)[:, 5],
        "spread": values.std(0), "scale": log_scale.exp().mean(0), "distance": flat.pow(2).mean(1).sqrt(),
    }  # fmt: skip
    for name, value in expected.items():
        assert np.allclose(out[name], value.numpy(), rtol=2e-3, atol=2e-4), name


def test_help_explains_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    for option in (
        "--out",
        "--seed",
        "--epochs",
        "--members",
        "--library",
        "--quick",
        "--validate",
        "--resume",
    ):
        assert option in text
