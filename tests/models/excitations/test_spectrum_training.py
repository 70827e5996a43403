"""A tiny training end to end, and what the command refuses."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from streamproc.errors import ConfigurationError

pytestmark = pytest.mark.train

MODEL = """
name = "tiny"
kind = "spectrum"
[priors]
window = [15.0, 40.0]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from streamproc.models.excitations.command import main

    root = tmp_path_factory.mktemp("trained")
    (root / "model.toml").write_text(MODEL)
    out = root / "tiny" / "1"
    assert main(["--model", str(root / "model.toml"), "--out", str(out), "--quick", "--threads", "1"]) == 0
    return out


def test_a_tiny_training_gives_a_model_that_loads_with_card_golden_vectors_and_report(folder):
    from streamproc.inference.model import OnnxModel
    from streamproc.settings import InferenceSettings

    model = OnnxModel(folder / "model.onnx", InferenceSettings())
    card = model.card
    assert (card.name, card.task, card.axis.kind) == ("tiny", "excitation-spectrum", "energy_window")
    assert card.valid_domain["window_over_fwhm"] == (15.0, 40.0)
    assert set(card.calibration.q90) == {"energy", "width", "amplitude"}
    assert (folder / "report.html").is_file()
    assert not (folder / "training").exists()


def test_a_calibration_alone_gives_what_the_training_gave(folder, tmp_path):
    from streamproc.models.excitations.command import main
    from streamproc.models.networks.version_folder import read_version
    from streamproc.models.report.evidence import EVIDENCE_FILE, Evidence

    out = tmp_path / "tiny" / "1"
    shutil.copytree(folder, out)
    data, card = read_version(out)
    given = ["--model", str(folder.parents[1] / "model.toml"), "--out", str(out), "--calibrate"]
    assert main(given) == 0
    assert (out / "model.onnx").read_bytes() == data
    one, two = (Evidence.load(f / EVIDENCE_FILE) for f in (folder, out))
    assert (one.simulated.high90 == two.simulated.high90).all() and one.tables == two.tables
    assert (one.curve.training == two.curve.training).all()
    assert main([*given, "--hold-out", "400"]) == 0
    _, other = read_version(out)
    assert other.weights_sha256 == card.weights_sha256
    assert other.training == card.training | {"hold_out": 400}
    assert not card.calibration.pulls and set(other.calibration.pulls) == {"energy", "width", "amplitude"}


@pytest.mark.parametrize(
    ("other", "more", "said"),
    [
        (MODEL, ["--steps", "9"], "--steps would have no effect; it takes --hold-out"),
        (MODEL.replace("15.0", "16.0"), [], "give the file it was trained with"),
    ],
)
def test_a_calibration_with_what_it_cannot_heed_is_refused(folder, tmp_path, other, more, said):
    from streamproc.models.excitations.command import main

    file = tmp_path / "model.toml"
    file.write_text(other)
    with pytest.raises(ConfigurationError, match=said):
        main(["--model", str(file), "--out", str(folder), "--calibrate", *more])


def test_a_calibration_of_nothing_is_refused(tmp_path):
    from streamproc.models.excitations.command import main

    file = tmp_path / "model.toml"
    file.write_text(MODEL)
    with pytest.raises(ConfigurationError, match="train the model first"):
        main(["--model", str(file), "--out", str(tmp_path / "1"), "--calibrate"])


def test_a_spectrum_answers_the_same_alone_and_among_others(folder):
    from streamproc.inference.model import OnnxModel
    from streamproc.settings import InferenceSettings

    model = OnnxModel(folder / "model.onnx", InferenceSettings())
    x = np.random.default_rng(0).normal(1, 0.3, (7, 198)).astype(np.float32)
    together = model.run(x)
    for k in range(7):
        alone = model.run(x[k : k + 1])
        assert all(np.array_equal(alone[n][0], together[n][k]) for n in together)


