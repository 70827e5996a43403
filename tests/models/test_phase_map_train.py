"""A tiny model, trained, exported, calibrated and loaded: the whole way of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch (extra train)")
pytest.importorskip("onnx", reason="training needs onnx (extra train)")

from streamproc.models.phase_map.command import main

from streamproc.inference.model import OnnxModel
from streamproc.settings import InferenceSettings

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "phase_qpa" / "7"
    assert main(["--out", str(out), "--quick", "--seed", "3"]) == 0
    return out


def test_a_tiny_training_gives_a_model_that_loads_with_its_card_and_report(trained: Path) -> None:
    model = OnnxModel(trained / "model.onnx", InferenceSettings())
    assert model.card.version == "7"
    assert model.card.training["seed"] == 3
    assert 0.7 < model.card.scores["simulated"]["coverage90"] <= 1.0
    assert {"foreign", "presence_with_fit"} == set(model.card.calibration.rules)
    assert {"foreign_with_fit"} == set(model.card.calibration.joined)
    names = sorted(p.name for p in trained.iterdir())
    assert names == ["evidence.npz", "golden.npz", "model.onnx", "report.html", "report.pdf"]


def test_the_same_seed_gives_the_same_weights_also_when_resumed(trained: Path, tmp_path: Path) -> None:
    from streamproc.models.phase_map import train as module
    from streamproc.models.phase_map.export import to_onnx
    from streamproc.models.phase_qpa.system import four_phases

    from streamproc.inference.onnxfile import inspect_onnx

    settings = module.replace(module.TrainSettings().quick(), seed=3)
    library = module.build_library(four_phases(), settings.library, settings.seed)
    half, _ = module.fit(library, settings, tmp_path, stop_after=7)
    assert (tmp_path / "checkpoint.pt").is_file() and half is not None
    resumed, course = module.fit(library, settings, tmp_path, resume=True)
    assert course.step[-1] == settings.steps and course.stopped_at is None
    data = to_onnx(resumed, module.statistics_of(resumed, library, settings.seed))
    first = OnnxModel(trained / "model.onnx", InferenceSettings())
    assert inspect_onnx(data).content_sha256 == first.card.weights_sha256


@pytest.mark.parametrize("phases", [1, 4, 9])
def test_the_graph_computes_what_torch_computes(phases: int) -> None:
    import torch
    from streamproc.models.networks.conformal import OnnxRunner
    from streamproc.models.phase_map.export import Statistics, to_onnx
    from streamproc.models.phase_map.network import Ensemble, split

    torch.manual_seed(0)
    ensemble, p = Ensemble(2000, 32, 8, 3, phases), phases
    with torch.no_grad():
        for parameter in ensemble.parameters():
            parameter.copy_(parameter.half().float())
    mean, span = torch.rand(3, p), torch.rand(3, p) + 0.5
    statistics = Statistics(
        np.zeros(24, np.float32), np.eye(24, dtype=np.float32), mean.numpy(), span.numpy()
    )
    x = torch.rand(5, 2000)
    out = OnnxRunner(to_onnx(ensemble, statistics))(x.numpy())
    with torch.no_grad():
        heads, features = ensemble(x)
        values, log_scale = split(heads, ensemble.layout)
    flat, layout = features.transpose(0, 1).flatten(1), ensemble.layout
    state = heads[..., layout.states].reshape(3, 5, 3, p)
    scale = heads[..., layout.state_log_scale].clamp(-6.5, 0.5).exp().reshape(3, 5, 3, p)
    expected = {
        "fractions": values.mean(0)[:, :p], "unknown": values.mean(0)[:, p], "amorphous": values.mean(0)[:, p + 1],
        "spread": values.std(0), "scale": log_scale.exp().mean(0), "distance": flat.pow(2).mean(1).sqrt(),
        "presence": torch.sigmoid(heads[..., layout.presence]).mean(0), "state": mean + span * state.mean(0),
        "state_spread": span * state.std(0), "state_scale": span * scale.mean(0),
    }  # fmt: skip
    for name, value in expected.items():
        assert np.allclose(out[name], value.numpy(), rtol=2e-3, atol=2e-4), name


def test_outputs_of_a_layout_lie_side_by_side() -> None:
    from streamproc.models.phase_map.network import Layout

    layout = Layout(7)
    parts = [
        layout.fractions,
        layout.presence,
        layout.gates,
        layout.states,
        layout.log_scale,
        layout.state_log_scale,
    ]
    places = [i for part in parts for i in range(part.start, part.stop)]
    assert places == list(range(layout.width))


def test_help_explains_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    for option in (
        "--cif", "--also-unknown", "--span", "--wavelength", "--ka2", "--range", "--geometry", "--instrument",
        "--validate", "--out", "--seed", "--steps", "--members", "--library", "--quick", "--resume",
    ):  # fmt: skip
        assert option in text
