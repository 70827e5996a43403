"""Write the trained ensemble as one ONNX graph: weights stored as float16, computed with as float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from streamproc.models.phase_map.network import QUANTITIES, Ensemble

from streamproc.inference.card import OutputHead

__all__ = ["OPSET", "OUTPUTS", "to_onnx"]

OPSET = 18

OUTPUTS = (
    OutputHead(
        name="fractions", shape=(4,), meaning="weight fractions among the known phases, sum 1", units="1"
    ),
    OutputHead(
        name="scale",
        shape=(QUANTITIES,),
        meaning="Laplace scale of each fraction, of unknown and of amorphous (aleatoric)",
        units="1",
    ),
    OutputHead(
        name="spread",
        shape=(QUANTITIES,),
        meaning="standard deviation between ensemble members, same order (epistemic)",
        units="1",
    ),
    OutputHead(
        name="unknown", shape=(), meaning="share of unknown material in the crystalline intensity", units="1"
    ),
    OutputHead(
        name="amorphous",
        shape=(),
        meaning="weight share of glass (silica equivalent) in glass and known phases",
        units="1",
    ),
    OutputHead(
        name="distance",
        shape=(),
        meaning="Mahalanobis distance of the features from training patterns over sqrt(dimensions)",
        units="1",
    ),
)
"""The graph's outputs, batch first."""


class _Graph:
    """Collects nodes and initialisers."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        from onnx import numpy_helper

        self.tensors.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def half(self, name: str, value: npt.NDArray[np.float32]) -> str:
        """Store as float16, cast once (constant folding does it at load)."""
        stored = self.constant(f"{name}_half", value.astype(np.float16))
        return self.node("Cast", [stored], name, to=1)

    def node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def silu(self, value: str) -> str:
        return self.node("Mul", [value, self.node("Sigmoid", [value], f"{value}_gate")], f"{value}_silu")

    def cut(self, value: str, start: int, stop: int, output: str, axis: int = -1) -> str:
        """Slice one axis (the last)."""
        ends = [
            self.constant(f"{output}_{k}", np.array([v]))
            for k, v in (("from", start), ("to", stop), ("axis", axis))
        ]
        return self.node("Slice", [value, *ends], output)


def to_onnx(ensemble: Ensemble, centre: npt.NDArray[np.float32], whiten: npt.NDArray[np.float32]) -> bytes:
    """Build the model file, without its card.

    Parameters
    ----------
    ensemble : Ensemble
        Trained members.
    centre : ndarray of float32, shape (members * features,)
        Mean of the features over training patterns.
    whiten : ndarray of float32, shape (members * features, r)
        Matrix that gives the centred features unit covariance.

    Returns
    -------
    bytes
        An ONNX ModelProto; the same ensemble gives the same bytes.
    """
    from onnx import TensorProto, checker, helper

    graph = _Graph()
    points = ensemble.first.in_features
    heads, features = _trunk(graph, ensemble)
    _outputs(graph, heads, ensemble.members)
    _distance(graph, features, centre, whiten)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", points])]
    outputs = [helper.make_tensor_value_info(o.name, TensorProto.FLOAT, ["batch", *o.shape]) for o in OUTPUTS]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "phase_qpa", inputs, outputs, graph.tensors),
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="streamproc",
        ir_version=9,
    )
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _array(tensor: torch.Tensor) -> npt.NDArray[np.float32]:
    return np.asarray(tensor.detach().cpu().numpy(), np.float32)


def _trunk(graph: _Graph, ensemble: Ensemble) -> tuple[str, str]:
    """Layers; the input scaling 4 x - 1/2 goes into the first one."""
    weight, bias = _array(ensemble.first.weight), _array(ensemble.first.bias)
    first = graph.half("w0", 4 * weight.T)
    # A batch of one would take another matrix kernel and round differently: one empty row goes along, so that
    # a pattern's answer does not depend on how patterns are batched, bit for bit.
    padded = graph.node("Pad", ["x", graph.constant("one_row", np.array([0, 0, 1, 0]))], "x_and_one")
    offset = graph.constant("b0", bias - 0.5 * weight.sum(1))
    y = graph.silu(graph.node("Add", [graph.node("MatMul", [padded, first], "m0"), offset], "a0"))
    shape = graph.constant("shape0", np.array([0, ensemble.members, -1]))
    y = graph.node("Transpose", [graph.node("Reshape", [y, shape], "r0")], "t0", perm=[1, 0, 2])
    last = len(ensemble.weights)
    features = y
    for i, (w, b) in enumerate(zip(ensemble.weights, ensemble.biases, strict=True), start=1):
        product = graph.node("MatMul", [y, graph.half(f"w{i}", _array(w))], f"m{i}")
        y = graph.node("Add", [product, graph.constant(f"b{i}", _array(b))], f"a{i}")
        if i < last:
            y = graph.silu(y)
            features = y
    return graph.cut(y, 0, -1, "heads", axis=1), features


def _outputs(graph: _Graph, heads: str, members: int) -> None:
    """Values between 0 and 1, their means and spreads over members, mean scales."""
    phases = graph.node("Softmax", [graph.cut(heads, 0, 4, "logits")], "phases", axis=-1)
    others = graph.node("Sigmoid", [graph.cut(heads, 4, 6, "gates")], "others")
    values = graph.node("Concat", [phases, others], "values", axis=-1)
    over = graph.constant("members_axis", np.array([0]))
    mean = graph.node("ReduceMean", [values, over], "mean", keepdims=0)
    deviation = graph.node("Sub", [values, mean], "deviation")
    square = graph.node("Mul", [deviation, deviation], "square")
    variance = graph.node("ReduceMean", [square, over], "variance", keepdims=0)
    correction = graph.constant("bessel", np.array(members / max(1, members - 1), np.float32))
    graph.node("Sqrt", [graph.node("Mul", [variance, correction], "unbiased")], "spread")
    low, high = (
        graph.constant("log_low", np.array(-6.5, np.float32)),
        graph.constant("log_high", np.array(0.5, np.float32)),
    )
    logs = graph.node("Clip", [graph.cut(heads, 6, 12, "log_scale"), low, high], "log_scale_clipped")
    graph.node("ReduceMean", [graph.node("Exp", [logs], "scales"), over], "scale", keepdims=0)
    graph.cut(mean, 0, 4, "fractions")
    one = graph.constant("squeeze_axis", np.array([1]))
    graph.node("Squeeze", [graph.cut(mean, 4, 5, "unknown_column"), one], "unknown")
    graph.node("Squeeze", [graph.cut(mean, 5, 6, "amorphous_column"), one], "amorphous")


def _distance(
    graph: _Graph, features: str, centre: npt.NDArray[np.float32], whiten: npt.NDArray[np.float32]
) -> None:
    """Mahalanobis distance over the square root of the number of dimensions."""
    flat = graph.node("Transpose", [features], "features_b", perm=[1, 0, 2])
    flat = graph.node("Reshape", [flat, graph.constant("shape_f", np.array([0, -1]))], "features_flat")
    away = graph.node("Sub", [flat, graph.constant("centre", centre)], "features_away")
    white = graph.node(
        "MatMul",
        [away, graph.half("whiten", whiten / np.float32(np.sqrt(whiten.shape[1])))],
        "features_white",
    )
    white = graph.cut(white, 0, -1, "features_seen", axis=0)
    axis = graph.constant("features_axis", np.array([1]))
    graph.node("Sqrt", [graph.node("ReduceSumSquare", [white, axis], "distance2", keepdims=0)], "distance")
