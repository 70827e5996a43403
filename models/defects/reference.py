"""Material and instrument as a model's card holds them: enough for lines and cross-checks, without a CIF."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement, permutations, product
from typing import Any

import numpy as np
from scipy.optimize import brentq
from streamproc.models.defects.dislocations.contrast import Contrast
from streamproc.models.defects.faults import Faults
from streamproc.models.defects.material import Material
from streamproc.models.defects.state import DefectState, microstrain
from streamproc.models.powder.optics import Instrument

from streamproc.errors import ConfigurationError
from streamproc.inference.card import ModelCard

__all__ = ["Reference", "reference_of", "state_of"]

_SIZE_SIGMA = 0.35
_ARRANGEMENTS = (0.1, 100.0)


@dataclass(frozen=True, slots=True)
class Reference:
    """What a defect model was trained for. Strengths of the lines are not known: all are 1."""

    material: Material
    instrument: Instrument


def reference_of(card: ModelCard) -> Reference:
    """Read a card.

    Raises
    ------
    ConfigurationError
        When the card does not say material and instrument as those of ``streamproc train defect-flags`` do.
    """
    try:
        told, text = card.reference, card.valid_domain["instrument"]
        values: dict[str, Any] = json.loads(str(text))
        values["missing_deg"] = tuple(tuple(pair) for pair in values.get("missing_deg", ()))
        instrument = Instrument(**values)
        return Reference(_material(told, instrument), instrument)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{card.name}:{card.version}: its card does not describe material and instrument ({error!r}); "
            "train it again with streamproc train defect-flags"
        ) from error


def _material(told: Mapping[str, Any], instrument: Instrument) -> Material:
    lattice, a_nm = told["lattice"], float(told["a_nm"])
    hkl = _families(lattice, 20 / instrument.wavelength_A * a_nm)
    members = [
        len(
            {
                tuple(s * i for s, i in zip(signs, order, strict=True))
                for order in permutations(row)
                for signs in product((1, -1), repeat=3)
            }
        )
        for row in hkl
    ]
    return Material(
        name=told["material"],
        lattice=lattice,
        a_nm=a_nm,
        hkl=np.array(hkl, np.int64),
        multiplicity=np.array(members, float),
        f2=np.ones(len(hkl)),
        b_A2=0.0,
        texture_cos=np.zeros((len(hkl), 1)),
        edge=Contrast(**told["edge"]),
        screw=Contrast(**told["screw"]),
    )


def _families(lattice: str, most: float) -> list[Sequence[int]]:
    """One member of each family with a norm up to ``most``, by rising norm."""
    rows = combinations_with_replacement(range(int(most), -1, -1), 3)
    found = [row for row in rows if 0 < sum(i * i for i in row) <= most**2]
    if lattice == "bcc":
        kept = [row for row in found if sum(row) % 2 == 0]
    else:
        kept = [row for row in found if len({i % 2 for i in row}) == 1]
    return sorted(kept, key=lambda row: (sum(i * i for i in row), row))


def state_of(values: Mapping[str, float], material: Material) -> DefectState:
    """Return the state of the crystal that a model's estimates describe; M follows from the microstrain.

    Parameters
    ----------
    values : mapping of str to float
        Estimates by name; faults are none where they are not estimated.
    material : Material
        Whose.
    """
    state = DefectState(
        density_per_m2=values["density_per_m2"],
        q=values["q"],
        size_nm=values["size_nm"],
        size_sigma=_SIZE_SIGMA,
        faults=Faults(
            deformation=min(values.get("deformation", 0.0), 0.3), growth=min(values.get("growth", 0.0), 0.3)
        ),
    )

    def excess(log_m: float) -> float:
        return microstrain(material, _arranged(state, float(np.exp(log_m)))) - values["microstrain"]

    low, high = np.log(_ARRANGEMENTS)
    if excess(low) * excess(high) >= 0:
        return _arranged(state, _ARRANGEMENTS[0] if excess(low) > 0 else _ARRANGEMENTS[1])
    return _arranged(state, float(np.exp(brentq(excess, low, high, xtol=1e-3))))


def _arranged(state: DefectState, arrangement: float) -> DefectState:
    return replace(state, arrangement=arrangement)
