"""Read a ``model.toml`` of ``kind = "spectrum"``: what spectra a model is to be trained for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from streamproc.models.excitations.model_file import read_toml
from streamproc.models.excitations.oscillators.instruments import Priors
from streamproc.models.excitations.oscillators.mixtures import Strengths

from streamproc.errors import ConfigurationError

__all__ = ["SpectrumCase", "read_case"]

T = TypeVar("T", Priors, Strengths)

_KEYS = {"name", "kind", "description", "priors", "strengths"}
_MODES = 5


@dataclass(frozen=True, slots=True)
class SpectrumCase:
    """What to train for.

    Attributes
    ----------
    name : str
        Of the model.
    priors, strengths : Priors, Strengths
        Ranges that spectra are drawn from.
    """

    name: str
    priors: Priors
    strengths: Strengths


def read_case(path: Path) -> SpectrumCase:
    """Read the file.

    Raises
    ------
    ConfigurationError
        It cannot be read, or something in it is unknown or cannot be; names file and key.
    """
    table = read_toml(path)
    if unknown := set(table) - _KEYS:
        raise ConfigurationError(
            f"{path}: unknown {', '.join(sorted(unknown))}; there are {', '.join(sorted(_KEYS))}"
        )
    if table.get("kind") != "spectrum":
        raise ConfigurationError(f"{path}: kind = {table.get('kind')!r}, expected 'spectrum'")
    if not isinstance(table.get("name"), str) or not table["name"]:
        raise ConfigurationError(f"{path}: name is missing")
    priors = _read(path, "priors", Priors, table.get("priors", {}))
    strengths = _read(path, "strengths", Strengths, table.get("strengths", {}))
    if len(strengths.number) != _MODES or abs(sum(strengths.number) - 1) > 1e-6:
        raise ConfigurationError(f"{path}: strengths.number must be {_MODES} probabilities with sum 1")
    return SpectrumCase(table["name"], priors, strengths)


def _read(path: Path, section: str, kind: type[T], table: Any) -> T:
    known = {f.name: getattr(kind(), f.name) for f in fields(kind)}
    if not isinstance(table, Mapping) or (unknown := set(table) - set(known)):
        said = ", ".join(sorted(unknown)) if isinstance(table, Mapping) else "it is no table"
        raise ConfigurationError(f"{path}: [{section}]: unknown {said}; there are {', '.join(known)}")
    values = {k: _value(path, f"{section}.{k}", v, known[k]) for k, v in table.items()}
    return kind(**values)


def _value(path: Path, key: str, given: Any, like: Any) -> Any:
    """A number that is not negative, or a rising range, or a list of probabilities, as the default is."""
    if not isinstance(like, tuple):
        if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < float("inf"):
            raise ConfigurationError(f"{path}: {key} = {given!r}, expected a number, not negative")
        return float(given)
    numbers = isinstance(given, list) and all(isinstance(v, int | float) and v >= 0 for v in given)
    if not numbers or (len(like) == 2 and not (len(given) == 2 and 0 < given[0] < given[1])):
        raise ConfigurationError(
            f"{path}: {key} = {given!r}, expected {'[low, high]' if len(like) == 2 else 'a list'}"
        )
    return tuple(float(v) for v in given)
