"""Train the small network that joins signals whose meaning depends on each other (torch)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from streamproc.inference.card import JoinedRule

__all__ = ["fit_joined"]

_MEMBERS, _HIDDEN = 4, 16
_STEPS, _BATCH = 600, 512
_RATE, _DECAY = 0.01, 0.03
_CLIP = 4.0
_DIGITS = 5

Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def fit_joined(
    names: Sequence[str],
    signals: Sequence[Mapping[str, float]],
    truth: npt.NDArray[np.bool_],
    seed: int,
) -> JoinedRule:
    """Fit a rule: the mean of four small networks' logits.

    Parameters
    ----------
    names : sequence of str
        Signals to use.
    signals : sequence of mapping, n long
        Signals of each case.
    truth : ndarray of bool or 0/1, shape (n,)
        What was the case.
    seed : int
        Seed of starts and batches.

    Returns
    -------
    JoinedRule
        The members side by side as one hidden layer.
    """
    raw = np.array([[s[n] for n in names] for s in signals])
    centre, scale = raw.mean(0), np.maximum(raw.std(0), 1e-6)
    x = torch.from_numpy(((raw - centre) / scale).clip(-_CLIP, _CLIP)).float()
    y = torch.from_numpy(np.asarray(truth, np.float32))
    # matrices this small only wait for other threads, on a busy machine up to minutes
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        members = [_member(x, y, seed + k) for k in range(_MEMBERS)]
    finally:
        torch.set_num_threads(threads)
    weights, offset, output, bias = (torch.cat(parts, -1) for parts in zip(*members, strict=True))
    return JoinedRule(
        signals=tuple(names),
        centre=_rounded(centre),
        scale=_rounded(scale),
        clip=_CLIP,
        hidden=tuple(_rounded(row) for row in weights.T.numpy()),
        offset=_rounded(offset.numpy()),
        output=_rounded(output.numpy() / _MEMBERS),
        bias=_rounded(bias.numpy().mean(keepdims=True))[0],
    )


def _member(x: torch.Tensor, y: torch.Tensor, seed: int) -> Tensors:
    """Weights (s, h), offsets (h,), output weights (h,) and bias (1,) of one network."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(scale: float, *shape: int) -> torch.Tensor:
        return (scale * torch.randn(*shape, generator=generator)).requires_grad_()

    weights, offset = drawn(0.3, x.shape[1], _HIDDEN), drawn(0.5, _HIDDEN)
    output, bias = drawn(0.3, _HIDDEN), torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.AdamW([weights, offset, output, bias], lr=_RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, _STEPS)
    loss_of = torch.nn.BCEWithLogitsLoss()
    for _ in range(_STEPS):
        rows = torch.randint(len(x), (_BATCH,), generator=generator)
        logits = torch.tanh(x[rows] @ weights + offset) @ output + bias
        optimiser.zero_grad()
        loss_of(logits, y[rows]).backward()
        optimiser.step()
        schedule.step()
    return weights.detach(), offset.detach(), output.detach(), bias.detach()


def _rounded(values: npt.NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(f"{v:.{_DIGITS}g}") for v in values)
