"""The network: an ensemble of dense members with a Gaussian of full covariance for a head."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

__all__ = ["Ensemble", "Posterior", "nll"]

_LOG_LOW, _LOG_HIGH = -6.0, 0.5


class Ensemble(nn.Module):  # type: ignore[misc]  # torch has no types here
    """``members`` networks side by side, as batched products.

    Parameters
    ----------
    width, guess : int
        Of the input, and where in it the p numbers begin to which the network adds its corrections.
    parameters : int
        Free parameters p.
    members, hidden, features : int
        Number of members, width of the layers, width of the last one.
    """

    def __init__(
        self, width: int, guess: int, parameters: int, members: int, hidden: int, features: int
    ) -> None:
        super().__init__()
        self.parameters_, self.members, self.guess = parameters, members, guess
        outputs = parameters + parameters * (parameters + 1) // 2
        widths = (width, hidden, hidden, features, outputs)
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(members, a, b) * (1.6 / a) ** 0.5) for a, b in pairwise(widths)
        )
        with torch.no_grad():
            self.weights[-1] *= 0.1
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(members, 1, b)) for b in widths[1:])

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return heads (members, b, outputs) and features (members, b, features)."""
        y = x[None]
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            y = nn.functional.silu(torch.matmul(y, weight) + bias)
        heads = torch.matmul(y, self.weights[-1]) + self.biases[-1]
        guess = x[None, :, self.guess : self.guess + self.parameters_]
        rest = heads[..., self.parameters_ :]
        return torch.cat([heads[..., : self.parameters_] + guess, rest], -1), y


class Posterior(nn.Module):  # type: ignore[misc]
    """What ships: the ensemble's mean and covariances, and how unusual the features are.

    Parameters
    ----------
    ensemble : Ensemble
        Trained.
    centre, whiten : Tensor
        Mean of all members' features, and the matrix that gives them unit covariance.
    """

    def __init__(self, ensemble: Ensemble, centre: torch.Tensor, whiten: torch.Tensor) -> None:
        super().__init__()
        self.ensemble = ensemble
        self.register_buffer("centre", centre)
        self.register_buffer("whiten", whiten)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return mean (b, p), covariance (b, p, p), covariance between members (b, p, p), distance (b,)."""
        heads, features = self.ensemble(x)
        p = self.ensemble.parameters_
        means, factor = heads[..., :p], lower(heads[..., p:], p)
        covariance = torch.matmul(factor, factor.transpose(-1, -2)).mean(0)
        mean = means.mean(0)
        away = (means - mean[None]).permute(1, 2, 0)
        spread = torch.matmul(away, away.transpose(-1, -2)) / max(1, self.ensemble.members - 1)
        flat = features.permute(1, 0, 2).reshape(x.shape[0], -1)
        white = torch.matmul(flat - self.centre, self.whiten)
        distance = (white * white).mean(1).sqrt()
        return mean, covariance, spread, distance


def lower(numbers: torch.Tensor, p: int) -> torch.Tensor:
    """Return the Cholesky factor of the covariance: exponentials on the diagonal, plain numbers below it."""
    rows = []
    for i in range(p):
        diagonal = torch.exp(numbers[..., i : i + 1].clamp(_LOG_LOW, _LOG_HIGH))
        start = p + i * (i - 1) // 2
        parts = [numbers[..., start : start + i] * diagonal, diagonal]
        rows.append(nn.functional.pad(torch.cat(parts, -1), (0, p - 1 - i)))
    return torch.stack(rows, -2)


def nll(heads: torch.Tensor, unit: torch.Tensor, p: int) -> torch.Tensor:
    """Gaussian negative log-likelihood with full covariance; summed over members, mean over the batch."""
    factor = lower(heads[..., p:], p)
    error = (unit[None] - heads[..., :p])[..., None]
    white = torch.linalg.solve_triangular(factor, error, upper=False)[..., 0]
    logs = torch.diagonal(factor, dim1=-2, dim2=-1).log()
    return (0.5 * white.square() + logs).sum(-1).mean(-1).sum()
