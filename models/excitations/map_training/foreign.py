"""Maps of something else, to see whether the model notices: another magnet, wrong axes, no magnet."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.mapmodel.case import MapCase
from streamproc.models.excitations.maps.kinds import physics_of
from streamproc.models.excitations.maps.library import Library, build_library

__all__ = ["FOREIGN", "foreign_library"]

FOREIGN = ("other order", "columns elsewhere", "energies upside down")
"""Kinds of foreign maps, a third of the library each (half, where the model has no other order)."""


def foreign_library(case: MapCase, draws: int, seed: int) -> tuple[Library, npt.NDArray[np.str_]]:
    """Return a library of foreign maps as this model sees them, and the kind of each.

    "other order": spins on the same bonds all parallel and couplings of the opposite sign; for a lattice,
    its atoms on another lattice. "columns
    elsewhere": this model's own maps with columns in another order, as when axes are mistaken. "energies
    upside down": bands that there are none of.
    """
    own = build_library(case, draws, seed)
    signal, kinds = own.signal.copy(), np.array([FOREIGN[1 + k % 2] for k in range(draws)])
    rng = np.random.default_rng(seed)
    other = physics_of(case).foreign()
    if other is not None:
        chosen = np.arange(draws) % 3 == 0
        found = build_library(other, int(chosen.sum()), seed + 1)
        signal[chosen], kinds[chosen] = found.signal, FOREIGN[0]
        own.q_rlu[chosen] = found.q_rlu
        bank = physics_of(case).trials()
        looks = [bank.look(q) for q in found.q_rlu[: len(found.bins)]]
        own.look[chosen] = found.look + len(own.bins)
        own = replace(own, **{
            k: np.concatenate([getattr(own, k), np.stack([x[i] for x in looks])])
            for i, k in enumerate(("bins", "weights"))
        })  # fmt: skip
    for row in range(draws):
        if kinds[row] == FOREIGN[1]:
            signal[row] = signal[row][rng.permutation(signal.shape[1])]
        elif kinds[row] == FOREIGN[2]:
            signal[row] = signal[row][:, ::-1]
    return replace(own, signal=np.ascontiguousarray(signal)), kinds
