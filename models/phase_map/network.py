"""The network: an ensemble of dense members folded into one graph (torch)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

__all__ = ["HEADS", "QUANTITIES", "Ensemble", "member_loss", "split"]

QUANTITIES = 6
"""Four fractions, unknown, amorphous: each has a value and a scale."""

HEADS = 4 + QUANTITIES + 2


class Ensemble(nn.Module):  # type: ignore[misc]  # torch has no types here
    """``members`` networks side by side: first layers concatenated, later ones as batched products.

    Parameters
    ----------
    points, hidden, features, members : int
        Input points, hidden width, width of the last layer (the features), number of members.
    """

    def __init__(self, points: int, hidden: int, features: int, members: int) -> None:
        super().__init__()
        self.members = members
        self.first = nn.Linear(points, members * hidden)
        widths = (hidden, hidden, features, HEADS)
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(members, a, b) * (1.6 / a) ** 0.5) for a, b in pairwise(widths)
        )
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(members, 1, b)) for b in widths[1:])
        nn.init.normal_(self.first.weight, std=(2.0 / points) ** 0.5)
        nn.init.zeros_(self.first.bias)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return heads (members, b, 12) and features (members, b, features)."""
        batch = x.shape[0]
        y = self.first(4 * x - 0.5)
        y = nn.functional.silu(y).reshape(batch, self.members, -1).transpose(0, 1)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            y = nn.functional.silu(torch.matmul(y, weight) + bias)
        return torch.matmul(y, self.weights[-1]) + self.biases[-1], y


def split(heads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return values (..., 6) between 0 and 1 and log-scales (..., 6)."""
    values = torch.cat([torch.softmax(heads[..., :4], -1), torch.sigmoid(heads[..., 4:6])], -1)
    return values, heads[..., 6:].clamp(-6.5, 0.5)


def member_loss(heads: torch.Tensor, truth: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Laplace negative log-likelihood, plus absolute error of fractions and cross-entropy of shares.

    Cross-entropy aims unknown and amorphous at their mean, so that a doubt shows; their median would stay at
    zero until a foreign line is certain. Summed over members.

    Parameters
    ----------
    heads : Tensor, shape (members, b, 12)
        Raw outputs.
    truth, weight : Tensor, shape (b, 6)
        True values and their weights (zero where a value has no meaning).
    """
    values, log_scale = split(heads)
    error = (values - truth).abs()
    likelihood = error * torch.exp(-log_scale) + log_scale
    shares = nn.functional.binary_cross_entropy_with_logits(
        heads[..., 4:6], truth[:, 4:].expand(len(heads), -1, -1), reduction="none"
    )
    total = (0.1 * likelihood * weight).sum() + (3.0 * error * weight)[..., :4].sum()
    return (total + 2.0 * (shares * weight[:, 4:]).sum()) / truth.shape[0]
