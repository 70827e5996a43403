"""Where the network's answers for one, two, three and four modes are kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.oscillators.parameters import MOST_MODES, Mode

from streamproc.inference.card import OutputHead

__all__ = ["CENTRES", "SLOTS", "Guess", "first_slot", "guess_of", "output_heads"]

SLOTS = MOST_MODES * (MOST_MODES + 1) // 2
"""One mode for number 1, two for number 2, ...: each number has answers of its own."""

CENTRES = np.linspace(0.0, 1.0, 41)
"""Positions are read as a mean over these, in units of the axis' upper end."""


def first_slot(number: int) -> int:
    """Return the first slot of a number of modes."""
    return number * (number - 1) // 2


def output_heads() -> tuple[OutputHead, ...]:
    """Return the graph's outputs, batch first."""
    each = "in the slots of 1, 2, 3, 4 modes"
    return (
        OutputHead(name="number", shape=(MOST_MODES + 1,), meaning="probability of 0 to 4 modes", units="1"),
        OutputHead(
            name="position", shape=(SLOTS,), meaning=f"energy over the axis' upper end, {each}", units="1"
        ),
        OutputHead(
            name="value",
            shape=(2, SLOTS),
            meaning="log10 of width over fwhm, and of amplitude over (one count per point times fwhm)",
            units="1",
        ),
        OutputHead(
            name="scale",
            shape=(3, SLOTS),
            meaning="Laplace scales of position and both values (aleatoric)",
            units="1",
        ),
        OutputHead(
            name="spread",
            shape=(3, SLOTS),
            meaning="standard deviations between members, same order (epistemic)",
            units="1",
        ),
        OutputHead(
            name="distance",
            shape=(),
            meaning="Mahalanobis distance of the features from training spectra over sqrt(dimensions)",
            units="1",
        ),
    )


@dataclass(frozen=True, slots=True)
class Guess:
    """What the network says about one spectrum, for one number of modes.

    Attributes
    ----------
    probability : float
        Of this number of modes.
    modes : tuple of Mode
        In the unit of the axis; amplitudes in counts per point times that unit.
    sigma : ndarray, shape (number, 3)
        Width of each answer (scale and spread together): energy in the unit of the axis, relative width,
        relative amplitude.
    """

    probability: float
    modes: tuple[Mode, ...]
    sigma: npt.NDArray[np.float64]


def guess_of(
    outputs: Mapping[str, npt.NDArray[Any]], row: int, number: int, top: float, fwhm: float
) -> Guess:
    """Read the answer for a number of modes.

    Parameters
    ----------
    outputs : mapping of str to ndarray
        What the graph said.
    row : int
        Which spectrum.
    number : int
        Modes, 0 to 4.
    top, fwhm : float
        Upper end of the axis, width of the resolution.
    """
    slots = slice(first_slot(number), first_slot(number) + number)
    position, value = outputs["position"][row, slots].tolist(), outputs["value"][row, :, slots].tolist()
    scale, spread = outputs["scale"][row, :, slots].tolist(), outputs["spread"][row, :, slots].tolist()
    modes = tuple(
        Mode(at * top, 10.0**width * fwhm, 10.0**amplitude * fwhm)
        for at, width, amplitude in zip(position, *value, strict=True)
    )
    units = (top, math.log(10.0), math.log(10.0))
    sigma = np.empty((number, 3))
    for i, unit in enumerate(units):
        sigma[:, i] = [unit * math.hypot(*pair) for pair in zip(scale[i], spread[i], strict=True)]
    return Guess(float(outputs["number"][row, number]), modes, sigma)
