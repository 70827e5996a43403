"""The classical figures of merit of an indexing."""

from __future__ import annotations

import numpy as np
from streamproc.models.powder.indexing.evidence import Fitted
from streamproc.models.powder.indexing.observed import Observed

__all__ = ["merit"]


def merit(fitted: Fitted, lines: Observed, most: int = 20) -> tuple[float, float, int]:
    """Return M_N (de Wolff 1968, J. Appl. Cryst. 1, 108), F_N (Smith & Snyder 1979, ibid. 12, 60), and N.

    N is 20, or the number of explained lines where there are fewer; impurities are passed over. The number of
    possible lines counts the distinct ones of the lattice up to the N-th observed line.
    """
    use = np.flatnonzero(fitted.line_of >= 0)[:most]
    if not use.size:
        return 0.0, 0.0, 0
    predicted = fitted.predicted_deg[fitted.line_of[use]]
    shift = fitted.shift_deg[0] + fitted.shift_deg[1] * np.cos(np.deg2rad(predicted) / 2)
    q_of = (2 * np.sin(np.deg2rad(predicted - shift) / 2) / lines.wavelength_A) ** 2
    q_seen = (2 * np.sin(np.deg2rad(lines.x_deg[use] - shift) / 2) / lines.wavelength_A) ** 2
    off_q = float(np.mean(np.abs(q_seen - q_of)))
    off_deg = float(np.mean(np.abs(lines.x_deg[use] - predicted)))
    possible = int(np.sum(fitted.predicted_deg <= predicted[-1] + 1e-9))
    last = float(q_seen[-1])
    # a spread of zero would be an infinite merit: the last digit of a position is 0.0001 degrees
    floor_deg, floor_q = 1e-4, 1e-4 * float(lines.slope[use].mean())
    return (
        last / (2 * max(off_q, floor_q) * possible),
        use.size / (max(off_deg, floor_deg) * possible),
        int(use.size),
    )
