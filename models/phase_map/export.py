"""Write the trained ensemble as one ONNX graph: weights stored as float16, computed with as float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from streamproc.models.phase_map.network import Ensemble, Layout

from streamproc.inference.card import OutputHead

__all__ = [
    "OPSET",
    "Graph",
    "Statistics",
    "distance",
    "output_heads",
    "over_members",
    "scales",
    "to_onnx",
    "trunk",
]

OPSET = 18


def output_heads(phases: int) -> tuple[OutputHead, ...]:
    """Return the graph's outputs for a number of phases, batch first."""
    p = phases
    return (
        OutputHead(
            name="fractions", shape=(p,), meaning="weight fractions among the known phases, sum 1", units="1"
        ),
        OutputHead(
            name="scale",
            shape=(p + 2,),
            meaning="Laplace scale of each fraction, of unknown and of amorphous (aleatoric)",
            units="1",
        ),
        OutputHead(
            name="spread",
            shape=(p + 2,),
            meaning="standard deviation between ensemble members, same order (epistemic)",
            units="1",
        ),
        OutputHead(
            name="unknown",
            shape=(),
            meaning="share of unknown material in the crystalline intensity",
            units="1",
        ),
        OutputHead(
            name="amorphous",
            shape=(),
            meaning="weight share of glass (silica equivalent) in glass and known phases",
            units="1",
        ),
        OutputHead(name="presence", shape=(p,), meaning="probability that the phase is there", units="1"),
        OutputHead(
            name="state",
            shape=(3, p),
            meaning="linear lattice strain, ln(crystallite size / nm), ln(March-Dollase r) of each phase",
            units="1",
        ),
        OutputHead(
            name="state_scale", shape=(3, p), meaning="Laplace scale of each state (aleatoric)", units="1"
        ),
        OutputHead(
            name="state_spread",
            shape=(3, p),
            meaning="standard deviation of each state between members",
            units="1",
        ),
        OutputHead(
            name="distance",
            shape=(),
            meaning="Mahalanobis distance of the features from training patterns over sqrt(dimensions)",
            units="1",
        ),
    )


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the graph needs besides the weights.

    Attributes
    ----------
    centre : ndarray of float32, shape (members * features,)
        Mean of the features over patterns the model is meant for.
    whiten : ndarray of float32, shape (members * features, r)
        Matrix that gives the centred features unit covariance.
    state_mean, state_span : ndarray of float32, shape (3, p)
        Mean and standard deviation of each phase's states in the training library.
    """

    centre: npt.NDArray[np.float32]
    whiten: npt.NDArray[np.float32]
    state_mean: npt.NDArray[np.float32]
    state_span: npt.NDArray[np.float32]


class Graph:
    """Collects the nodes and initialisers."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        """Add an initialiser; return its name."""
        from onnx import numpy_helper

        self.tensors.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def half(self, name: str, value: npt.NDArray[np.float32]) -> str:
        """Store as float16, cast once (constant folding does it at load)."""
        stored = self.constant(f"{name}_half", value.astype(np.float16))
        return self.node("Cast", [stored], name, to=1)

    def node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node; return its output's name."""
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def silu(self, value: str) -> str:
        """Add x * sigmoid(x); return its output's name."""
        return self.node("Mul", [value, self.node("Sigmoid", [value], f"{value}_gate")], f"{value}_silu")

    def cut(self, value: str, start: int, stop: int, output: str, axis: int = -1) -> str:
        """Slice one axis (the last)."""
        ends = [
            self.constant(f"{output}_{k}", np.array([v]))
            for k, v in (("from", start), ("to", stop), ("axis", axis))
        ]
        return self.node("Slice", [value, *ends], output)


def to_onnx(ensemble: Ensemble, statistics: Statistics) -> bytes:
    """Build the model file, without its card.

    Parameters
    ----------
    ensemble : Ensemble
        Trained members.
    statistics : Statistics
        Features of usual patterns and spans of the states.

    Returns
    -------
    bytes
        An ONNX ModelProto; the same ensemble gives the same bytes.
    """
    from onnx import TensorProto, checker, helper

    graph = Graph()
    points = ensemble.first.in_features
    heads, features = trunk(graph, ensemble)
    _outputs(graph, heads, ensemble.members, ensemble.layout)
    _states(graph, heads, ensemble.members, ensemble.layout, statistics)
    distance(graph, features, statistics.centre, statistics.whiten)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", points])]
    outputs = [
        helper.make_tensor_value_info(o.name, TensorProto.FLOAT, ["batch", *o.shape])
        for o in output_heads(ensemble.layout.phases)
    ]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "phase_map", inputs, outputs, graph.tensors),
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="streamproc",
        ir_version=9,
    )
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _array(tensor: torch.Tensor) -> npt.NDArray[np.float32]:
    return np.asarray(tensor.detach().cpu().numpy(), np.float32)


