"""The network: columns through one shared encoder, sums over columns, a Gaussian with full covariance."""

from __future__ import annotations

import torch
from streamproc.models.excitations.maps.inputs import Layout
from torch import nn

__all__ = ["ColumnEnsemble", "Posterior", "nll"]

_LOG_LOW, _LOG_HIGH = -6.0, 0.5
_ABSENT = 1e4


class ColumnEnsemble(nn.Module):  # type: ignore[misc]  # torch has no types here
    """``members`` networks side by side as batched products.

    Each encodes every column with the same weights, pools (a softmax over columns for each feature, and the mean),
    tells all columns what was pooled, and pools again: deep sets (Zaheer 2017) with one exchange.

    Parameters
    ----------
    layout : Layout
        Of the input.
    parameters : int
        Free parameters p.
    members, hidden, features : int
        Number of members, width of the layers, width of the last one.
    """

    def __init__(self, layout: Layout, parameters: int, members: int, hidden: int, features: int) -> None:
        super().__init__()
        self.layout, self.parameters_, self.members = layout, parameters, members
        p, h = parameters, hidden
        self.outputs = p + p * (p + 1) // 2
        self.first, self.first_bias = self._layer(layout.per_column, h)
        self.second, self.second_bias = self._layer(h, h)
        self.gate, self.gate_bias = self._layer(h, h)
        self.common, self.common_bias = self._layer(2 * layout.channels, h)
        self.told, self.told_bias = self._layer(3 * h + 1, h)
        self.third, self.third_bias = self._layer(h, h)
        self.fourth, self.fourth_bias = self._layer(h, h)
        self.gate2, self.gate2_bias = self._layer(h, h)
        self.last, self.last_bias = self._layer(3 * h, features)
        self.head, self.head_bias = self._layer(features, self.outputs)

    def _layer(self, width: int, to: int) -> tuple[nn.Parameter, nn.Parameter]:
        weight = torch.randn(self.members, width, to) * (1.6 / width) ** 0.5
        return nn.Parameter(weight), nn.Parameter(torch.zeros(self.members, 1, to))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return heads (members, b, outputs) and features (members, b, features)."""
        layout, k = self.layout, self.members
        cut = layout.columns * layout.per_column
        columns = x[:, :cut].reshape(1, -1, layout.per_column)
        there = x[:, :cut].reshape(-1, layout.columns, layout.per_column)[..., -1:]
        y = nn.functional.silu(torch.matmul(columns, self.first) + self.first_bias)
        y = nn.functional.silu(torch.matmul(y, self.second) + self.second_bias)
        weighed, mean = self._pool(y, there, self.gate, self.gate_bias)
        common = torch.matmul(x[None, :, cut:], self.common) + self.common_bias
        number = (there.sum(1) + 1).log()[None].expand(k, -1, -1)
        told = torch.cat([weighed, mean, nn.functional.silu(common), number], -1)
        told = torch.matmul(told, self.told) + self.told_bias
        z = torch.matmul(y, self.third) + self.third_bias
        z = z.reshape(k, -1, layout.columns, z.shape[-1]) + told[:, :, None, :]
        z = nn.functional.silu(z).reshape(k, -1, z.shape[-1])
        z = y + nn.functional.silu(torch.matmul(z, self.fourth) + self.fourth_bias)
        pooled = torch.cat([*self._pool(z, there, self.gate2, self.gate2_bias), nn.functional.silu(told)], -1)
        features = nn.functional.silu(torch.matmul(pooled, self.last) + self.last_bias)
        return torch.matmul(features, self.head) + self.head_bias, features

    def _pool(
        self, y: torch.Tensor, there: torch.Tensor, gate: torch.Tensor, bias: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        k, h = self.members, y.shape[-1]
        logits = (torch.matmul(y, gate) + bias).reshape(k, -1, self.layout.columns, h)
        y = y.reshape(k, -1, self.layout.columns, h)
        weights = torch.softmax(logits - _ABSENT * (1 - there)[None], 2)
        mean = (y * there[None]).sum(2) / there.sum(1).clamp(min=1)[None]
        return (weights * y).sum(2), mean


class Posterior(nn.Module):  # type: ignore[misc]
    """What ships: the ensemble's mean and covariances, and how unusual the features are.

    Parameters
    ----------
    ensemble : ColumnEnsemble
        Trained.
    centre, whiten : Tensor
        Mean of all members' features, and the matrix that gives them unit covariance.
    """

    def __init__(self, ensemble: ColumnEnsemble, centre: torch.Tensor, whiten: torch.Tensor) -> None:
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
