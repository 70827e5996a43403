"""Write the trained network as one ONNX graph."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.oscillators.network import HIGH, LOW, Network
from streamproc.models.excitations.oscillators.parameters import MOST_MODES
from streamproc.models.excitations.oscillators.slots import CENTRES, SLOTS, output_heads
from streamproc.models.networks.graph import Graph, distance, over_members, scales, trunk

__all__ = ["to_onnx"]


def to_onnx(network: Network, centre: npt.NDArray[np.float32], whiten: npt.NDArray[np.float32]) -> bytes:
    """Build the model file, without its card.

    Parameters
    ----------
    network : Network
        Trained members.
    centre, whiten : ndarray of float32
        Features of usual spectra (:func:`feature_statistics`).

    Returns
    -------
    bytes
        An ONNX ModelProto; the same network gives the same bytes.
    """
    graph, k, bins = Graph(), MOST_MODES + 1, SLOTS * len(CENTRES)
    heads, features = trunk(graph, network)
    first = graph.constant("members_axis", np.array([0]))
    chances = graph.node("Softmax", [graph.cut(heads, 0, k, "number_logits")], "numbers", axis=-1)
    graph.node("ReduceMean", [chances, first], "number", keepdims=0)
    values = k + bins
    found = graph.node(
        "Concat", [_positions(graph, heads, k, bins), graph.cut(heads, values, values + 2 * SLOTS, "logs")],
        "found", axis=-1,
    )  # fmt: skip
    over_members(graph, found, network.members, "found_mean", "found_spread")
    graph.cut("found_mean", 0, SLOTS, "position")
    _rows(graph, graph.cut("found_mean", SLOTS, 3 * SLOTS, "value_flat"), 2, "value")
    _rows(graph, "found_spread", 3, "spread")
    last = slice(values + 2 * SLOTS, values + 5 * SLOTS)
    _rows(graph, scales(graph, heads, last, "scale_flat", LOW, HIGH), 3, "scale")
    distance(graph, features, centre, whiten)
    return graph.model("oscillators", network.first.in_features, output_heads())


def _positions(graph: Graph, heads: str, start: int, bins: int) -> str:
    """Mean position of each slot under its distribution over bins."""
    logits = graph.cut(heads, start, start + bins, "position_logits")
    shape = graph.constant("position_shape", np.array([0, 0, SLOTS, len(CENTRES)]))
    spread = graph.node(
        "Softmax", [graph.node("Reshape", [logits, shape], "position_bins")], "position_share", axis=-1
    )
    centres = graph.constant("position_centres", CENTRES.astype(np.float32)[:, None])
    mean = graph.node("MatMul", [spread, centres], "position_mean")
    return graph.node("Squeeze", [mean, graph.constant("position_last", np.array([3]))], "positions")


def _rows(graph: Graph, flat: str, rows: int, output: str) -> str:
    shape = graph.constant(f"{output}_shape", np.array([0, rows, SLOTS]))
    return graph.node("Reshape", [flat, shape], output)
