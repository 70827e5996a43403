"""The kinds of models that draw maps: the file says which, and everything else asks here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from streamproc.models.excitations.lattice import case as lattice
from streamproc.models.excitations.mapmodel.case import MapCase
from streamproc.models.excitations.maps.phonons import PhononPhysics
from streamproc.models.excitations.maps.physics import Physics
from streamproc.models.excitations.maps.spin_waves import SpinPhysics
from streamproc.models.excitations.model_file import read_toml
from streamproc.models.excitations.spinmodel import case as spins

from streamproc.errors import ConfigurationError

__all__ = ["TASKS", "case_of", "physics_of", "read_case"]

_CASES = {"spin-model": spins.case_of, "lattice-model": lattice.case_of}

TASKS = tuple(_CASES)
"""Kinds of files, and tasks of the cards of models trained from them."""


def case_of(content: Mapping[str, Any], path: Path) -> MapCase:
    """Build from the content of a file; ``path`` is for messages (see :func:`read_case`)."""
    kind = content.get("kind")
    if kind not in _CASES:
        raise ConfigurationError(f"{path}: kind = {kind!r}; expected {' or '.join(map(repr, _CASES))}")
    return _CASES[kind](content, path)


def read_case(path: Path) -> MapCase:
    """Read a ``model.toml``.

    Raises
    ------
    ConfigurationError
        File missing, not TOML (with the line), or a key wrong (with the key).
    """
    return case_of(read_toml(path), path)


def physics_of(case: MapCase) -> Physics:
    """Return what draws a case's maps."""
    if isinstance(case, spins.SpinCase):
        return SpinPhysics(case)
    if isinstance(case, lattice.LatticeCase):
        return PhononPhysics(case)
    raise TypeError(f"{type(case).__name__} has no physics")
