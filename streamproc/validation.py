"""What a document must look like to be used: cheap structural checks for all, event-model's schema for few.

Two levels, because real beamlines deviate from the schema harmlessly:

* what streamproc relies on (uids, references, sequence numbers, finite times, string keys, sizes) is checked
  by hand, and a document that fails is refused;
* the event-model JSON schema is applied to ``start``, ``descriptor``, ``resource``, ``stream_resource`` and
  ``stop`` (a handful per run), and what deviates becomes a note, never a refusal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from streamproc.errors import DocumentRefused, Where

__all__ = ["DOCUMENT_NAMES", "DocumentLimits", "DocumentValidator"]

DOCUMENT_NAMES = frozenset(
    {
        "start", "descriptor", "event", "event_page", "bulk_events", "datum", "datum_page", "bulk_datum",
        "resource", "stream_resource", "stream_datum", "stop",
    }
)  # fmt: skip
"""Names this package reads; every other name is skipped."""

_WITH_SCHEMA = {
    "start": "start",
    "descriptor": "descriptor",
    "resource": "resource",
    "stream_resource": "stream_resource",
    "stop": "stop",
}
_MAX_NOTES = 3
_VALUE_BYTES = 16
"""What a value of a list or map takes in memory at the least; in the message it may be one byte."""


@dataclass(frozen=True, slots=True)
class DocumentLimits:
    """What one document may hold; beyond it is refused.

    ``max_seq_num`` also bounds ``stop.num_events``; ``max_rows`` the events of one stream_datum;
    ``max_page_rows`` the events or datums of one page; ``max_uid_chars`` every uid and reference;
    ``max_keys`` the data keys of one descriptor or event; ``max_depth`` and ``max_nodes`` the nesting and
    size of documents that are kept; above ``max_schema_nodes`` values the schema is not applied, because
    that takes tens of microseconds a value. ``max_kept_bytes`` bounds text and arrays of a start or
    descriptor, ``max_resource_bytes`` those of a stop, resource or stream_resource, ``max_datum_bytes`` those
    of a datum or stream_datum, of which many are kept; each value of a list or map counts as 16 bytes more.
    """

    max_seq_num: int = 2**31
    max_rows: int = 1_000_000
    max_page_rows: int = 100_000
    max_uid_chars: int = 512
    max_keys: int = 20_000
    max_depth: int = 64
    max_nodes: int = 500_000
    max_schema_nodes: int = 10_000
    max_kept_bytes: int = 64 * 2**20
    max_resource_bytes: int = 256 * 2**10
    max_datum_bytes: int = 64 * 2**10


class DocumentValidator:
    """Checks documents at the edge.

    Parameters
    ----------
    limits : DocumentLimits
        Sizes beyond which a document is refused.
    schema : bool
        Whether to apply event-model's JSON schemas (for notes); false skips importing event_model.
    """

    def __init__(self, limits: DocumentLimits | None = None, *, schema: bool = True) -> None:
        self.limits = limits or DocumentLimits()
        self._schemas = _load_schemas() if schema else {}
        self._checks: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "start": self._start,
            "descriptor": self._descriptor,
            "event": self._event,
            "event_page": self._event_page,
            "bulk_events": self._bulk_events,
            "datum": self._datum,
            "datum_page": self._datum_page,
            "bulk_datum": self._bulk_datum,
            "resource": self._resource,
            "stream_resource": self._stream_resource,
            "stream_datum": self._stream_datum,
            "stop": self._stop,
        }

    def check(self, name: str, doc: Any) -> list[str]:
        """Check one document and return notes about harmless deviations from event-model's schema.

        Parameters
        ----------
        name : str
            One of :data:`DOCUMENT_NAMES`.
        doc : object
            What came with it.

        Raises
        ------
        DocumentRefused
            When the document cannot be used; says which field, what was expected and what came.
        """
        if not isinstance(doc, Mapping):
            raise DocumentRefused(f"{name}: expected a mapping, got {type(doc).__name__}")
        self._checks[name](doc)
        if name not in _WITH_SCHEMA:
            return []
        small = name in ("resource", "stream_resource", "stop")
        max_bytes = self.limits.max_resource_bytes if small else self.limits.max_kept_bytes
        if self._count_values(name, doc, max_bytes) > self.limits.max_schema_nodes:
            return [f"{name}: too large to compare with event-model's schema"]
        return self._schema_notes(name, doc)

    # -- one check per document name -------------------------------------------------------------------

    def _start(self, doc: Mapping[str, Any]) -> None:
        self._uid("start", doc, "uid")
        _time("start", doc)

    def _descriptor(self, doc: Mapping[str, Any]) -> None:
        self._uid("descriptor", doc, "uid")
        self._uid("descriptor", doc, "run_start")
        _time("descriptor", doc)
        self._text("descriptor", doc, "name")
        data_keys = self._keys("descriptor", doc, "data_keys")
        for key, entry in data_keys.items():
            if not isinstance(entry, Mapping):
                raise _wrong("descriptor", f"data_keys[{key!r}]", "a mapping", entry)
            _shape(key, entry.get("shape", ()))
            if not isinstance(entry.get("external", ""), str):
                raise _wrong("descriptor", f"data_keys[{key!r}].external", "a string", entry["external"])
        configuration = doc.get("configuration", {})
        if not isinstance(configuration, Mapping):
            raise _wrong("descriptor", "configuration", "a mapping", configuration)
        for key, entry in configuration.items():
            if not isinstance(entry, Mapping) or not isinstance(entry.get("data", {}), Mapping):
                raise _wrong(
                    "descriptor", f"configuration[{key!r}]", "a mapping with a mapping 'data'", entry
                )

    def _event(self, doc: Mapping[str, Any]) -> None:
        self._uid("event", doc, "uid")
        self._uid("event", doc, "descriptor")
        self._count("event", "seq_num", doc.get("seq_num"), 1, self.limits.max_seq_num)
        _time("event", doc)
        data = self._keys("event", doc, "data")
        timestamps = self._keys("event", doc, "timestamps")
        if data.keys() != timestamps.keys():
            odd = sorted(data.keys() ^ timestamps.keys(), key=str)[:3]
            raise DocumentRefused(
                f"event: data and timestamps must have the same keys; they differ in {odd}",
                Where(seq_num=doc["seq_num"]),
            )
        if not isinstance(doc.get("filled", {}), Mapping):
            raise _wrong("event", "filled", "a mapping", doc["filled"])

    def _event_page(self, doc: Mapping[str, Any]) -> None:
        if isinstance(doc.get("seq_num"), int):  # an event under the wrong name: real beamlines sent these
            return self._event(doc)
        self._uid("event_page", doc, "descriptor")
        n = self._rows("event_page", "seq_num", doc.get("seq_num"))
        for field in ("uid", "time"):
            self._rows("event_page", field, doc.get(field), n)
        for field in ("data", "timestamps", "filled"):
            columns = self._keys("event_page", doc, field, required=field != "filled")
            for key, column in columns.items():
                self._rows("event_page", f"{field}[{key!r}]", column, n)

    def _datum(self, doc: Mapping[str, Any]) -> None:
        self._uid("datum", doc, "datum_id")
        self._uid("datum", doc, "resource")
        self._keys("datum", doc, "datum_kwargs")
        self._count_values("datum", doc, self.limits.max_datum_bytes)

    def _datum_page(self, doc: Mapping[str, Any]) -> None:
        self._uid("datum_page", doc, "resource")
        n = self._rows("datum_page", "datum_id", doc.get("datum_id"))
        for key, column in self._keys("datum_page", doc, "datum_kwargs").items():
            self._rows("datum_page", f"datum_kwargs[{key!r}]", column, n)

    def _bulk_events(self, doc: Mapping[str, Any]) -> None:
        total = 0
        for descriptor, events in doc.items():
            if not isinstance(descriptor, str) or not isinstance(events, (list, tuple)):
                raise _wrong("bulk_events", f"entry {str(descriptor)[:40]!r}", "a list of events", events)
            total += len(events)
        if total > self.limits.max_page_rows:
            raise DocumentRefused(f"bulk_events: {total} rows, at most {self.limits.max_page_rows} allowed")

    def _bulk_datum(self, doc: Mapping[str, Any]) -> None:
        self._uid("bulk_datum", doc, "resource")
        for field in ("datum_ids" if "datum_ids" in doc else "datum_id", "datum_kwarg_list"):
            self._rows("bulk_datum", field, doc.get(field))

    def _resource(self, doc: Mapping[str, Any]) -> None:
        self._uid("resource", doc, "uid")
        self._optional_uid("resource", doc, "run_start")
        for field in ("spec", "resource_path"):
            self._text("resource", doc, field, 65_536)
        if not isinstance(doc.get("root", ""), str):
            raise _wrong("resource", "root", "a string", doc["root"])
        self._keys("resource", doc, "resource_kwargs")

    def _stream_resource(self, doc: Mapping[str, Any]) -> None:
        self._uid("stream_resource", doc, "uid")
        self._optional_uid("stream_resource", doc, "run_start")
        self._text("stream_resource", doc, "data_key")
        self._text("stream_resource", doc, "uri", 65_536)
        self._text("stream_resource", doc, "mimetype")
        self._keys("stream_resource", doc, "parameters")

    def _stream_datum(self, doc: Mapping[str, Any]) -> None:
        self._count_values("stream_datum", doc, self.limits.max_datum_bytes)
        for field in ("uid", "stream_resource", "descriptor"):
            self._uid("stream_datum", doc, field)
        first, stop = self._range(doc, "seq_nums", 1)
        start, end = self._range(doc, "indices", 0)
        if stop - first != end - start:
            raise DocumentRefused(
                f"stream_datum: seq_nums name {stop - first} events, indices {end - start}; must be equal"
            )
        if stop - first > self.limits.max_rows:
            raise DocumentRefused(
                f"stream_datum: {stop - first} events in one document, at most {self.limits.max_rows} allowed"
            )

    def _stop(self, doc: Mapping[str, Any]) -> None:
        self._uid("stop", doc, "run_start")
        self._optional_uid("stop", doc, "uid")
        _time("stop", doc)
        num_events = doc.get("num_events", {})
        if not isinstance(num_events, Mapping):
            raise _wrong("stop", "num_events", "a mapping", num_events)
        for stream, n in num_events.items():
            self._count("stop", f"num_events[{stream!r}]", n, 0, self.limits.max_seq_num)

    # -- building blocks --------------------------------------------------------------------------------

    def _uid(self, name: str, doc: Mapping[str, Any], field: str) -> None:
        value = doc.get(field)
        if type(value) is not str or not 0 < len(value) <= self.limits.max_uid_chars:
            raise _wrong(name, field, f"a string of 1 to {self.limits.max_uid_chars} characters", value)

    def _optional_uid(self, name: str, doc: Mapping[str, Any], field: str) -> None:
        value = doc.get(field)
        if value is not None and not (isinstance(value, str) and value == ""):
            self._uid(name, doc, field)

    def _text(self, name: str, doc: Mapping[str, Any], field: str, max_chars: int = 1024) -> None:
        value = doc.get(field)
        if not isinstance(value, str) or not 0 < len(value) <= max_chars:
            raise _wrong(name, field, f"a string of 1 to {max_chars} characters", value)

    def _keys(
        self, name: str, doc: Mapping[str, Any], field: str, *, required: bool = True
    ) -> Mapping[str, Any]:
        value = doc.get(field, None if required else {})
        if not isinstance(value, Mapping):
            raise _wrong(name, field, "a mapping", value)
        if len(value) > self.limits.max_keys:
            raise DocumentRefused(
                f"{name}: {field} has {len(value)} keys, at most {self.limits.max_keys} allowed"
            )
        for key in value:
            if type(key) is not str:
                raise _wrong(name, f"a key of {field}", "a string", key)
        return value

    def _count(self, name: str, field: str, value: Any, low: int, high: int) -> None:
        # bool is an int and numpy integers are not; both kinds never come from a proper producer
        if type(value) is not int or not low <= value <= high:
            raise _wrong(name, field, f"an integer from {low} to {high}", value)

    def _rows(self, name: str, field: str, value: Any, expected: int | None = None) -> int:
        if not isinstance(value, (list, tuple)) and not (isinstance(value, np.ndarray) and value.ndim):
            raise _wrong(name, field, "a list", value)
        if len(value) > self.limits.max_page_rows:
            raise DocumentRefused(
                f"{name}: {field} has {len(value)} rows, at most {self.limits.max_page_rows} allowed"
            )
        if expected is not None and len(value) != expected:
            raise DocumentRefused(f"{name}: {field} has {len(value)} rows, expected {expected} as in seq_num")
        return len(value)

    def _range(self, doc: Mapping[str, Any], field: str, low: int) -> tuple[int, int]:
        value = doc.get(field)
        if not isinstance(value, Mapping):
            raise _wrong("stream_datum", field, "a mapping with start and stop", value)
        start, stop = value.get("start"), value.get("stop")
        self._count("stream_datum", f"{field}.start", start, low, self.limits.max_seq_num)
        self._count("stream_datum", f"{field}.stop", stop, low, self.limits.max_seq_num + 1)
        assert isinstance(start, int) and isinstance(stop, int)
        if stop < start:
            raise _wrong("stream_datum", field, "start <= stop", f"{start}..{stop}")
        return start, stop

    def _count_values(self, name: str, doc: Mapping[str, Any], max_bytes: int) -> int:
        """Walk without recursion: nesting, size, string keys throughout; return how many values there are."""
        stack: list[tuple[Any, int]] = [(doc, 0)]
        nodes = size = 0
        while stack:
            value, depth = stack.pop()
            if isinstance(value, (str, bytes)):
                size += len(value)
            elif isinstance(value, np.ndarray):
                size += value.nbytes
            elif isinstance(value, (Mapping, list, tuple)):
                if depth > self.limits.max_depth:
                    raise DocumentRefused(f"{name}: nested deeper than {self.limits.max_depth} levels")
                nodes += len(value)
                size += _VALUE_BYTES * len(value)
                if nodes > self.limits.max_nodes:
                    raise DocumentRefused(f"{name}: more than {self.limits.max_nodes} values")
                stack.extend((child, depth + 1) for child in _children(name, value))
            if size > max_bytes:
                raise DocumentRefused(f"{name}: more than {max_bytes} bytes of text, arrays and values")
        return nodes

    def _schema_notes(self, name: str, doc: Mapping[str, Any]) -> list[str]:
        schema = self._schemas.get(name)
        if schema is None:
            return []
        found = islice(schema.iter_errors(doc), _MAX_NOTES)
        return [
            f"{name}: {'.'.join(map(str, e.absolute_path)) or 'document'}: {e.message[:160]}" for e in found
        ]


def _load_schemas() -> dict[str, Any]:
    import event_model  # not at the top: half a second that only who validates pays

    return {
        name: event_model.schema_validators[event_model.DocumentNames[member]]
        for name, member in _WITH_SCHEMA.items()
    }


def _wrong(name: str, field: str, expected: str, got: Any) -> DocumentRefused:
    shown = repr(got) if isinstance(got, (str, int, float, bool, type(None))) else type(got).__name__
    return DocumentRefused(f"{name}: {field} must be {expected}, got {shown[:80]}")


def _time(name: str, doc: Mapping[str, Any]) -> None:
    value = doc.get("time")
    if type(value) not in (int, float) or not math.isfinite(value):  # type: ignore[arg-type]
        raise _wrong(name, "time", "a finite number (Unix s)", value)


def _children(name: str, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    for key in value:
        if not isinstance(key, str):
            raise _wrong(name, "a key", "a string", key)
    return value.values()


def _shape(key: str, shape: Any) -> None:
    if not isinstance(shape, Sequence) or isinstance(shape, (str, bytes)):
        raise _wrong("descriptor", f"data_keys[{key!r}].shape", "a list", shape)
    for n in shape:
        if n is not None and (isinstance(n, bool) or not isinstance(n, int) or not 0 <= n < 2**31):
            raise _wrong("descriptor", f"data_keys[{key!r}].shape", "non-negative integers or None", n)
