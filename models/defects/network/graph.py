"""The network's outputs, its loss, and the ONNX graph; trunk and helpers are those of all models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from streamproc.models.networks.ensemble import FoldedEnsemble
from streamproc.models.networks.graph import Graph, distance, over_members, scales, trunk

from streamproc.inference.card import OutputHead

__all__ = ["DefectEnsemble", "Layout", "Spans", "loss_of", "output_heads", "to_onnx"]

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


class DefectEnsemble(FoldedEnsemble):
    """Members that read ``targets`` quantities from ``points`` values (0 to 1 with the usual ``gain``)."""

    def __init__(
        self, points: int, hidden: int, features: int, members: int, targets: int,
        gain: float = 4.0, offset: float = -0.5,
    ) -> None:  # fmt: skip
        layout = Layout(targets)
        super().__init__(points, hidden, features, members, layout.width, gain=gain, offset=offset)
        self.layout = layout


@dataclass(frozen=True, slots=True)
class Spans:
    """Mean and span of each target, and what whitens the features.

    Attributes
    ----------
    mean, span : ndarray of float32, shape (k,)
        Of the targets in training.
    centre, whiten : ndarray of float32
        Of the features, as :func:`~streamproc.models.networks.ensemble.feature_statistics` gives them.
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


def output_heads(
    names: tuple[str, ...], units: str = "1; densities 1/m^2, sizes nm, B A^2"
) -> tuple[OutputHead, ...]:
    """Return the graph's outputs, batch first."""
    k, listed = len(names), ", ".join(names)
    return (
        OutputHead(name="values", shape=(k,), meaning=listed, units=units),
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


def to_onnx(
    ensemble: DefectEnsemble, spans: Spans, outputs: tuple[OutputHead, ...], name: str = "defects"
) -> bytes:
    """Build the model file, without its card; the same ensemble gives the same bytes."""
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
    return graph.model(name, ensemble.first.in_features, outputs)
