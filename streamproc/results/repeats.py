"""Readers of a topic that is written at least once: each document once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from streamproc.results.run import NamedDocument

__all__ = ["deduplicate"]


def deduplicate(
    documents: Iterable[NamedDocument], *, on_conflict: Callable[[str, Mapping[str, Any]], None] | None = None
) -> Iterable[NamedDocument]:
    """Yield each result document once, for readers of a topic written at least once.

    Parameters
    ----------
    documents : iterable of (name, doc)
        As read from the results topic. Repeats carry the same uid; the first is passed on.
    on_conflict : callable, optional
        Called with (name, doc) when a repeat's content differs from the first: that must never happen.
    """
    seen: dict[str, int] = {}
    for name, doc in documents:
        uid = str(doc.get("uid", ""))
        content = hash(_frozen(doc))
        if uid and uid in seen:
            if on_conflict is not None and seen[uid] != content:
                on_conflict(name, doc)
            continue
        seen[uid] = content
        yield name, doc


def _frozen(value: Any) -> Any:
    """Return a hashable picture of a document's content."""
    if isinstance(value, Mapping):
        return tuple((k, _frozen(v)) for k, v in sorted(value.items()))
    if isinstance(value, list | tuple):
        return tuple(_frozen(v) for v in value)
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    return repr(value)