def test_the_graph_agrees_with_the_network():
    import torch
    from streamproc.models.excitations.oscillators.export import to_onnx
    from streamproc.models.excitations.oscillators.network import Network, parts
    from streamproc.models.excitations.oscillators.slots import CENTRES
    from streamproc.models.networks.conformal import OnnxRunner

    torch.manual_seed(0)
    network = Network(24, 8, 3)
    for p in network.parameters():  # what float16 keeps exactly
        p.data = p.data.half().float()
    x = torch.randn(5, 198)
    centre, whiten = np.zeros(24, np.float32), np.eye(24, dtype=np.float32)
    found = OnnxRunner(to_onnx(network, centre, whiten))(x.numpy())
    with torch.no_grad():
        heads, features = network(x)
        number, position, value, log_scale = parts(heads)
    where = torch.softmax(position, -1) @ torch.as_tensor(CENTRES, dtype=torch.float32)
    assert found["number"] == pytest.approx(torch.softmax(number, -1).mean(0).numpy(), abs=1e-5)
    assert found["position"] == pytest.approx(where.mean(0).numpy(), abs=1e-5)
    assert found["value"] == pytest.approx(value.mean(0).numpy(), abs=1e-4)
    assert found["scale"] == pytest.approx(log_scale.exp().mean(0).numpy(), abs=1e-4)
    both = torch.cat([where[:, :, None], value], 2)
    assert found["spread"] == pytest.approx(both.std(0).numpy(), abs=1e-4)
    flat = features.transpose(0, 1).flatten(1).numpy()
    assert found["distance"] == pytest.approx(np.sqrt((flat**2).mean(1)), rel=2e-3)


def test_a_training_goes_on_from_the_weights_it_left(tmp_path, monkeypatch):
    from streamproc.models.excitations.oscillators import release as ending
    from streamproc.models.excitations.oscillators import train as training
    from streamproc.models.excitations.oscillators.case import SpectrumCase
    from streamproc.models.excitations.oscillators.instruments import Priors
    from streamproc.models.excitations.oscillators.mixtures import Strengths

    case, released = SpectrumCase("x", Priors(), Strengths()), []
    settings = training.TrainSettings(threads=1).quick()
    monkeypatch.setattr(ending, "release", lambda out, network, *a, **k: released.append(network) or 1 / 0)
    for resume in (False, True):
        with pytest.raises(ZeroDivisionError):
            training.train(case, tmp_path, settings, resume=resume)
        monkeypatch.setattr(training, "fit_network", lambda *a: pytest.fail("it was trained again"))
    one, two = (list(n.state_dict().values()) for n in released)
    assert all((a == b).all() for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = 'a'\nkind = 'spectrum'\n[priors]\nwindo = [1, 2]", "windo"),
        ("name = 'a'\nkind = 'spectrum'\n[priors]\nwindow = [5, 2]", r"\[low, high\]"),
        ("name = 'a'\nkind = 'spectrum'\n[priors]\nzero = -1", "not negative"),
        ("name = 'a'\nkind = 'spectrum'\n[strengths]\nnumber = [0.5, 0.2]", "probabilities"),
        ("name = 'a'\nkind = 'spectrum'\nextra = 1", "extra"),
        ("kind = 'spectrum'", "name"),
        ("name = 'a'\nkind = 'spin-model'", "expected 'spectrum'"),
        ("name = ", "not a TOML file"),
    ],
)
def test_a_model_file_that_cannot_be_is_refused_with_its_key(tmp_path, text, said):
    from streamproc.models.excitations.oscillators.case import read_case

    (tmp_path / "model.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        read_case(tmp_path / "model.toml")


def test_the_shipped_model_file_says_what_the_defaults_are():
    from pathlib import Path

    import streamproc.models as package
    from streamproc.models.excitations.oscillators.case import read_case
    from streamproc.models.excitations.oscillators.instruments import Priors
    from streamproc.models.excitations.oscillators.mixtures import Strengths

    case = read_case(Path(package.__path__[0]) / "dho" / "model.toml")
    assert (case.name, case.priors, case.strengths) == ("dho", Priors(), Strengths())
