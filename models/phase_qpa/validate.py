"""Measured patterns with weighed compositions: what a trained model is scored on besides simulations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from streamproc.errors import ConfigurationError

__all__ = ["WEIGHED", "MeasuredPattern", "measured_patterns", "read_columns"]

WEIGHED: dict[str, tuple[float, float, float, float]] = {
    "cpd-1a": (0.0115, 0.0404, 0.9481, 0.0),
    "cpd-1c": (0.0504, 0.9359, 0.0136, 0.0),
    "cpd-1e": (0.5512, 0.1525, 0.2962, 0.0),
    "cpd-1g": (0.3137, 0.3421, 0.3442, 0.0),
    "corundum": (1.0, 0.0, 0.0, 0.0),
    "zincite": (0.0, 1.0, 0.0, 0.0),
    "fluorite": (0.0, 0.0, 1.0, 0.0),
    "brucite": (0.0, 0.0, 0.0, 1.0),
}
"""Weight fractions of corundum, zincite, fluorite, brucite (Madsen et al. 2001, J. Appl. Cryst. 34, 409)."""


@dataclass(frozen=True, slots=True)
class MeasuredPattern:
    """A measured pattern and its weighed composition."""

    name: str
    two_theta_deg: npt.NDArray[np.float64]
    intensity: npt.NDArray[np.float64]
    fractions: tuple[float, float, float, float]


def read_columns(file: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Read the first two columns of a text file (axis, intensity); empty lines are skipped."""
    rows = [line.replace(",", " ").split() for line in file.read_text().splitlines()]
    table = np.array([[float(row[0]), float(row[1])] for row in rows if len(row) >= 2])
    return table[:, 0], table[:, 1]


def measured_patterns(folder: Path) -> list[MeasuredPattern]:
    """Read the round-robin patterns (``NAME.prn``) found in a folder.

    Raises
    ------
    ConfigurationError
        When there is none.
    """
    found = []
    for name, fractions in WEIGHED.items():
        if (file := folder / f"{name}.prn").is_file():
            found.append(MeasuredPattern(name, *read_columns(file), fractions))
    if not found:
        raise ConfigurationError(
            f"{folder}: none of {', '.join(f'{n}.prn' for n in WEIGHED)} is in this folder"
        )
    return found
