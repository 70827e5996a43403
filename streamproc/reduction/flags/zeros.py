"""How surprising zeros are."""

from __future__ import annotations

import numpy as np

from streamproc.reduction.kernels import compiled

__all__ = ["too_many_zeros"]


@compiled
def _surprise(zeros: float, pixels: float, promised: float) -> float:
    """Bound on -ln of the chance of so many zeros among pixels that are promised so much; 0: no surprise.

    Chernoff's bound of the binomial, exp(-n D(z/n || p)) with the chance of a zero p = exp(-promised / 2):
    half of the promise, because grains and texture make some pixels darker.
    """
    p, share = np.exp(-0.5 * promised), zeros / pixels
    if share <= p or promised <= 0.0:
        return 0.0
    surprise = share * (np.log(share) + 0.5 * promised)
    if share < 1.0:
        surprise += (1.0 - share) * np.log((1.0 - share) / (1.0 - p))
    return float(pixels * surprise)


@compiled
def too_many_zeros(zeros: int, pixels: int, counts: float, promised: float, least: float) -> bool:
    """Eight pixels or more of a piece are zero beside others that hold what is promised.

    How many zeros chance makes is reckoned with what the dimmest ring promises: between lines there are many.
    """
    if zeros < 8 or counts < 0.6 * promised * (pixels - zeros):
        return False
    return bool(_surprise(zeros, pixels, least) > 25.0)
