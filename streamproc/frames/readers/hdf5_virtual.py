"""Virtual HDF5 datasets: which rows of which source files make up a row; HDF5 itself never opens the sources.

Detectors with several file writers (Odin, Eiger) present their files as one virtual dataset. HDF5 fills what
is missing with zeros without a word, and opens any path it is told. So the mapping is read here, each source
is checked by the path policy and read like any other dataset, and a missing one means: not yet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import h5py
import numpy as np

from streamproc.errors import FrameFailed, NotYet
from streamproc.frames.readers.shapes import check_dtype, check_size

__all__ = ["Piece", "VirtualRows", "virtual_rows"]

_MOST_SOURCES = 100_000

Rows = tuple[int, int]
Region = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of the wanted rows: which dataset, which of its rows, and from where to where.

    ``select`` gives the source rows for the source's shape; ``source`` is cut from those rows, ``target`` is
    where it belongs in the wanted rows.
    """

    file: str
    dataset: str
    select: Callable[[tuple[int, ...]], Rows]
    source: Region
    target: Region


@dataclass(frozen=True, slots=True)
class VirtualRows:
    """All pieces of the wanted rows; what no piece covers is ``fill``."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fill: Any
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class _Axis:
    """A regular selection along one axis; ``count`` None: unlimited."""

    start: int
    stride: int
    count: int | None
    block: int

    def ordinal(self, at: int) -> int | None:
        """Return the how-many-th selected element ``at`` is, or None where it is not selected."""
        group, offset = divmod(at - self.start, self.stride)
        if at < self.start or offset >= self.block or (self.count is not None and group >= self.count):
            return None
        return group * self.block + offset

    def element(self, ordinal: int) -> int:
        """Return the ordinal-th selected element (inverse of :meth:`ordinal`)."""
        group, offset = divmod(ordinal, self.block)
        return self.start + group * self.stride + offset

    def span(self, what: str) -> slice:
        """Return the selection as one slice."""
        if self.count is None or (self.count > 1 and self.stride != self.block):
            raise FrameFailed(f"{what} maps its sources with gaps within a frame, which is not read")
        return slice(self.start, self.start + self.count * self.block)


def virtual_rows(
    dataset: h5py.Dataset, select: Callable[[tuple[int, ...]], Rows], max_bytes: int, what: str
) -> VirtualRows:
    """Return what rows of a virtual dataset consist of.

    Raises
    ------
    NotYet
        A wanted row is covered by no source.
    FrameFailed
        Mappings with gaps inside a frame, printf-style source names, irregular selections.
    """
    check_dtype(dataset.dtype, what)
    sources = dataset.virtual_sources()
    if len(sources) > _MOST_SOURCES:
        raise FrameFailed(f"{what} has {len(sources)} virtual sources, more than {_MOST_SOURCES}")
    # The extent itself would make HDF5 open the sources; the frame's own size stands in the mappings.
    frame = _frame_shape(sources, what)
    lo, hi = select((2**62, *frame))
    shape = (hi - lo, *frame)
    check_size(shape, dataset.dtype.itemsize, max_bytes, f"rows {lo}..{hi - 1} of {what}")
    pieces = tuple(p for row in range(lo, hi) for p in _pieces_of_row(sources, row, row - lo, what))
    covered = {p.target[0].start for p in pieces}
    if len(covered) < hi - lo:
        raise NotYet(f"rows {lo}..{hi - 1} of {what} have no source (yet)")
    return VirtualRows(shape, dataset.dtype, dataset.fillvalue, pieces)


def _frame_shape(sources: list[Any], what: str) -> tuple[int, ...]:
    if not sources:
        raise NotYet(f"{what} has no virtual sources (yet)")
    spans = [[axis.span(what).stop for axis in _axes(s.vspace, what)[1:]] for s in sources]
    if len({len(s) for s in spans}) != 1:
        raise FrameFailed(f"{what} has virtual sources of different rank")
    return tuple(max(ends) for ends in zip(*spans, strict=True))


def _pieces_of_row(sources: list[Any], row: int, at: int, what: str) -> list[Piece]:
    pieces = []
    for source in sources:
        theirs = _axes(source.vspace, what)
        ordinal = theirs[0].ordinal(row)
        if ordinal is None:
            continue
        if "%" in source.file_name:
            raise FrameFailed(
                f"{what} has printf-style source names ({source.file_name!r:.200}), which are not read"
            )
        target = (slice(at, at + 1), *(axis.span(what) for axis in theirs[1:]))
        pieces.append(_piece(source, ordinal, target, what))
    return pieces


def _piece(source: Any, ordinal: int, target: Region, what: str) -> Piece:
    """Return one source's part of a row: its ordinal-th row, or all of a source without a rows axis."""
    if source.src_space.get_select_type() == h5py.h5s.SEL_ALL:
        select = partial(_select, ordinal, ordinal, len(target), what)
        return Piece(source.file_name, source.dset_name, select, (Ellipsis,), target)
    ours = _axes(source.src_space, what)
    if len(ours) == len(target):
        select = partial(_select, ours[0].element(ordinal), ordinal, len(target), what)
        region: Region = (slice(None), *(axis.span(what) for axis in ours[1:]))
    else:
        select = partial(_select, ordinal, ordinal, len(target), what)
        region = tuple(axis.span(what) for axis in ours)
    return Piece(source.file_name, source.dset_name, select, region, target)


def _select(row: int, ordinal: int, rank: int, what: str, shape: tuple[int, ...]) -> Rows:
    if len(shape) == rank:
        return row, row + 1
    if len(shape) == rank - 1 and ordinal == 0:
        return 0, shape[0]
    raise FrameFailed(f"{what} has a virtual source of shape {shape} that does not fit rank {rank}")


def _axes(space: Any, what: str) -> list[_Axis]:
    """Return a dataspace's selection per axis."""
    kind = space.get_select_type()
    if kind == h5py.h5s.SEL_ALL:  # of a virtual space, whose own extent is known
        return [_Axis(0, 1, n, 1) for n in space.get_simple_extent_dims()]
    if kind != h5py.h5s.SEL_HYPERSLABS or not space.is_regular_hyperslab():
        raise FrameFailed(f"{what} maps its sources in an irregular way, which is not read")
    parts = zip(*space.get_regular_hyperslab(), strict=True)
    return [_axis(*(int(n) for n in part)) for part in parts]


def _axis(start: int, stride: int, count: int, block: int) -> _Axis:
    if block >= 2**62:
        return _Axis(start, 1, None, 1)
    unlimited = count >= 2**62
    stride = max(stride, 1)
    if not unlimited and count == 1:
        return _Axis(start, max(stride, block), 1, block)
    return _Axis(start, stride, None if unlimited else count, block)
