"""Whether a result document is one: event-model's schema, and the keys that its descriptor announced."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from streamproc.errors import DocumentRefused
from streamproc.validation import DocumentValidator

__all__ = ["Soundness"]

_EVENT_FIELDS = {"uid", "descriptor", "seq_num", "time", "data", "timestamps", "filled"}
_TEXTS = ("uid", "descriptor")
_MAPPINGS = ("data", "timestamps")


class Soundness:
    """Examines result documents."""

    def __init__(self) -> None:
        import event_model  # not at the top: half a second that only who validates pays

        names = ("start", "descriptor", "event", "stop")
        self._validators = {n: event_model.schema_validators[event_model.DocumentNames[n]] for n in names}
        self._structure = DocumentValidator(schema=False)

    def refusal(self, name: str, doc: Mapping[str, Any]) -> str | None:
        """Return why a document cannot be used at all; None when it can."""
        try:
            self._structure.check(name, doc)
        except DocumentRefused as error:
            return error.message
        return None

    def fault(self, name: str, doc: Mapping[str, Any], keys: Collection[str] | None = None) -> str | None:
        """Return what is wrong with a document that can be used; None when nothing is.

        Parameters
        ----------
        name : str
            ``start``, ``descriptor``, ``event`` or ``stop``.
        doc : Mapping
            The document.
        keys : collection of str, optional
            For an event: the data keys of its descriptor.
        """
        if not (name == "event" and _plain_event(doc)):
            found = next(iter(self._validators[name].iter_errors(doc)), None)
            if found is not None:
                where = ".".join(map(str, found.absolute_path)) or "document"
                return f"{where}: {found.message[:160]}"
        if keys is not None and doc["data"].keys() != keys:
            odd = sorted(doc["data"].keys() ^ set(keys))[:3]
            return f"data keys that are not those of its descriptor: they differ in {', '.join(odd)}"
        return None


def _plain_event(doc: Mapping[str, Any]) -> bool:
    """Tell at once that an event fits the schema, which takes 150 us to say the same."""
    return (
        doc.keys() <= _EVENT_FIELDS
        and doc.keys() >= _EVENT_FIELDS - {"filled"}
        and all(type(doc[f]) is str for f in _TEXTS)
        and type(doc["seq_num"]) is int
        and type(doc["time"]) in (int, float)
        and all(type(doc[f]) is dict for f in _MAPPINGS)
        and (doc.get("filled") or {}) == {}
        and type(doc.get("filled", {})) is dict
    )
