"""A folded ensemble as an ONNX graph: weights stored as float16, computed with as float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from streamproc.models.networks.ensemble import FoldedEnsemble

from streamproc.inference.card import OutputHead

__all__ = ["OPSET", "Graph", "distance", "over_members", "scales", "trunk"]

OPSET = 18


class Graph:
    """Collects nodes and initialisers."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        """Store an array."""
        from onnx import numpy_helper

        self.tensors.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def half(self, name: str, value: npt.NDArray[np.float32]) -> str:
        """Store as float16, cast once (constant folding does it at load)."""
        stored = self.constant(f"{name}_half", value.astype(np.float16))
        return self.node("Cast", [stored], name, to=1)

    def node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node; returns the name of its output."""
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def silu(self, value: str) -> str:
        """Add x sigmoid(x)."""
        return self.node("Mul", [value, self.node("Sigmoid", [value], f"{value}_gate")], f"{value}_silu")

    def cut(self, value: str, start: int, stop: int, output: str, axis: int = -1) -> str:
        """Slice one axis (the last)."""
        ends = [
            self.constant(f"{output}_{k}", np.array([v]))
            for k, v in (("from", start), ("to", stop), ("axis", axis))
        ]
        return self.node("Slice", [value, *ends], output)

    def model(self, name: str, points: int, heads: Sequence[OutputHead]) -> bytes:
        """Return the file: input ``x`` (batch, points), outputs as declared, without a card."""
        from onnx import TensorProto, checker, helper

        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", points])]
        outputs = [
            helper.make_tensor_value_info(o.name, TensorProto.FLOAT, ["batch", *o.shape]) for o in heads
        ]
        model = helper.make_model(
            helper.make_graph(self.nodes, name, inputs, outputs, self.tensors),
            opset_imports=[helper.make_opsetid("", OPSET)],
            producer_name="streamproc",
            ir_version=9,
        )
        checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))


def _array(tensor: torch.Tensor) -> npt.NDArray[np.float32]:
    return np.asarray(tensor.detach().cpu().numpy(), np.float32)


def trunk(graph: Graph, ensemble: FoldedEnsemble) -> tuple[str, str]:
    """Add the layers, input scaling in the first one; returns heads (without the empty row) and features."""
    weight, bias = _array(ensemble.first.weight), _array(ensemble.first.bias)
    first = graph.half("w0", np.float32(ensemble.gain) * weight.T)
    # A batch of one would take another matrix kernel and round differently: one empty row goes along, so that
    # a pattern's answer does not depend on how patterns are batched, bit for bit.
    padded = graph.node("Pad", ["x", graph.constant("one_row", np.array([0, 0, 1, 0]))], "x_and_one")
    offset = graph.constant("b0", bias + np.float32(ensemble.offset) * weight.sum(1))
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


def over_members(graph: Graph, values: str, members: int, mean: str, spread: str) -> None:
    """Add mean and unbiased standard deviation over members (the first axis)."""
    over = graph.constant(f"{mean}_axis", np.array([0]))
    graph.node("ReduceMean", [values, over], mean, keepdims=0)
    deviation = graph.node("Sub", [values, mean], f"{mean}_deviation")
    square = graph.node("Mul", [deviation, deviation], f"{mean}_square")
    variance = graph.node("ReduceMean", [square, over], f"{mean}_variance", keepdims=0)
    correction = graph.constant(f"{mean}_bessel", np.array(members / max(1, members - 1), np.float32))
    graph.node("Sqrt", [graph.node("Mul", [variance, correction], f"{mean}_unbiased")], spread)


def scales(graph: Graph, heads: str, where: slice, output: str, low: float = -6.5, high: float = 0.5) -> str:
    """Add the mean over members of the exponential of clipped log-scales."""
    least = graph.constant(f"{output}_low", np.array(low, np.float32))
    most = graph.constant(f"{output}_high", np.array(high, np.float32))
    raw = graph.cut(heads, where.start, where.stop, f"{output}_log")
    clipped = graph.node("Clip", [raw, least, most], f"{output}_clipped")
    over = graph.constant(f"{output}_axis", np.array([0]))
    return graph.node("ReduceMean", [graph.node("Exp", [clipped], f"{output}_all"), over], output, keepdims=0)


def distance(
    graph: Graph, features: str, centre: npt.NDArray[np.float32], whiten: npt.NDArray[np.float32]
) -> None:
    """Add the Mahalanobis distance over the square root of the number of dimensions, as ``distance``."""
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
