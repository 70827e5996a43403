"""Quintic B-splines, compiled."""

from __future__ import annotations

from streamproc.compiling import machine_code

__all__ = ["splines"]

_FIFTH, _FOURTH = 1 / 120, 1 / 24
"""One over the factorials of 5 and 4; a processor multiplies several times as fast as it divides."""


@machine_code(error_model="numpy")
def splines(t: float) -> tuple[float, ...]:
    """Quintic B-splines at ``t + m``, m = 0..5, then their slopes, as polynomials in t."""
    a, b = t, 1.0 - t
    a2, b2 = a * a, b * b
    a4, b4 = a2 * a2, b2 * b2
    return (
        a4 * a * _FIFTH,
        (((((-5 * a + 5) * a + 10) * a + 10) * a + 5) * a + 1) * _FIFTH,
        (((((10 * a - 20) * a - 20) * a + 20) * a + 50) * a + 26) * _FIFTH,
        (((-10 * a + 30) * a2 - 60) * a2 + 66) * _FIFTH,
        (((((5 * a - 20) * a + 20) * a + 20) * a - 50) * a + 26) * _FIFTH,
        b4 * b * _FIFTH,
        a4 * _FOURTH,
        ((((-5 * a + 4) * a + 6) * a + 4) * a + 1) * _FOURTH,
        ((((10 * a - 16) * a - 12) * a + 8) * a + 10) * _FOURTH,
        ((-10 * a + 24) * a2 - 24) * a * _FOURTH,
        ((((5 * a - 16) * a + 12) * a + 8) * a - 10) * _FOURTH,
        -b4 * _FOURTH,
    )
