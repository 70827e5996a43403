"""Pages and bulk documents taken apart into single events and datums."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from streamproc.documents import Document
from streamproc.errors import DocumentRefused

__all__ = ["unpack_document"]


def unpack_document(document: Document) -> list[Document]:
    """Return the single events or datums of a page or bulk document; any other document by itself.

    An ``event_page`` whose ``seq_num`` is one integer is an event under the wrong name (emitted at real
    beamlines) and is taken as one. All parts share the page's position.

    Raises
    ------
    DocumentRefused
        When a bulk_datum has lists of different lengths.
    """
    name, doc = document.name, document.doc
    if name == "event_page":
        if isinstance(doc["seq_num"], int):
            return [replace(document, name="event")]
        return [replace(document, name="event", doc=event) for event in _events(doc)]
    if name == "datum_page":
        return [replace(document, name="datum", doc=datum) for datum in _datums(doc)]
    if name == "bulk_events":
        return [replace(document, name="event", doc=event) for events in doc.values() for event in events]
    if name == "bulk_datum":
        return [replace(document, name="datum", doc=datum) for datum in _bulk_datums(doc)]
    return [document]


def _events(page: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    columns = {f: page.get(f, {}) for f in ("data", "timestamps", "filled")}
    numbers, times = _plain(page["seq_num"]), _plain(page["time"])
    for i, (uid, seq_num, time_s) in enumerate(zip(_plain(page["uid"]), numbers, times, strict=True)):
        yield {
            "uid": uid,
            "descriptor": page["descriptor"],
            "seq_num": seq_num,
            "time": time_s,
            **{field: {key: column[i] for key, column in c.items()} for field, c in columns.items()},
        }


def _datums(page: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    kwargs = {key: _plain(column) for key, column in page["datum_kwargs"].items()}
    for i, datum_id in enumerate(_plain(page["datum_id"])):
        row = {key: column[i] for key, column in kwargs.items()}
        yield {"datum_id": datum_id, "resource": page["resource"], "datum_kwargs": row}


def _bulk_datums(bulk: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    ids = bulk.get("datum_ids", bulk.get("datum_id"))
    kwargs = bulk.get("datum_kwarg_list")
    if not isinstance(ids, (list, tuple)) or not isinstance(kwargs, (list, tuple)) or len(ids) != len(kwargs):
        raise DocumentRefused("bulk_datum: datum_ids and datum_kwarg_list must be lists of the same length")
    for datum_id, row in zip(ids, kwargs, strict=True):
        yield {"datum_id": datum_id, "resource": bulk.get("resource"), "datum_kwargs": row}


def _plain(column: Any) -> Any:
    return column.tolist() if isinstance(column, np.ndarray) else column
