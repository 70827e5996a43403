"""Compile what fits of spectra call, before the first one waits for it."""

from __future__ import annotations

import numpy as np
from streamproc.models.excitations.oscillators.fit import bounds_for, fit
from streamproc.models.excitations.oscillators.forward import Forward
from streamproc.models.excitations.oscillators.parameters import Composition, Mode
from streamproc.models.excitations.oscillators.prepare import prepare
from streamproc.models.excitations.oscillators.resolution import Gaussian
from streamproc.models.excitations.oscillators.search import leftover, search
from streamproc.models.excitations.oscillators.spectrum import Spectrum

__all__ = ["warm_up"]


def warm_up() -> None:
    """Prepare and fit a short spectrum, and look at what is left over: as counts, and with errors."""
    energy = np.linspace(-4.0, 12.0, 33)
    forward, c = Forward(energy, Gaussian(1.0), 1.0), Composition(1)
    start = c.vector([Mode(6.0, 1.0, 50.0)], 100.0, 0.0, 1.0)
    counts = np.round(forward(c, start)[0])
    for variance in (None, np.maximum(counts, 1.0)):
        data = Spectrum(energy, counts, variance)
        prepare(data, 1.0, 0.0, 1.0)
        found = fit(forward, data, c, start, bounds_for(forward, c, 0.1, 100.0), 2, solve=True)
        leftover(forward, data, found)
        search(forward, data, 0.1, most=1)
