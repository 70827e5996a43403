"""The network's outputs, its loss, and the ONNX graph; trunk and helpers are those of the phase map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from streamproc.models.phase_map.export import OPSET, Graph, distance, over_members, scales, trunk
from streamproc.models.phase_map.network import Ensemble

from streamproc.inference.card import OutputHead

__all__ = ["Layout", "Spans", "loss_of", "output_heads", "to_onnx"]

_LOW, _HIGH = -6.5, 0.5


@dataclass(frozen=True, slots=True)
class Layout:
    """A member's outputs: k values in units of their training spans, k log-scales."""

    targets: int

    @property
    def width(self) -> int:
        """Number of outputs."""
        return 2 * self.targets

    @property
    def log_scale(self) -> slice:
        """Where the log-scales are."""
        return slice(self.targets, 2 * self.targets)


@dataclass(frozen=True, slots=True)
class Spans:
    """Mean and span of each target, and what whitens the features.

    Attributes
    ----------
    mean, span : ndarray of float32, shape (k,)
        Of the targets in training.
    centre, whiten : ndarray of float32
        Of the features, as in :class:`streamproc.models.phase_map.export.Statistics`.
    """

    mean: npt.NDArray[np.float32]
    span: npt.NDArray[np.float32]
    centre: npt.NDArray[np.float32]
    whiten: npt.NDArray[np.float32]


def loss_of(heads: torch.Tensor, truth: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Return the Laplace negative log-likelihood and the absolute error, summed over members.

    Parameters
    ----------
    heads : Tensor, shape (members, b, 2 k)
        Raw outputs.
    truth : Tensor, shape (b, k)
        Targets in units of their spans.
    layout : Layout
        Which output is what.
    """
    error = (heads[..., : layout.targets] - truth).abs()
    log_scale = heads[..., layout.log_scale].clamp(_LOW, _HIGH)
    return (0.3 * (error * torch.exp(-log_scale) + log_scale) + error).sum() / truth.shape[0]


def output_heads(names: tuple[str, ...]) -> tuple[OutputHead, ...]:
    """Return the graph's outputs, batch first."""
    k, listed = len(names), ", ".join(names)
    return (
        OutputHead(name="values", shape=(k,), meaning=listed, units="1; densities 1/m^2, sizes nm, B A^2"),
        OutputHead(name="scale", shape=(k,), meaning="Laplace scale of each (aleatoric)", units="as values"),
        OutputHead(
            name="spread", shape=(k,), meaning="standard deviation between members", units="as values"
        ),
        OutputHead(
            name="distance",
            shape=(),
            meaning="Mahalanobis distance of the features from training patterns over sqrt(dimensions)",
            units="1",
        ),
    )


def to_onnx(ensemble: Ensemble, spans: Spans, names: tuple[str, ...]) -> bytes:
    """Build the model file, without its card; the same ensemble gives the same bytes."""
    from onnx import TensorProto, checker, helper

    graph, layout = Graph(), ensemble.layout
    heads, features = trunk(graph, ensemble)
    values = graph.cut(heads, 0, layout.targets, "value_all")
    over_members(graph, values, ensemble.members, "value_unit", "spread_unit")
    scales(graph, heads, layout.log_scale, "scale_unit")
    span, mean = graph.constant("span", spans.span), graph.constant("mean", spans.mean)
    graph.node("Add", [graph.node("Mul", ["value_unit", span], "value_scaled"), mean], "values")
    graph.node("Mul", ["spread_unit", span], "spread")
    graph.node("Mul", ["scale_unit", span], "scale")
    distance(graph, features, spans.centre, spans.whiten)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", ensemble.first.in_features])]
    outputs = [
        helper.make_tensor_value_info(o.name, TensorProto.FLOAT, ["batch", *o.shape])
        for o in output_heads(names)
    ]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "defects", inputs, outputs, graph.tensors),
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="streamproc",
        ir_version=9,
    )
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))
