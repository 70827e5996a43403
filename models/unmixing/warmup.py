"""Compile what takes patterns apart before the first one comes."""

from __future__ import annotations

import numpy as np
from streamproc.models.unmixing.unmixer import Unmixer, UnmixerSettings

__all__ = ["warm_up"]

_CHANNELS, _PATTERNS = 64, 10


def warm_up() -> None:
    """Take patterns of two components apart, so that no live one waits for what is compiled at first use."""
    x = np.linspace(0.0, 1.0, _CHANNELS)
    one, other = np.exp(-(((x - 0.3) / 0.05) ** 2)), np.exp(-(((x - 0.7) / 0.05) ** 2))
    unmixer = Unmixer(_CHANNELS, UnmixerSettings(most_components=2, runs=2))
    for k in range(_PATTERNS):
        share = k / (_PATTERNS - 1)
        unmixer.add(1.0 + 100.0 * ((1 - share) * one + share * other), (float(k),))
