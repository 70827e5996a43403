"""What stores do to documents, undone: pages taken apart, lists made arrays, stream_datums put in place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from streamproc.documents import Document, Position
from streamproc.errors import ArchiveDamaged
from streamproc.runs.arrays import as_declared
from streamproc.runs.pages import unpack_document
from streamproc.transports.archive.ports import NamedDocument
from streamproc.validation import DOCUMENT_NAMES

__all__ = ["as_array", "interleave", "repaired"]

_NOWHERE = Position("archive", 0, 0)


def repaired(documents: Iterable[NamedDocument], note: Callable[[str], None]) -> Iterator[NamedDocument]:
    """Yield single documents of one run with arrays where stores have lists.

    Parameters
    ----------
    documents : iterable of (name, doc)
        Of one run, as a store gives them.
    note : callable
        Is told, in a sentence, what was found and done.
    """
    arrays, streams = _Arrays(note), set()
    resources: set[str] = set()
    for name, doc in documents:
        if name not in DOCUMENT_NAMES:
            note(f"a document of the unknown name {name[:40]!r} was left out")
        elif name == "stop" and not (isinstance(doc, Mapping) and doc):
            note("the archive has an empty stop document: the run was never finished there")
        elif not isinstance(doc, Mapping):
            raise ArchiveDamaged(f"a {name} document is no mapping but {type(doc).__name__}")
        else:
            if name == "descriptor":
                streams |= _stream_keys(doc)
            elif name == "stream_resource":
                resources.add(str(doc.get("data_key")))
            for one_name, one in _single(name, doc, note):
                yield one_name, arrays.restore(one_name, one)
    for key in sorted(streams - resources):
        note(
            f"{key}: the archive has no stream_resource of it, so its frames cannot be found "
            "(suitcase-msgpack and Mongo-backed trees drop these documents)"
        )


def _stream_keys(descriptor: Mapping[str, Any]) -> set[str]:
    keys = descriptor.get("data_keys")
    entries = keys.items() if isinstance(keys, Mapping) else ()
    return {k for k, v in entries if isinstance(v, Mapping) and str(v.get("external")).startswith("STREAM")}


def _single(name: str, doc: Mapping[str, Any], note: Callable[[str], None]) -> Iterator[NamedDocument]:
    """Take pages and bulk documents apart."""
    if name not in ("event_page", "datum_page", "bulk_events", "bulk_datum"):
        yield name, doc
        return
    try:
        parts = unpack_document(Document(name, doc, _NOWHERE))
    except Exception as error:
        raise ArchiveDamaged(f"a {name} cannot be taken apart: {type(error).__name__}: {error}") from error
    note(f"{name} documents were taken apart into single ones (their order and contents are the same)")
    for part in parts:
        yield part.name, part.doc


class _Arrays:
    """Gives events their arrays back; the descriptor's ``dtype_numpy`` says which kind."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._keys: dict[str, Mapping[str, Any]] = {}

    def restore(self, name: str, doc: Mapping[str, Any]) -> Mapping[str, Any]:
        if name == "descriptor":
            self._keys[str(doc.get("uid"))] = doc.get("data_keys") or {}
        if name != "event" or not isinstance(doc.get("data"), Mapping):
            return doc
        entries = self._keys.get(str(doc.get("descriptor")), {})
        made = {k: self._array(k, v, entries.get(k)) for k, v in doc["data"].items() if _is_list(v)}
        return {**doc, "data": {**doc["data"], **made}} if made else doc

    def _array(self, key: str, value: Any, entry: Any) -> Any:
        entry = entry if isinstance(entry, Mapping) else {}
        array = as_array(value, entry)
        declared = entry.get("dtype_numpy")
        if not isinstance(array, np.ndarray):
            return value
        if not isinstance(declared, str):
            self._note(
                f"{key}: stored as lists and no dtype_numpy in its descriptor: read as {array.dtype.str}; "
                "whether it was that is not known"
            )
        elif np.dtype(declared) == array.dtype:
            self._note(f"{key}: stored as lists, made arrays of {declared} again as its descriptor says")
        else:
            self._note(f"{key}: stored as lists that do not fit {declared}: read as {array.dtype.str}")
        return array


