"""Which run a document belongs to, as far as it says itself; and the documents of one run in a list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamproc.documents import BadMessage, Document

__all__ = ["Reference", "reference_of", "select_run"]


@dataclass(frozen=True, slots=True)
class Reference:
    """What a document says about where it belongs.

    Attributes
    ----------
    run_uid : str or None
        The run, when the document names it.
    owns : str or None
        The uid other documents refer to this one by (descriptor, resource and stream_resource uids).
    needs : tuple of str
        Uids of descriptors or resources it refers to; any of them settles the run.
    """

    run_uid: str | None = None
    owns: str | None = None
    needs: tuple[str, ...] = ()


def reference_of(name: str, doc: Any) -> Reference:
    """Return what ``doc`` refers to; an empty :class:`Reference` for unusable or unknown documents."""
    if not isinstance(doc, (dict, Mapping)):
        return Reference()
    if name == "start":
        return Reference(run_uid=_text(doc.get("uid")))
    if name == "stop":
        return Reference(run_uid=_text(doc.get("run_start")))
    if name in ("descriptor", "resource", "stream_resource"):
        return Reference(run_uid=_text(doc.get("run_start")), owns=_text(doc.get("uid")))
    if name in ("event", "event_page"):
        return Reference(needs=_texts(doc.get("descriptor")))
    if name in ("datum", "datum_page"):
        return Reference(needs=_texts(doc.get("resource")))
    if name == "stream_datum":
        return Reference(needs=_texts(doc.get("descriptor"), doc.get("stream_resource")))
    if name in ("bulk_events", "bulk_datum"):
        return Reference(needs=_texts(*doc))
    return Reference()


def select_run(
    documents: Iterable[Document | BadMessage], run_uid: str | None, before: Document
) -> list[Document | BadMessage]:
    """Return those of ``documents`` that belong to the run of ``before`` and lie before it.

    Parameters
    ----------
    documents : iterable of Document or BadMessage
        In the order of their partition; those at or behind ``before``'s position are ignored, bad messages
        are left out.
    run_uid : str or None
        The run; None when ``before`` names only its descriptor or resource, which then leads to the run.
    before : Document
        The document that came without its run being known.

    Returns
    -------
    list
        Oldest first, from the run's start on; empty when the start is not among ``documents``.
    """
    earlier = [
        d
        for d in documents
        if isinstance(d, Document)
        and d.position.topic_partition == before.position.topic_partition
        and d.position.offset < before.position.offset
    ]
    owner = _owners(earlier)
    wanted = run_uid or _run_of(reference_of(before.name, before.doc), owner)
    if wanted is None:
        return []
    chosen: Sequence[Document] = [d for d in earlier if _run_of(reference_of(d.name, d.doc), owner) == wanted]
    first = next((i for i, d in enumerate(chosen) if d.name == "start"), None)
    return [] if first is None else list(chosen[first:])


def _owners(documents: Iterable[Document]) -> dict[str, str]:
    owner: dict[str, str] = {}
    for document in documents:
        reference = reference_of(document.name, document.doc)
        if reference.owns is None:
            if (
                document.name == "stream_datum"
            ):  # a stream_resource may name no run: its datum's descriptor does
                run = next((owner[n] for n in reference.needs if n in owner), None)
                if run is not None:
                    owner.update((n, run) for n in reference.needs if n not in owner)
        elif reference.run_uid is not None:
            owner[reference.owns] = reference.run_uid
    return owner


def _run_of(reference: Reference, owner: dict[str, str]) -> str | None:
    if reference.run_uid is not None:
        return reference.run_uid
    if reference.owns is not None:
        return owner.get(reference.owns)
    return next((owner[n] for n in reference.needs if n in owner), None)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _texts(*values: Any) -> tuple[str, ...]:
    return tuple(v for v in values if isinstance(v, str) and v)
