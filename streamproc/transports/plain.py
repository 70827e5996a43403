"""Plain values as bytes: how open-run state is written. Large pieces are kept apart and named by content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

try:
    from msgpack._cmsgpack import Packer, unpackb
except ImportError:  # no C extension on this platform
    from msgpack.fallback import Packer, unpackb

from msgpack.ext import ExtType

__all__ = ["Shelf", "ShelfRef", "SplitRef", "from_bytes", "restore_shelved", "split", "to_bytes"]

_LARGE_BYTES = 4096
_SHELF = 1
_SPLIT = 2
_DIGEST_CHARS = 32


@dataclass(frozen=True, slots=True)
class ShelfRef:
    """Stands for a large piece that is kept apart."""

    digest: str


@dataclass(frozen=True, slots=True)
class SplitRef:
    """Stands for a value whose bytes are kept in pieces."""

    digests: tuple[str, ...]


class Shelf:
    """Takes large pieces out of values, so that each is written once however often it is referred to.

    An image that is the dark frame of a run is part of the run's state at every commit; hashing it each time
    would cost more than analysing a frame. So digests are remembered by the memory they were computed from,
    which is kept alive for as long.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], tuple[str, Any]] = {}

    def strip(self, value: Any, pieces: dict[str, Any]) -> Any:
        """Return ``value`` with references for large pieces, which are added to ``pieces`` by digest."""
        if isinstance(value, (bytes, memoryview)):
            return self._put(value, pieces) if len(value) >= _LARGE_BYTES else value
        if isinstance(value, Mapping):
            return {key: self.strip(item, pieces) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [item if isinstance(item, (str, int)) else self.strip(item, pieces) for item in value]
        return value

    def keep_only(self, digests: set[str]) -> None:
        """Let go of the memory of all other pieces."""
        self._known = {k: v for k, v in self._known.items() if v[0] in digests}

    def _put(self, piece: bytes | memoryview, pieces: dict[str, Any]) -> ExtType:
        owner = piece.obj if isinstance(piece, memoryview) else piece
        address = owner.__array_interface__["data"][0] if hasattr(owner, "__array_interface__") else id(owner)
        known = self._known.get((address, len(piece)))
        digest = known[0] if known else _digest(piece)
        self._known[(address, len(piece))] = (digest, owner)
        pieces[digest] = piece
        return ExtType(_SHELF, digest.encode())


def to_bytes(value: Any) -> bytes:
    """Return plain values (and the references that :meth:`Shelf.strip` left) as bytes."""
    packed: bytes = Packer(use_bin_type=True).pack(value)
    return packed


def split(raw: bytes, size: int, pieces: dict[str, Any]) -> ExtType:
    """Return what stands for ``raw``, cut into pieces of ``size`` bytes, which are added to ``pieces``."""
    cut = [raw[at : at + size] for at in range(0, len(raw), size)]
    digests = [_digest(piece) for piece in cut]
    pieces.update(zip(digests, cut, strict=True))
    return ExtType(_SPLIT, "".join(digests).encode())


def from_bytes(raw: bytes) -> Any:
    """Return what :func:`to_bytes` was given; references as :class:`ShelfRef` and :class:`SplitRef`.

    Raises
    ------
    ValueError
        Not written by :func:`to_bytes`.
    """
    limit = len(raw)
    return unpackb(
        raw, raw=False, strict_map_key=False, ext_hook=_reference, max_str_len=limit, max_bin_len=limit,
        max_array_len=limit, max_map_len=limit, max_ext_len=limit,
    )  # fmt: skip


def restore_shelved(value: Any, pieces: Mapping[str, bytes]) -> Any:
    """Put the pieces back in their places.

    Raises
    ------
    KeyError
        A piece is missing.
    """
    if isinstance(value, ShelfRef):
        return pieces[value.digest]
    if isinstance(value, SplitRef):
        whole = b"".join(pieces[digest] for digest in value.digests)
        return restore_shelved(from_bytes(whole), pieces)
    if isinstance(value, Mapping):
        return {key: restore_shelved(item, pieces) for key, item in value.items()}
    if isinstance(value, list):
        return [restore_shelved(item, pieces) for item in value]
    return value


def _reference(code: int, data: bytes) -> ShelfRef | SplitRef:
    if code not in (_SHELF, _SPLIT):
        raise ValueError(f"extension type {code} in open-run state")
    text = data.decode()
    if code == _SHELF:
        return ShelfRef(text)
    return SplitRef(tuple(text[at : at + _DIGEST_CHARS] for at in range(0, len(text), _DIGEST_CHARS)))


def _digest(piece: bytes | memoryview) -> str:
    return hashlib.blake2b(piece, digest_size=_DIGEST_CHARS // 2).hexdigest()
