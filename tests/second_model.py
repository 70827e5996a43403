"""A second model made from the shipped one: other weights, other answers, its own card and golden vectors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from streamproc.inference.card import CARD_KEY
from streamproc.inference.onnxfile import inspect_onnx, replace_metadata
from streamproc.inference.registry import find_model
from streamproc.settings import InferenceSettings

SHIPPED = f"phase_qpa:{find_model('phase_qpa', InferenceSettings()).parent.name}"
"""The newest one in the repository; versions that tests make are higher."""


def put_second_model(root: Path, version: str = "50", factor: float = 1.02) -> Path:
    """Write ``root/phase_qpa/VERSION/model.onnx``, first-layer weights times ``factor``; returns its path."""
    import onnx
    import onnxruntime
    from onnx import numpy_helper

    shipped = find_model(SHIPPED, InferenceSettings())
    folder = root / "phase_qpa" / version
    folder.mkdir(parents=True)
    metadata = inspect_onnx(shipped.read_bytes()).metadata
    model = onnx.load(shipped)
    for tensor in model.graph.initializer:
        if tensor.name == "w0_half":
            scaled = (numpy_helper.to_array(tensor).astype(np.float32) * factor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(scaled, tensor.name))
    data = model.SerializeToString(deterministic=True)
    card = json.loads(metadata[CARD_KEY])
    card |= {"version": version, "weights_sha256": inspect_onnx(data).content_sha256}
    path = folder / "model.onnx"
    path.write_bytes(replace_metadata(data, {**metadata, CARD_KEY: json.dumps(card)}))
    with np.load(shipped.with_name("golden.npz")) as golden:
        x = golden["x"]
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    np.savez(folder / "golden.npz", x=x, **dict(zip(names, session.run(names, {"x": x}), strict=True)))
    return path
