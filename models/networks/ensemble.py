"""An ensemble of dense members folded into one graph (torch)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

__all__ = ["FoldedEnsemble", "feature_statistics"]

_WHITEN_FLOOR = 1e-3


class FoldedEnsemble(nn.Module):  # type: ignore[misc]  # torch has no types here
    """``members`` networks side by side: first layers concatenated, later ones as batched products.

    Parameters
    ----------
    points, hidden, features, members : int
        Input points, hidden width, width of the last layer (the features), number of members.
    width : int
        Outputs of a member.
    gain, offset : float
        The first layer sees ``gain x + offset``.
    """

    def __init__(
        self, points: int, hidden: int, features: int, members: int, width: int,
        gain: float = 1.0, offset: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.members, self.gain, self.offset = members, gain, offset
        self.first = nn.Linear(points, members * hidden)
        widths = (hidden, hidden, features, width)
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(members, a, b) * (1.6 / a) ** 0.5) for a, b in pairwise(widths)
        )
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(members, 1, b)) for b in widths[1:])
        nn.init.normal_(self.first.weight, std=(2.0 / points) ** 0.5)
        nn.init.zeros_(self.first.bias)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return heads (members, b, width) and features (members, b, features)."""
        batch = x.shape[0]
        y = self.first(self.gain * x + self.offset)
        y = nn.functional.silu(y).reshape(batch, self.members, -1).transpose(0, 1)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            y = nn.functional.silu(torch.matmul(y, weight) + bias)
        return torch.matmul(y, self.weights[-1]) + self.biases[-1], y


def feature_statistics(
    ensemble: FoldedEnsemble, inputs: Iterable[torch.Tensor]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return mean and whitening matrix of the features over inputs that the model is meant for.

    Parameters
    ----------
    ensemble : FoldedEnsemble
        Trained members.
    inputs : iterable of Tensor, shape (b, points)
        Batches.

    Returns
    -------
    centre : ndarray of float32, shape (members * features,)
    whiten : ndarray of float32, shape (members * features, members * features)
    """
    with torch.no_grad():
        parts = [ensemble(x)[1].transpose(0, 1).flatten(1) for x in inputs]
    features: npt.NDArray[Any] = torch.cat(parts).double().numpy()
    values, vectors = np.linalg.eigh(np.cov(features.T))
    floor = _WHITEN_FLOOR * values.max()
    whiten = (vectors / np.sqrt(np.maximum(values, floor))).astype(np.float32)
    return features.mean(0).astype(np.float32), whiten
