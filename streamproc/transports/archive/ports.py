"""Archive: where runs of the past are kept; the seam between stores and the replay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

__all__ = ["Archive", "FramePlaces", "NamedDocument", "Query", "RunRef"]

NamedDocument = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Query:
    """Which runs are wanted; all conditions must hold, an empty query means every run.

    Attributes
    ----------
    runs : tuple of str
        Each a uid, its beginning (6 characters or more), a scan_id, or ``-1`` for the newest run (``-2``
        for the one before). Of several runs with one scan_id the newest is meant.
    since_s, until_s : float or None
        Unix times (s) the start's ``time`` lies between.
    search : tuple of (str, str)
        Keys of the start document (``sample.name`` for nested ones) and the values they must have, as text.
    results : bool
        Whether result runs of this package are meant, instead of all others.
    """

    runs: tuple[str, ...] = ()
    since_s: float | None = None
    until_s: float | None = None
    search: tuple[tuple[str, str], ...] = ()
    results: bool = False


@dataclass(frozen=True, slots=True)
class FramePlaces:
    """Where the frames of an archive lie, in addition to the settings ``frames.roots`` and ``prefix_map``."""

    roots: tuple[Path, ...] = ()
    prefix_map: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunRef:
    """One run of an archive.

    Attributes
    ----------
    uid : str
        Of its start document.
    start, stop : Mapping
        The documents; ``stop`` None when the archive has none (or, in ``stop_known`` false, was not asked).
    place : str
        Where it lies, in words.
    handle : object
        What the archive needs to find it again.
    frames : FramePlaces
        Where its frames lie.
    notes : list of str
        What the archive lost of the run, what was undone of that, and what was not; filled while it is read.
    """

    uid: str
    start: Mapping[str, Any]
    stop: Mapping[str, Any] | None
    place: str
    handle: Any = field(default=None, repr=False)
    frames: FramePlaces = FramePlaces()
    notes: list[str] = field(default_factory=list, compare=False)

    @property
    def scan_id(self) -> int | None:
        """The number people call it by."""
        value = self.start.get("scan_id")
        return value if isinstance(value, int) else None

    @property
    def time_s(self) -> float:
        """When it began (Unix s)."""
        value = self.start.get("time")
        return float(value) if isinstance(value, int | float) else 0.0

    @property
    def plan_name(self) -> str:
        """Of the start; empty where it has none."""
        return str(self.start.get("plan_name") or "")

    def num_events(self, stream: str) -> int:
        """Return how many events a stream has by the stop; 0 where that is not known."""
        counts = (self.stop or {}).get("num_events")
        value = counts.get(stream, 0) if isinstance(counts, Mapping) else 0
        return value if isinstance(value, int) and value >= 0 else 0

    def note(self, text: str) -> None:
        """Add a note, once."""
        if text not in self.notes:
            self.notes.append(text)


class Archive(Protocol):
    """A store of runs."""

    @property
    def name(self) -> str:
        """What it is called in positions and messages."""

    def runs(self, query: Query) -> Iterator[RunRef]:
        """Yield the runs a query means: in the order of ``query.runs``, else oldest first.

        Raises
        ------
        ConfigurationError
            A run that is named is not there, or more than one fits; an archive that cannot be opened.
        """

    def documents(self, run: RunRef) -> Iterator[NamedDocument]:
        """Yield the documents of a run as they were when it was taken, as far as the archive kept them.

        The same documents in the same order every time, events and datums one by one, a stream_datum before
        the event it belongs to.

        Raises
        ------
        ArchiveDamaged
            At the place where the archive turns out to be cut off, changed or garbage.
        """

    def close(self) -> None:
        """Free everything; never raises."""
