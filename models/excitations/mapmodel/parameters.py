"""Parameters of a model: free ones with ranges, fixed ones, and those tied to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.mapmodel.tables import ParameterTable

from streamproc.compiling import machine_code
from streamproc.errors import ConfigurationError

__all__ = ["Parameters", "parameters_of"]

Array = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]

_PRIORS = {"log": 1, "origin": 2}
"""Numbers of the priors that are not uniform in the value."""


@dataclass(frozen=True, slots=True, eq=False)
class Parameters:
    """How a vector of free numbers becomes a value for every name.

    Attributes
    ----------
    names : tuple of str
        All parameters of the model.
    free : tuple of str
        Those that are fitted, in an order in which a parameter stands after the one its range relates to.
    tables : mapping
        What the file says of each.
    """

    names: tuple[str, ...]
    free: tuple[str, ...]
    tables: Mapping[str, ParameterTable] = field(repr=False)
    _ranges: Array = field(init=False, repr=False)
    _kinds: tuple[Whole, Whole] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # a fit asks for values thousands of times
        tables = [self.tables[n] for n in self.free]
        object.__setattr__(self, "_ranges", np.array([t.range or (0.0, 1.0) for t in tables], dtype=float))
        prior = np.array([_PRIORS.get(t.prior, 0) for t in tables])
        relative = [self.free.index(t.relative_to) if t.relative_to in self.free else -1 for t in tables]
        object.__setattr__(self, "_kinds", (prior, np.array(relative)))

    @property
    def ranges(self) -> Array:
        """Lowest and highest value, or ratio, of each free parameter, shape (free, 2)."""
        return self._ranges

    def values(self, free: Sequence[float] | Array) -> dict[str, float]:
        """Return every parameter's value for values of the free ones."""
        found = {n: float(v) for n, v in zip(self.free, free, strict=True)}
        for name in self.names:
            table = self.tables[name]
            if table.value is not None:
                found[name] = table.value
        for name in self.names:
            table = self.tables[name]
            if table.of is not None:
                found[name] = table.factor * found[table.of]
        return found

    def values_at(self, unit: Array) -> Array:
        """Return free values for places in the prior, 0 to 1 each, which are uniform under it; (n, free)."""
        return np.asarray(_values_at(np.ascontiguousarray(unit, dtype=float), self._ranges, *self._kinds))

    def places_of(self, free: Array) -> Array:
        """Return the places in the prior of free values (n, free): what :meth:`values_at` undoes."""
        given = dict(zip(self.free, np.asarray(free, dtype=float).T, strict=True))
        places = []
        for name in self.free:
            table = self.tables[name]
            low, high = table.range or (0.0, 1.0)
            value = given[name] / (given[table.relative_to] if table.relative_to else 1.0)
            if table.prior == "log":
                places.append(np.log(np.maximum(value / low, 1e-12)) / np.log(high / low))
                continue
            if table.prior == "origin":
                value = np.sign(value) * np.sqrt(np.abs(value) * max(abs(low), abs(high)))
            places.append((value - low) / (high - low))
        return np.stack(places, 1)

    def draw(self, rng: np.random.Generator, n: int) -> Array:
        """Draw from the prior, shape (n, free)."""
        return self.values_at(rng.random((n, len(self.free))))

    def bounds(self) -> tuple[Array, Array]:
        """Return the lowest and highest value of each free parameter, whatever the others are."""
        low: dict[str, float] = {}
        high: dict[str, float] = {}
        for name in self.free:
            table = self.tables[name]
            ends = np.array(table.range, dtype=float)
            if table.relative_to:
                ends = np.outer(ends, [low[table.relative_to], high[table.relative_to]]).ravel()
            low[name], high[name] = float(ends.min()), float(ends.max())
        return np.array([low[n] for n in self.free]), np.array([high[n] for n in self.free])


@machine_code(error_model="numpy")
def _values_at(unit: Array, ranges: Array, prior: Whole, relative: Whole) -> Array:
    found = np.empty(unit.shape)
    for row in range(len(unit)):
        for k in range(unit.shape[1]):
            low, high, u = ranges[k, 0], ranges[k, 1], unit[row, k]
            value = low + (high - low) * u
            if prior[k] == 1:
                value = low * (high / low) ** u
            elif prior[k] == 2:
                value *= abs(value) / max(abs(low), abs(high))
            found[row, k] = value * found[row, relative[k]] if relative[k] >= 0 else value
    return found


def parameters_of(tables: Mapping[str, ParameterTable], names: Sequence[str], path: Path) -> Parameters:
    """Check the ``[parameters]`` of a file against the names of its couplings."""
    missing = [n for n in names if n not in tables]
    extra = [n for n in tables if n not in names]
    if missing or extra:
        said = [f"parameters.{n} is missing" for n in missing]
        said += [f"parameters.{n}: no coupling has this name; there are {', '.join(names)}" for n in extra]
        raise ConfigurationError(f"{path}: {'; '.join(said)}")
    for name, table in tables.items():
        for key in ("of", "relative_to"):
            other = getattr(table, key)
            if other is not None and (other == name or tables.get(other) is None or tables[other].of):
                raise ConfigurationError(
                    f"{path}: parameters.{name}.{key}: {other!r} is not another free or fixed parameter"
                )
    free = [n for n in names if tables[n].range is not None and tables[n].relative_to is None]
    related = [n for n in names if tables[n].range is not None and tables[n].relative_to is not None]
    for name in related:
        if tables[name].relative_to not in free:
            raise ConfigurationError(
                f"{path}: parameters.{name}.relative_to: expected a free parameter that is not relative"
            )
    if not free:
        raise ConfigurationError(f"{path}: parameters: none is free (has a range): there is nothing to fit")
    return Parameters(tuple(names), tuple(free + related), dict(tables))