def trunk(graph: Graph, ensemble: Ensemble) -> tuple[str, str]:
    """Add the layers, return heads and features; the input scaling 4 x - 1/2 goes into the first one."""
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


def over_members(graph: Graph, values: str, members: int, mean: str, spread: str) -> None:
    """Add mean and unbiased standard deviation over members (the first axis)."""
    over = graph.constant(f"{mean}_axis", np.array([0]))
    graph.node("ReduceMean", [values, over], mean, keepdims=0)
    deviation = graph.node("Sub", [values, mean], f"{mean}_deviation")
    square = graph.node("Mul", [deviation, deviation], f"{mean}_square")
    variance = graph.node("ReduceMean", [square, over], f"{mean}_variance", keepdims=0)
    correction = graph.constant(f"{mean}_bessel", np.array(members / max(1, members - 1), np.float32))
    graph.node("Sqrt", [graph.node("Mul", [variance, correction], f"{mean}_unbiased")], spread)


def scales(graph: Graph, heads: str, where: slice, output: str) -> str:
    """Add the mean over members of the exponential of clipped log-scales."""
    low = graph.constant(f"{output}_low", np.array(-6.5, np.float32))
    high = graph.constant(f"{output}_high", np.array(0.5, np.float32))
    raw = graph.cut(heads, where.start, where.stop, f"{output}_log")
    clipped = graph.node("Clip", [raw, low, high], f"{output}_clipped")
    over = graph.constant(f"{output}_axis", np.array([0]))
    return graph.node("ReduceMean", [graph.node("Exp", [clipped], f"{output}_all"), over], output, keepdims=0)


def _outputs(graph: Graph, heads: str, members: int, layout: Layout) -> None:
    """Values between 0 and 1, their means and spreads over members, mean scales, presence."""
    p = layout.phases
    phases = graph.node("Softmax", [graph.cut(heads, 0, p, "logits")], "phases", axis=-1)
    gates = graph.cut(heads, layout.gates.start, layout.gates.stop, "gates")
    values = graph.node("Concat", [phases, graph.node("Sigmoid", [gates], "others")], "values", axis=-1)
    over_members(graph, values, members, "mean", "spread")
    scales(graph, heads, layout.log_scale, "scale")
    graph.cut("mean", 0, p, "fractions")
    one = graph.constant("squeeze_axis", np.array([1]))
    graph.node("Squeeze", [graph.cut("mean", p, p + 1, "unknown_column"), one], "unknown")
    graph.node("Squeeze", [graph.cut("mean", p + 1, p + 2, "amorphous_column"), one], "amorphous")
    logits = graph.cut(heads, layout.presence.start, layout.presence.stop, "presence_logits")
    over = graph.constant("presence_axis", np.array([0]))
    graph.node("ReduceMean", [graph.node("Sigmoid", [logits], "presences"), over], "presence", keepdims=0)


def _states(graph: Graph, heads: str, members: int, layout: Layout, statistics: Statistics) -> None:
    """Strain, size and texture in their own units, shape (b, 3, p)."""
    p = layout.phases
    span = graph.constant("state_span", statistics.state_span.reshape(3, p))
    mean = graph.constant("state_mean", statistics.state_mean.reshape(3, p))
    shape = graph.constant("state_shape", np.array([0, 3, p]))
    values = graph.cut(heads, layout.states.start, layout.states.stop, "state_all")
    over_members(graph, values, members, "state_flat", "state_spread_flat")
    scales(graph, heads, layout.state_log_scale, "state_scale_flat")
    for flat, output in (
        ("state_flat", "state_unit"),
        ("state_spread_flat", "state_spread_unit"),
        ("state_scale_flat", "state_scale_unit"),
    ):
        graph.node("Reshape", [flat, shape], output)
    scaled = graph.node("Mul", ["state_unit", span], "state_scaled")
    graph.node("Add", [scaled, mean], "state")
    graph.node("Mul", ["state_spread_unit", span], "state_spread")
    graph.node("Mul", ["state_scale_unit", span], "state_scale")


def distance(
    graph: Graph, features: str, centre: npt.NDArray[np.float32], whiten: npt.NDArray[np.float32]
) -> None:
    """Add the Mahalanobis distance over the square root of the number of dimensions."""
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
