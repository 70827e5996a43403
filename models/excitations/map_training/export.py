"""The trained ensemble as one ONNX graph, and its card's outputs."""

from __future__ import annotations

import io
import warnings

import torch
from streamproc.models.excitations.map_training.network import Ensemble, Posterior

from streamproc.inference.card import OutputHead

__all__ = ["OPSET", "output_heads", "to_onnx"]

OPSET = 18


def output_heads(p: int) -> tuple[OutputHead, ...]:
    """Return the graph's outputs for p free parameters, batch first."""
    places = "places of the free couplings in their priors, 0 to 1"
    return (
        OutputHead(name="mean", shape=(p,), meaning=f"mean of the {places}", units="1"),
        OutputHead(
            name="covariance", shape=(p, p), meaning="covariance of the places within a member", units="1"
        ),
        OutputHead(
            name="spread", shape=(p, p), meaning="covariance of the members' means (epistemic)", units="1"
        ),
        OutputHead(
            name="distance", shape=(), meaning="root mean square of the whitened features (Mahalanobis)",
            units="1",
        ),
    )  # fmt: skip


def to_onnx(ensemble: Ensemble, centre: torch.Tensor, whiten: torch.Tensor) -> bytes:
    """Build the model file, without its card."""
    posterior = Posterior(ensemble, centre, whiten).eval()
    names = [h.name for h in output_heads(ensemble.parameters_)]
    stream = io.BytesIO()
    # Exported with another batch than 1, so that no shape of the batch is taken for a constant.
    example = torch.zeros(3, ensemble.weights[0].shape[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            posterior, (example,), stream, input_names=["x"], output_names=names, opset_version=OPSET,
            dynamic_axes={n: {0: "batch"} for n in ("x", *names)}, dynamo=False,
        )  # fmt: skip
    return stream.getvalue()
