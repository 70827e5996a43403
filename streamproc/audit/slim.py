"""Documents without their arrays, and those of some runs only: what keeps an audit small."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from streamproc.documents import Document
from streamproc.runs import reference_of

__all__ = ["OfRuns", "slim"]

_SMALL = 64
"""Elements of an array or list that is kept: motor readings, not frames."""


def slim(document: Document) -> Document:
    """Return the document without frames, configuration and message bytes; its uids and numbers stay.

    Parameters
    ----------
    document : Document
        A raw document; one that is not formed as expected is returned without its bytes only.
    """
    doc, make = document.doc, _SLIMMERS.get(document.name)
    try:
        kept = make(doc) if make is not None else doc
    except (TypeError, AttributeError, ValueError, KeyError):
        kept = doc
    return replace(document, doc=kept, raw=b"")


def _event(doc: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**doc, "data": {key: _value(value) for key, value in doc["data"].items()}}


def _page(doc: Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(doc.get("seq_num"), int):  # an event under the wrong name
        return _event(doc)
    return {**doc, "data": {key: _column(column) for key, column in doc["data"].items()}}


def _bulk(doc: Mapping[str, Any]) -> Mapping[str, Any]:
    return {uid: [_event(event) for event in events] for uid, events in doc.items()}


def _descriptor(doc: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**doc, "configuration": {}}


def _value(value: Any) -> Any:
    """Return a small value as it is and None for a frame (also one that came as nested lists)."""
    if isinstance(value, np.ndarray):
        return value.copy() if value.size <= _SMALL else None
    if isinstance(value, list | tuple):
        return value if len(value) <= _SMALL and not any(isinstance(v, list | tuple) for v in value) else None
    return value


def _column(column: Any) -> Any:
    if isinstance(column, np.ndarray) and column.ndim == 1:
        return column.tolist()
    return [_value(value) for value in column]


_SLIMMERS: Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {
    "event": _event,
    "event_page": _page,
    "bulk_events": _bulk,
    "descriptor": _descriptor,
}


class OfRuns:
    """Tells whether a raw document may belong to one of some runs.

    Parameters
    ----------
    run_uids : collection of str
        The runs.
    """

    def __init__(self, run_uids: Collection[str]) -> None:
        self._runs = frozenset(run_uids)
        self._owned: set[str] = set()

    def __call__(self, document: Document) -> bool:
        """Return False only where the document belongs to another run."""
        reference = reference_of(document.name, document.doc)
        if reference.run_uid is not None:
            mine = reference.run_uid in self._runs
        elif reference.owns is not None:  # a resource that names no run
            mine = True
        else:
            mine = not self._owned.isdisjoint(reference.needs)
        if mine and reference.owns is not None:
            self._owned.add(reference.owns)
        return mine
