"""Events become pieces of S(Q,E) (a point, a spectrum, a map), and pieces become the map so far."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, field_validator
from streamproc.models.excitations.maps.container import SqeMap

from streamproc.analysis import Frame
from streamproc.errors import FrameFailed

__all__ = ["MapKeys", "MapSoFar", "Piece", "packed", "piece_of", "unpacked"]

Array = npt.NDArray[np.float64]

_MOST_CHANNELS = 400
_MOST_CELLS = 2_000_000


class MapKeys(BaseModel):
    """Where an event says what was measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    q_keys: tuple[str, ...] = Field(
        ("h", "k", "l"),
        description="Readings with h, k, l (r.l.u.); of a powder one with |Q| (1/angstrom). One number each, "
        "or one per column of a map; or one reading of shape (n, 3).",
    )
    energy_key: str = Field("energy", description="Reading with the energy transfers (meV): one, or an axis.")
    error_key: str | None = Field(
        None,
        description="Reading with standard deviations; unset: counts give their root, else it is estimated.",
    )
    mask_key: str | None = Field(None, description="Reading that is true where cells are measured.")

    @field_validator("q_keys")
    @classmethod
    def _one_or_three(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        if len(keys) not in (1, 3):
            raise ValueError(f"expected the names of h, k and l, or one name, got {len(keys)} names")
        return keys


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """What one event measured: n columns, m channels.

    Attributes
    ----------
    seq_num : int
        Reading.
    q_rlu : ndarray, shape (n, 3)
        Columns.
    energy_meV : ndarray, shape (m,)
        Channels, rising.
    intensity, sigma : ndarray, shape (n, m)
        NaN where not measured; sigma all NaN where it must be estimated.
    """

    seq_num: int
    q_rlu: Array = field(repr=False)
    energy_meV: Array = field(repr=False)
    intensity: Array = field(repr=False)
    sigma: Array = field(repr=False)

    @property
    def whole(self) -> bool:
        """Whether it is a map by itself; such a piece takes the place of what came before."""
        return len(self.q_rlu) > 1

    def map(self) -> SqeMap:
        """Return it as a map; one point alone is none."""
        sigma = None if np.isnan(self.sigma).all() else self.sigma
        return SqeMap.of(self.q_rlu, self.energy_meV, self.intensity, sigma)


def piece_of(frame: Frame, keys: MapKeys) -> Piece:
    """Read an event.

    Raises
    ------
    FrameFailed
        No Q, no energies, shapes that do not fit, nothing finite.
    """
    q = _places(frame.readings, keys.q_keys)
    energy = _numbers(frame.readings, keys.energy_key, "analysis.excitation-fit.map.energy_key").ravel()
    y = _shaped(np.asarray(frame.array), len(q), len(energy))
    if keys.error_key is not None:
        sigma = _shaped(_numbers(frame.readings, keys.error_key, "error_key"), *y.shape)
    else:
        sigma = _counting(y)
    if keys.mask_key is not None:
        mask = _shaped(_numbers(frame.readings, keys.mask_key, "mask_key"), *y.shape)
        y = np.where(mask > 0, y, np.nan)
    order = np.argsort(energy, kind="stable")
    energy, y, sigma = energy[order], y[:, order], sigma[:, order]
    bad = ~np.isfinite(y) | (np.abs(y) > 1e19)
    if bad.all():
        raise FrameFailed("nothing of this reading is measured: every value is masked or not finite")
    seen = y[~bad]
    if seen.size > 3 and np.ptp(seen) == 0:
        raise FrameFailed(
            f"every value of this reading is {seen[0]:g}: nothing was counted, or the detector is full"
        )
    if len(energy) > 1 and not (np.diff(energy) > 0).all():
        raise FrameFailed("the energies of the reading are not all different")
    return Piece(frame.seq_num, q, energy, np.where(bad, np.nan, y), sigma)


def _places(readings: Mapping[str, Any], keys: tuple[str, ...]) -> Array:
    parts = [_numbers(readings, k, "analysis.excitation-fit.map.q_keys") for k in keys]
    if len(parts) == 1:
        q = parts[0]
        return q.reshape(-1, 3) if q.ndim == 2 else np.stack([q.ravel(), 0 * q.ravel(), 0 * q.ravel()], 1)
    if len(parts) != 3 or len({p.size for p in parts}) != 1:
        raise FrameFailed(
            f"{', '.join(keys)}: expected three readings of one length (or one of |Q|), got sizes "
            f"{[p.size for p in parts]}"
        )
    return np.stack([p.ravel() for p in parts], 1)


def _numbers(readings: Mapping[str, Any], key: str, setting: str) -> Array:
    if key not in readings:
        have = ", ".join(sorted(map(str, readings))[:8]) or "none"
        raise FrameFailed(f"the event has no {key!r} ({setting}); its readings: {have}")
    return _real(readings[key], f"reading {key!r} is")


def _real(values: Any, what: str) -> Array:
    try:
        if np.iscomplexobj(values):
            raise TypeError("complex numbers")
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise FrameFailed(f"{what} not numeric: {error}") from error


def _shaped(values: npt.NDArray[Any], n: int, m: int) -> Array:
    found = _real(values, "the intensities are")
    if found.size != n * m:
        raise FrameFailed(
            f"intensities of shape {found.shape} for {n} wave vectors and {m} energies; expected {n} x {m}"
        )
    if n * m > _MOST_CELLS:
        raise FrameFailed(f"a map of {n * m} cells; at most {_MOST_CELLS}")
    found = found.squeeze()
    return np.asarray(found.T if found.shape == (m, n) and n != m else found.reshape(n, m))


def _counting(y: Array) -> Array:
    """Root of counts where all are whole numbers; else NaN: to be estimated."""
    finite = y[np.isfinite(y)]
    if finite.size and (finite >= 0).all() and (finite == np.round(finite)).all():
        return np.sqrt(np.maximum(np.nan_to_num(y), 1.0))
    return np.full(y.shape, np.nan)


def packed(values: npt.NDArray[Any]) -> bytes:
    """Return numbers as compressed bytes: open-run state passes a broker that limits messages."""
    return zlib.compress(np.ascontiguousarray(values, dtype="<f8").tobytes(), 6)


def unpacked(stored: bytes, shape: tuple[int, ...]) -> Array:
    """Return what :func:`packed` took, bit for bit."""
    return np.frombuffer(zlib.decompress(stored), "<f8").reshape(shape).astype(float)


class MapSoFar:
    """All pieces of a run as one map: equal Q and energies are averaged, a whole map replaces all before."""

    def __init__(self) -> None:
        self._rows = np.zeros((0, 6))
        self.events = 0

    def add(self, piece: Piece) -> None:
        """Take a piece up."""
        n, m = piece.intensity.shape
        rows = np.column_stack(
            [
                np.repeat(piece.q_rlu, m, axis=0),
                np.tile(piece.energy_meV, n),
                piece.intensity.ravel(),
                piece.sigma.ravel(),
            ]
        )
        rows = rows[np.isfinite(rows[:, 4])]
        self._rows = rows if piece.whole else np.concatenate([self._rows, rows])
        self.events = 1 if piece.whole else self.events + 1

    @property
    def cells(self) -> int:
        """Values taken up."""
        return len(self._rows)

    @property
    def counts(self) -> float:
        """Sum of the intensities: the counts, where they are counts."""
        return float(self._rows[:, 4].sum())

    def map(self) -> SqeMap | None:
        """Return the map; None where there is too little for one."""
        if len(self._rows) < 4:
            return None
        q, column = np.unique(np.round(self._rows[:, :3], 5), axis=0, return_inverse=True)
        order = _along_path(q, column)
        energies, channel = _channels(self._rows[:, 3])
        if len(energies) < 4:
            return None
        cell = column.ravel() * len(energies) + channel
        shape = (len(q), len(energies))
        size = shape[0] * shape[1]
        known = np.isfinite(self._rows[:, 5])
        weight = np.where(known, 1 / np.maximum(np.nan_to_num(self._rows[:, 5], nan=1.0), 1e-12) ** 2, 1.0)
        number = np.bincount(cell, minlength=size)
        if known.all() and _are_counts(self._rows):
            # counts add up: weights of 1 / counts would favour what by chance was low
            weight = np.ones(len(self._rows))
        total = np.bincount(cell, weight, size)
        y = np.bincount(cell, weight * self._rows[:, 4], size) / np.maximum(total, 1e-300)
        measured = (number > 0).reshape(shape)
        if known.all():
            square = np.bincount(cell, (weight * np.nan_to_num(self._rows[:, 5], nan=1.0)) ** 2, size)
            sigma: Array | None = (np.sqrt(square) / np.maximum(total, 1e-300)).reshape(shape)[order]
            sigma = np.where(measured[order], sigma, 1.0)
        else:
            sigma = None
        y = np.where(measured, y.reshape(shape), 0.0)
        return SqeMap.of(q[order], energies, y[order], sigma, measured[order])

    def snapshot(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"rows": packed(self._rows), "events": self.events}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`snapshot` gave."""
        self._rows = unpacked(state["rows"], (-1, 6))
        self.events = int(state["events"])


def _are_counts(rows: Array) -> bool:
    """Whether all intensities are counts with their root as error."""
    y, sigma = rows[:, 4], rows[:, 5]
    return bool((y >= 0).all() and np.allclose(sigma**2, np.maximum(y, 1.0), rtol=1e-9, atol=0))


def _along_path(q: Array, column: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Order columns as they came first, so that neighbours of a path stay neighbours."""
    first = np.full(len(q), len(column))
    np.minimum.at(first, column.ravel(), np.arange(len(column.ravel())))
    return np.argsort(first, kind="stable")


def _channels(energy: Array) -> tuple[Array, npt.NDArray[np.int64]]:
    """Distinct energies, or equidistant channels where there are too many of them."""
    found, place = np.unique(np.round(energy, 6), return_inverse=True)
    if len(found) <= _MOST_CHANNELS:
        return found, place.ravel()
    edges = np.linspace(found[0], found[-1], _MOST_CHANNELS // 2 + 1)
    at = np.clip(np.searchsorted(edges, energy, "right") - 1, 0, len(edges) - 2)
    used, again = np.unique(at, return_inverse=True)
    return (edges[used] + edges[used + 1]) / 2, again.ravel()
