"""FrameRequest: what the assembler asks a reader for; the seam between documents and pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from streamproc.documents import Position

__all__ = ["DatumRef", "FrameRequest", "Inline", "Locator", "Origin", "StreamSlice"]


@dataclass(frozen=True, slots=True)
class Inline:
    """The array came in the event itself."""

    value: Any


@dataclass(frozen=True, slots=True)
class DatumRef:
    """The array is named by a resource and a datum document (event-model's older style)."""

    resource: Mapping[str, Any]
    datum: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StreamSlice:
    """The array is event number ``index`` of a stream_resource (``indices`` count events, not rows)."""

    stream_resource: Mapping[str, Any]
    index: int


Locator = Inline | DatumRef | StreamSlice


@dataclass(frozen=True, slots=True)
class Origin:
    """The message that a reading came in: its event, or its stream_datum where there is no event."""

    position: Position
    key: bytes | None
    raw: bytes = field(repr=False)
    letter: bytes | None = None
    """Key of the dead letter that it was, when it was reinjected."""


@dataclass(frozen=True, slots=True)
class FrameRequest:
    """One reading to fetch: where its array is, and everything of the Frame that the documents already say.

    ``data_key`` is the descriptor's entry for ``key`` (shape, dtype_numpy, external, ...): the file wins over
    it for dtype and shape, and a difference is reported once per run.
    """

    run_uid: str
    stream: str
    seq_num: int
    key: str
    data_key: Mapping[str, Any]
    locator: Locator
    time_s: float
    position: Position
    """The first input position this reading depends on."""
    published_s: float | None = None
    """Unix time (s) at which the newest document that made it complete was produced (latency only)."""
    readings: Mapping[str, Any] = field(default_factory=dict)
    timestamps: Mapping[str, float] = field(default_factory=dict)
    dark: Locator | None = None
    """Newest reading of the same key in the run's dark stream before this one."""
    dark_data_key: Mapping[str, Any] | None = None
    configuration: Mapping[str, Any] = field(default_factory=dict)
    """Configuration data of the descriptor, flat (``{"det_exposure": 0.1}``)."""
    origin: Origin | None = None
    """For the dead letters, should it fail."""
