"""Where the network's answers for one, two, three and four modes are kept."""

from __future__ import annotations

from dataclasses import dataclass

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
    outputs: dict[str, npt.NDArray[np.float32]], row: int, number: int, top: float, fwhm: float
) -> Guess:
    """Read the answer for a number of modes.

    Parameters
    ----------
    outputs : dict of str to ndarray
        What the graph said.
    row : int
        Which spectrum.
    number : int
        Modes, 0 to 4.
    top, fwhm : float
        Upper end of the axis, width of the resolution.
    """
    slots = slice(first_slot(number), first_slot(number) + number)
    position = outputs["position"][row, slots].astype(float) * top
    width = 10.0 ** outputs["value"][row, 0, slots].astype(float) * fwhm
    amplitude = 10.0 ** outputs["value"][row, 1, slots].astype(float) * fwhm
    sigma = np.hypot(outputs["scale"][row, :, slots], outputs["spread"][row, :, slots]).astype(float)
    units = np.array([top, np.log(10.0), np.log(10.0)])[:, None]
    modes = tuple(Mode(*map(float, m)) for m in zip(position, width, amplitude, strict=True))
    return Guess(float(outputs["number"][row, number]), modes, (sigma * units).T)