def as_array(value: Any, entry: Mapping[str, Any]) -> Any:
    """Return nested lists of numbers as the array they were; anything else as it is."""
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, OverflowError):  # ragged
        return value
    return as_declared(array, entry.get("dtype_numpy")) if array.dtype.kind in "biufc" else value


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and not isinstance(value[0], str)


def interleave(
    documents: Iterable[NamedDocument], external: Iterable[NamedDocument], note: Callable[[str], None]
) -> Iterator[NamedDocument]:
    """Put stream_resources behind the descriptors and each part of a merged stream_datum before its event.

    Parameters
    ----------
    documents : iterable of (name, doc)
        Start, descriptors, events in order, stop; stream_resources and stream_datums among them are left out.
    external : iterable of (name, doc)
        The stream_resources and stream_datums, in any order.
    note : callable
        Is told what was done.
    """
    streams = _Streams(external)
    for name, doc in documents:
        if name in ("stream_resource", "stream_datum"):
            continue
        if name == "stop":
            yield from streams.rest()
        if name == "event":
            yield from streams.before(doc)
        yield name, doc
        if name == "descriptor":
            yield from streams.described(doc)
    yield from streams.rest()
    if streams.split:
        note("merged stream_datum documents were split and put before the events of their seq_num")


class _Streams:
    """The merged stream_datums, by stream, cut off piece by piece."""

    def __init__(self, external: Iterable[NamedDocument]) -> None:
        self._resources: dict[str, Mapping[str, Any]] = {}
        self._datums: list[dict[str, Any]] = []
        self.split = False
        self._names: dict[str, str] = {}
        for name, doc in external:
            if name == "stream_resource":
                self._resources[doc["uid"]] = doc
            elif name == "stream_datum":
                self._datums.append({**doc, "left": doc["seq_nums"]["start"]})

    def described(self, doc: Mapping[str, Any]) -> Iterator[NamedDocument]:
        """Yield the resources of a stream once its descriptor is there."""
        self._names[doc["uid"]] = doc["name"]
        for datum in self._datums:
            if datum["descriptor"] == doc["uid"]:
                resource = self._resources.pop(datum["stream_resource"], None)
                if resource is not None:
                    yield "stream_resource", resource

    def before(self, event: Mapping[str, Any]) -> Iterator[NamedDocument]:
        """Yield the pieces that go with an event (and those before it that none took)."""
        stream = self._names.get(event["descriptor"])
        for datum in self._datums:
            stop = min(event["seq_num"] + 1, datum["seq_nums"]["stop"])
            if self._names.get(datum["descriptor"]) == stream and datum["left"] < stop:
                yield self._cut(datum, stop, event["descriptor"])

    def rest(self) -> Iterator[NamedDocument]:
        """Yield what no event took: of fly scans, and of runs whose events were lost."""
        for datum in self._datums:
            if datum["left"] < datum["seq_nums"]["stop"]:
                resource = self._resources.pop(datum["stream_resource"], None)
                if resource is not None:
                    yield "stream_resource", resource
                yield self._cut(datum, datum["seq_nums"]["stop"], datum["descriptor"])

    def _cut(self, datum: dict[str, Any], stop: int, descriptor: str) -> NamedDocument:
        first, shift = datum["left"], datum["indices"]["start"] - datum["seq_nums"]["start"]
        datum["left"] = stop
        whole = first == datum["seq_nums"]["start"] and stop == datum["seq_nums"]["stop"]
        self.split = self.split or not whole
        doc = {k: v for k, v in datum.items() if k != "left"}
        doc |= {
            "uid": datum["uid"] if whole else f"{datum['uid']}-{first}",
            "descriptor": descriptor,
            "seq_nums": {"start": first, "stop": stop},
            "indices": {"start": first + shift, "stop": stop + shift},
        }
        return "stream_datum", doc
