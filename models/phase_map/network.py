"""The network: an ensemble of dense members folded into one graph (torch)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from streamproc.models.networks.ensemble import FoldedEnsemble
from torch import nn

__all__ = ["STATES", "Ensemble", "Layout", "Targets", "member_loss", "split"]

STATES = ("strain", "size", "texture")
"""What is read of each phase besides its share: linear lattice strain, ln of size, ln of March-Dollase r."""

_STATE_UNITS = 3
_FEW = 6
"""Of more phases the fractions need cross-entropy: the absolute error of a softmax over many has no slope."""

_LOG_LOW, _LOG_HIGH = -6.5, 0.5


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each quantity lies among a member's outputs.

    Attributes
    ----------
    phases : int
        Number of phases p. In order: p logits of the fractions, p of presence, the gates of unknown and
        amorphous, 3 p states (strains, sizes, textures), p + 2 log-scales of fractions, unknown and
        amorphous, 3 p log-scales of states.
    """

    phases: int

    @property
    def fractions(self) -> slice:
        """Logits of the fractions."""
        return slice(0, self.phases)

    @property
    def presence(self) -> slice:
        """Logits of the presence of each phase."""
        return slice(self.phases, 2 * self.phases)

    @property
    def gates(self) -> slice:
        """Logits of unknown and amorphous."""
        return slice(2 * self.phases, 2 * self.phases + 2)

    @property
    def states(self) -> slice:
        """States in units of their training spans."""
        start = self.gates.stop
        return slice(start, start + _STATE_UNITS * self.phases)

    @property
    def log_scale(self) -> slice:
        """Log-scales of fractions, unknown and amorphous."""
        start = self.states.stop
        return slice(start, start + self.phases + 2)

    @property
    def state_log_scale(self) -> slice:
        """Log-scales of the states."""
        start = self.log_scale.stop
        return slice(start, start + _STATE_UNITS * self.phases)

    @property
    def width(self) -> int:
        """Number of outputs of a member."""
        return self.state_log_scale.stop


class Ensemble(FoldedEnsemble):
    """The members, and where their outputs are.

    Parameters
    ----------
    points, hidden, features, members : int
        Input points, hidden width, width of the last layer (the features), number of members.
    phases : int
        Phases to read.
    """

    def __init__(self, points: int, hidden: int, features: int, members: int, phases: int) -> None:
        layout = Layout(phases)
        super().__init__(points, hidden, features, members, layout.width, gain=4.0, offset=-0.5)
        self.layout = layout


def split(heads: torch.Tensor, layout: Layout) -> tuple[torch.Tensor, torch.Tensor]:
    """Return fractions, unknown and amorphous (..., p + 2) between 0 and 1, and their log-scales."""
    values = torch.cat(
        [torch.softmax(heads[..., layout.fractions], -1), torch.sigmoid(heads[..., layout.gates])], -1
    )
    return values, heads[..., layout.log_scale].clamp(_LOG_LOW, _LOG_HIGH)


@dataclass(frozen=True, slots=True)
class Targets:
    """True values of a batch and how much each counts (0 where a value has no meaning).

    Attributes
    ----------
    shares, share_weight : Tensor, shape (b, p + 2)
        Fractions, unknown, amorphous.
    present, present_weight : Tensor, shape (b, p)
        Whether a phase is there.
    states, state_weight : Tensor, shape (b, 3 p)
        Strain, size, texture in units of their spans.
    """

    shares: torch.Tensor
    share_weight: torch.Tensor
    present: torch.Tensor
    present_weight: torch.Tensor
    states: torch.Tensor
    state_weight: torch.Tensor


def member_loss(heads: torch.Tensor, targets: Targets, layout: Layout) -> torch.Tensor:
    """Laplace negative log-likelihoods, absolute error of fractions, cross-entropy of what is there or not.

    Cross-entropy aims presence, unknown and amorphous at their mean, so that a doubt shows; their median
    would stay at zero until a foreign line is certain. Summed over members, mean over the batch.

    Parameters
    ----------
    heads : Tensor, shape (members, b, layout.width)
        Raw outputs.
    targets : Targets
        What they should have been.
    layout : Layout
        Which output is what.
    """
    p = layout.phases
    values, log_scale = split(heads, layout)
    error = (values - targets.shares).abs()
    total = 0.1 * _laplace(error, log_scale, _less_for_absent(targets, p))
    total = total + (3.0 * error * targets.share_weight)[..., :p].sum()
    if p > _FEW:
        logs = torch.log_softmax(heads[..., layout.fractions], -1)
        total = total - (targets.shares[:, :p] * targets.share_weight[:, :p] * logs).sum()
    total = total + 2.0 * _entropy(
        heads[..., layout.gates], targets.shares[:, p:], targets.share_weight[:, p:]
    )
    total = total + 0.5 * _entropy(heads[..., layout.presence], targets.present, targets.present_weight)
    off = (heads[..., layout.states] - targets.states).abs()
    scales = heads[..., layout.state_log_scale].clamp(_LOG_LOW, _LOG_HIGH)
    total = total + 0.05 * _laplace(off, scales, targets.state_weight)
    total = total + 0.15 * (off * targets.state_weight).sum()
    return total / targets.shares.shape[0]


def _less_for_absent(targets: Targets, p: int) -> torch.Tensor:
    """Of many phases most are absent, and their certain zeros must not drown the rest."""
    absent = (targets.shares[:, :p] == 0).float()
    kept = 1 - absent * (1 - min(1.0, _FEW / p))
    return torch.cat([targets.share_weight[:, :p] * kept, targets.share_weight[:, p:]], 1)


def _laplace(error: torch.Tensor, log_scale: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return ((error * torch.exp(-log_scale) + log_scale) * weight).sum()


def _entropy(logits: torch.Tensor, truth: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    loss = nn.functional.binary_cross_entropy_with_logits(
        logits, truth.expand(len(logits), -1, -1), reduction="none"
    )
    return (loss * weight).sum()
