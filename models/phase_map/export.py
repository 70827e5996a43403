"""Write the trained ensemble as one ONNX graph: weights stored as float16, computed with as float32."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from streamproc.models.networks.graph import Graph, distance, over_members, scales, trunk
from streamproc.models.phase_map.network import Ensemble, Layout

from streamproc.inference.card import OutputHead

__all__ = ["Statistics", "output_heads", "to_onnx"]


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
    graph = Graph()
    heads, features = trunk(graph, ensemble)
    _outputs(graph, heads, ensemble.members, ensemble.layout)
    _states(graph, heads, ensemble.members, ensemble.layout, statistics)
    distance(graph, features, statistics.centre, statistics.whiten)
    return graph.model("phase_map", ensemble.first.in_features, output_heads(ensemble.layout.phases))


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
