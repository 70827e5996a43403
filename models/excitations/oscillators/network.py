"""The network: number of modes, and for each number where they are, how wide and how strong (torch)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from streamproc.models.excitations.oscillators.instruments import Library
from streamproc.models.excitations.oscillators.mixtures import Batch
from streamproc.models.excitations.oscillators.parameters import MOST_MODES
from streamproc.models.excitations.oscillators.prepare import CONDITIONS, GRID
from streamproc.models.excitations.oscillators.slots import CENTRES, SLOTS, first_slot
from streamproc.models.networks.ensemble import FoldedEnsemble
from torch import nn

__all__ = ["HIGH", "LOW", "Network", "Targets", "loss_of", "targets_of"]

LOW, HIGH = -7.0, 1.0
"""Limits of the log-scales."""


class Network(FoldedEnsemble):
    """Members read spectra; in order of their outputs: number, positions, widths, amplitudes, log-scales.

    Parameters
    ----------
    hidden, features, members : int
        Hidden width, width of the last layer, number of members.
    """

    def __init__(self, hidden: int, features: int, members: int) -> None:
        width = MOST_MODES + 1 + SLOTS * len(CENTRES) + 5 * SLOTS
        super().__init__(GRID + len(CONDITIONS), hidden, features, members, width)


def parts(heads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Split heads (members, b, width).

    Returns
    -------
    number : Tensor, shape (members, b, 5)
        Logits.
    position : Tensor, shape (members, b, SLOTS, bins)
        Logits.
    value : Tensor, shape (members, b, 2, SLOTS)
        log10 of width and amplitude.
    log_scale : Tensor, shape (members, b, 3, SLOTS)
        Of position, width, amplitude.
    """
    m, b, _ = heads.shape
    k, bins = MOST_MODES + 1, SLOTS * len(CENTRES)
    number, position, rest = heads[..., :k], heads[..., k : k + bins], heads[..., k + bins :]
    value, scale = rest[..., : 2 * SLOTS], rest[..., 2 * SLOTS :]
    return (
        number,
        position.reshape(m, b, SLOTS, -1),
        value.reshape(m, b, 2, SLOTS),
        scale.reshape(m, b, 3, SLOTS).clamp(LOW, HIGH),
    )


@dataclass(frozen=True, slots=True)
class Targets:
    """What the network should say.

    Attributes
    ----------
    number : Tensor of int, shape (b,)
    value : Tensor, shape (b, 3, SLOTS)
        Position over the axis' upper end, log10 of width, of amplitude.
    used : Tensor, shape (b, SLOTS)
        1 for the slots of the true number.
    """

    number: torch.Tensor
    value: torch.Tensor
    used: torch.Tensor


def targets_of(batch: Batch, library: Library) -> Targets:
    """Lay true modes into the slots of their number."""
    top = library.energy[batch.row, library.points[batch.row] - 1]
    value, used = np.zeros((len(top), 3, SLOTS), np.float32), np.zeros((len(top), SLOTS), np.float32)
    for number in range(1, MOST_MODES + 1):
        rows = np.flatnonzero(batch.number == number)
        slots = first_slot(number) + np.arange(number)
        modes = batch.modes[rows, :number]
        laid = [modes[..., 0] / top[rows, None], np.log10(modes[..., 1]), np.log10(modes[..., 2])]
        value[rows[:, None, None], np.arange(3)[:, None], slots] = np.stack(laid, 1)
        used[rows[:, None], slots] = 1.0
    return Targets(torch.from_numpy(batch.number), torch.from_numpy(value), torch.from_numpy(used))


def loss_of(heads: torch.Tensor, targets: Targets) -> torch.Tensor:
    """Cross-entropy of number and position, Laplace likelihoods of all values; mean over batch, members."""
    number, position, value, log_scale = parts(heads)
    members = len(number)
    entropy = nn.functional.cross_entropy(number.flatten(0, 1), targets.number.repeat(members))
    logs = torch.log_softmax(position, -1)
    centres = torch.as_tensor(CENTRES, dtype=heads.dtype)
    where = (logs.exp() * centres).sum(-1)
    # label shared between the two nearest bins, so that its mean is the true position
    near = 1 - (targets.value[:, 0, :, None] - centres).abs() / (CENTRES[1] - CENTRES[0])
    located = -(logs * near.clamp(min=0)).sum(-1)
    found = torch.cat([where[:, :, None], value], 2)
    laplace = (found - targets.value).abs() * torch.exp(-log_scale) + log_scale
    weights = torch.tensor([0.5, 0.3, 0.2])[:, None]
    per_slot = 0.7 * located + (laplace * weights).sum(2)
    return entropy + (per_slot * targets.used).sum() / (members * targets.used.sum().clamp(min=1))
