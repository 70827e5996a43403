from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from streamproc.errors import ConfigurationError
from streamproc.inference.card import CARD_KEY, ModelCard
from streamproc.inference.model import OnnxModel
from streamproc.inference.onnxfile import inspect_onnx, replace_metadata
from streamproc.inference.registry import find_model, list_models
from streamproc.settings import InferenceSettings

N = 8


def graph_bytes(opset=17, n=N, scale=2.0):
    weight = numpy_helper.from_array(np.full((n, 3), scale, np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", n])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return model.SerializeToString()


def card_for(data, **changes):
    info = inspect_onnx(data)
    values = {
        "name": "toy", "version": "1", "task": "test", "input_name": "x",
        "axis": {"kind": "q_invA", "start": 0.0, "stop": 1.0, "n": N}, "normalisation": "none",
        "outputs": [{"name": "y", "shape": [3], "meaning": "three sums"}], "labels": ["a"], "valid_domain": {},
        "calibration": {"floor": 0.0, "q68": {}, "q90": {}, "limits": {}}, "opset": 17,
        "weights_sha256": info.content_sha256, "training": {}, "scores": {}, "licence": "BSD-3-Clause",
    }  # fmt: skip
    return {**values, **changes}


def write_model(folder, data=None, card=None, golden=True, **changes):
    data = graph_bytes() if data is None else data
    folder.mkdir(parents=True, exist_ok=True)
    card = card_for(data, **changes) if card is None else card
    text = card if isinstance(card, str) else json.dumps(card)
    (folder / "model.onnx").write_bytes(replace_metadata(data, {CARD_KEY: text}))
    if golden:
        x = np.ones((2, N), np.float32)
        np.savez(folder / "golden.npz", x=x, y=np.full((2, 3), 2.0 * N, np.float32))
    return folder / "model.onnx"


def test_a_sound_model_loads_and_runs_in_batches_of_any_size(tmp_path):
    model = OnnxModel(write_model(tmp_path), InferenceSettings(max_batch=3))
    x = np.arange(7 * N, dtype=np.float32).reshape(7, N)
    np.testing.assert_allclose(model.run(x)["y"][:, 0], 2 * x.sum(axis=1))
    assert model.model_id.startswith("toy:1@")


def test_metadata_can_be_replaced_without_touching_the_graph():
    data = graph_bytes()
    changed = replace_metadata(replace_metadata(data, {"a": "1"}), {"b": "ü" * 300})
    assert inspect_onnx(changed).metadata == {"b": "ü" * 300}
    assert inspect_onnx(changed).content_sha256 == inspect_onnx(data).content_sha256
    assert {p.key: p.value for p in onnx.load_from_string(changed).metadata_props} == {"b": "ü" * 300}


def refused(path, settings=None):
    with pytest.raises(ConfigurationError) as caught:
        OnnxModel(path, settings or InferenceSettings())
    assert str(path.parent) in str(caught.value) or settings is not None
    return str(caught.value)


def test_a_file_that_does_not_fit_its_card_is_refused_by_name(tmp_path):
    data = graph_bytes()
    assert "no model card" in refused(_plain(tmp_path / "1", data))
    assert "not valid" in refused(write_model(tmp_path / "2", card="{}"))
    assert "not the one its card describes" in refused(write_model(tmp_path / "3", weights_sha256="0" * 64))
    assert "opset" in refused(write_model(tmp_path / "4", opset=12))
    axis = {"kind": "q_invA", "start": 0.0, "stop": 1.0, "n": N + 1}
    assert "inputs" in refused(write_model(tmp_path / "5", axis=axis))
    outputs = [{"name": "z", "shape": [3], "meaning": ""}]
    assert "no output 'z'" in refused(write_model(tmp_path / "6", outputs=outputs))
    outputs = [{"name": "y", "shape": [4], "meaning": ""}]
    assert "shape" in refused(write_model(tmp_path / "7", outputs=outputs))


def _plain(folder, data):
    folder.mkdir()
    (folder / "model.onnx").write_bytes(data)
    return folder / "model.onnx"


def test_changed_weights_are_noticed(tmp_path):
    card = card_for(graph_bytes(scale=2.0))
    assert "not the one" in refused(write_model(tmp_path, graph_bytes(scale=2.1), card=card))


def test_golden_vectors_guard_the_numbers(tmp_path):
    assert "golden" in refused(write_model(tmp_path / "1", golden=False))
    path = write_model(tmp_path / "2")
    np.savez(path.with_name("golden.npz"), x=np.ones((2, N), np.float32), y=np.full((2, 3), 17.0, np.float32))
    assert "does not reproduce the golden vectors" in refused(path)
    np.savez(path.with_name("golden.npz"), x=np.ones((2, N), np.float32))
    assert "lack y" in refused(path)


def test_external_data_is_refused_before_anything_follows_it(tmp_path):
    model = onnx.load_from_string(graph_bytes())
    tensor = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, location="../../secret")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    data = model.SerializeToString()
    assert inspect_onnx(data).external == ("w",)
    assert "other files" in refused(write_model(tmp_path, data))


def test_external_data_hidden_in_a_subgraph_is_found():
    inner = helper.make_tensor("hidden", TensorProto.FLOAT, [1], [1.0])
    inner.data_location = TensorProto.EXTERNAL
    body = helper.make_graph([helper.make_node("Constant", [], ["o"], value=inner)], "b", [], [])
    node = helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body)
    model = helper.make_model(helper.make_graph([node], "g", [], []))
    assert "hidden" in inspect_onnx(model.SerializeToString()).external


@pytest.mark.parametrize("data", [b"", b"not onnx", b"\x00" * 100, b"\xff" * 100, graph_bytes()[:-20]])
def test_a_damaged_file_is_one_clear_error(tmp_path, data):
    assert "ONNX" in refused(_plain(tmp_path / "m", data))


def test_a_provider_that_is_not_installed_is_named_with_what_there_is(tmp_path):
    message = refused(write_model(tmp_path), InferenceSettings(provider="tensorrt"))
    assert "tensorrt" in message
    assert "CPUExecutionProvider" in message


def test_models_are_found_by_name_newest_version_first(tmp_path):
    for version in ("2", "10", "9"):
        write_model(tmp_path / "toy" / version)
    settings = InferenceSettings(model_roots=(tmp_path,))
    assert find_model("toy", settings).parent.name == "10"
    assert find_model("toy:9", settings).parent.name == "9"
    assert [m.version for m in list_models(settings) if m.name == "toy"] == ["2", "9", "10"]
    with pytest.raises(ConfigurationError, match="toy:10"):
        find_model("toy:3", settings)
    with pytest.raises(ConfigurationError, match="does not exist"):
        find_model("none.onnx", settings)


def test_a_card_survives_its_own_text():
    card = ModelCard.model_validate(card_for(graph_bytes()))
    assert ModelCard.from_json(card.to_json(), file="x") == card


def test_the_runtime_reports_to_nobody(tmp_path):
    code = (
        "from streamproc.inference.model import OnnxModel; from streamproc.inference.registry import find_model; "
        "from streamproc.settings import InferenceSettings as S; OnnxModel(find_model('phase_qpa', S()), S())"
    )
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    environment |= {"XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    # A runtime that reports keeps a number for this machine and what it has not sent yet in such a folder.
    assert not list(tmp_path.rglob("*onnxruntime*"))
