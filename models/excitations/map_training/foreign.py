"""Maps of something else, to see whether the model notices: another magnet, wrong axes, no magnet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.maps.bank import Bank
from streamproc.models.excitations.maps.library import Library, build_library
from streamproc.models.excitations.spinmodel.case import SpinCase, case_of

__all__ = ["FOREIGN", "foreign_library"]

FOREIGN = ("other order", "columns elsewhere", "energies upside down")
"""Kinds of foreign maps, a third of the library each (half, where the model has no other order)."""


def foreign_library(case: SpinCase, draws: int, seed: int) -> tuple[Library, npt.NDArray[np.str_]]:
    """Return a library of foreign maps as this model sees them, and the kind of each.

    "other order": the same lattice with spins all parallel and couplings of the opposite sign. "columns
    elsewhere": the magnons of this model with columns in another order, as when axes are mistaken. "energies
    upside down": bands no spin wave has.
    """
    own = build_library(case, draws, seed)
    signal, kinds = own.signal.copy(), np.array([FOREIGN[1 + k % 2] for k in range(draws)])
    rng = np.random.default_rng(seed)
    other = _other_order(case)
    if other is not None:
        chosen = np.arange(draws) % 3 == 0
        found = build_library(other, int(chosen.sum()), seed + 1)
        signal[chosen], kinds[chosen] = found.signal, FOREIGN[0]
        own.q_rlu[chosen] = found.q_rlu
        bank = Bank(case)
        for row, q in zip(np.flatnonzero(chosen), found.q_rlu, strict=True):
            own.bins[row], own.weights[row] = bank.look(q)
    for row in range(draws):
        if kinds[row] == FOREIGN[1]:
            signal[row] = signal[row][rng.permutation(signal.shape[1])]
        elif kinds[row] == FOREIGN[2]:
            signal[row] = signal[row][:, ::-1]
    return replace(own, signal=np.ascontiguousarray(signal)), kinds


def _other_order(case: SpinCase) -> SpinCase | None:
    """The ferromagnet on the same bonds; None where the model is one."""
    if not any(case.file.order.propagation):
        return None
    content: dict[str, Any] = case.file.model_dump(mode="json", exclude_none=True)
    content["order"] = {"propagation": [0, 0, 0]}
    content["derived"] = []
    exchange = {e["name"] for e in content["exchange"]}
    for name, table in content["parameters"].items():
        if name in exchange and table.get("range") and not table.get("relative_to"):
            table["range"] = [-table["range"][1], -table["range"][0]]
        elif table.get("relative_to") and name not in exchange:
            table["range"] = sorted([-table["range"][0], -table["range"][1]])
    return case_of(content, Path(f"{case.name} (other order)"))
