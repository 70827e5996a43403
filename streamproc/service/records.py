"""Records: an open run as the parts that are stored, and back again.

One part changes with every reading; documents, waiting readings and large arrays do not change, so each is
written once and withdrawn when it is no longer needed (``docs/decisions/0006-exactly-once.md``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from streamproc.documents import Document
from streamproc.frames.parts import pack_locator, pack_origin, unpack_locator, unpack_origin
from streamproc.frames.requests import FrameRequest, Inline
from streamproc.runs import Run, RunTracker
from streamproc.runs.pages import unpack_document
from streamproc.runs.state import pack, pack_position, unpack, unpack_position
from streamproc.service.desk import Desk
from streamproc.service.work import Pending

__all__ = ["Record", "fill", "restore_run", "run_records"]


@dataclass(frozen=True, slots=True)
class Record:
    """One part: its key after the run's uid (empty for the changing one), its version, its value."""

    key: str
    token: Any
    value: Callable[[], Any]
    listed: bool = False
    """Whether the changing part says that it counts: one that is stored beyond that does no harm."""


def run_records(run: Run, tracker: RunTracker, desk: Desk) -> Iterator[Record]:
    """Yield the parts of a run that is open or still has readings to settle."""
    yield Record("", None, lambda: _changing(run, tracker, desk))
    for kind, uid, doc in run.documents():
        yield Record(f"document/{kind}/{uid}", True, lambda doc=doc: pack(doc))  # type: ignore[misc]
    work = desk.works.get(run.uid)
    for pending in work.pending.values() if work is not None else ():
        token = pending.request.position.offset
        yield Record(
            f"reading/{pending.request.seq_num}",
            token,
            lambda pending=pending: _reading(pending),  # type: ignore[misc]
            listed=True,
        )


def restore_run(parts: Mapping[str, Any], tracker: RunTracker, desk: Desk, deadline_s: float) -> Run:
    """Take a run up from its parts (values by key).

    Parameters
    ----------
    parts : Mapping
        As :func:`run_records` gave them.
    tracker, desk
        Get the run.
    deadline_s : float
        Until when its readings are waited for, on the service's clock.
    """
    changing = parts[""]
    documents = [
        (*key.split("/", 2)[1:], unpack(value)) for key, value in parts.items() if key.startswith("document/")
    ]
    run = Run.from_parts(changing["facts"], [(str(k), str(u), d) for k, u, d in documents])
    if changing["tracker"] is not None:
        tracker.restore_run(run, changing["tracker"])
    readings = [
        _restore_reading(run, value, deadline_s) for key, value in parts.items() if key.startswith("reading/")
    ]
    desk.restore(run, _unpacked(changing["desk"]), readings)
    return run


def fill(pending: Pending, document: Document) -> bool:
    """Give a reading that was taken over the array that only its message has; False when it is not there."""
    request = pending.request
    for part in unpack_document(document):
        doc = part.doc
        if part.name == "event" and doc["seq_num"] == request.seq_num and request.key in doc["data"]:
            readings = {key: doc["data"][key] for key in pending.lacking if key in doc["data"]}
            origin = None if request.origin is None else replace(request.origin, raw=document.raw)
            pending.request = replace(
                request, locator=Inline(doc["data"][request.key]), origin=origin,
                readings={k: readings.get(k, v) for k, v in request.readings.items()},
            )  # fmt: skip
            pending.unread, pending.lacking = False, ()
            return True
    return False


def _changing(run: Run, tracker: RunTracker, desk: Desk) -> dict[str, Any]:
    state = desk.to_state(run.uid)
    if state["work"] is not None:
        state["work"] = {k: pack(v) if k in _PACKED else v for k, v in state["work"].items()}
    return {"facts": run.facts(), "tracker": tracker.entry_state(run.uid), "desk": state}


_PACKED = ("result", "snapshot")
"""What may hold arrays or other values of documents; the rest is plain already."""


def _unpacked(state: Mapping[str, Any]) -> Mapping[str, Any]:
    if state["work"] is None:
        return state
    work = {k: unpack(v) if k in _PACKED else v for k, v in state["work"].items()}
    return {**state, "work": work}


def _reading(pending: Pending) -> dict[str, Any]:
    """Return a waiting reading; of an inline one all that only the message has is left out."""
    request = pending.request
    origin = request.origin
    lacking: Sequence[str] = pending.lacking
    if pending.inline and not pending.unread:
        lacking = [k for k, v in request.readings.items() if getattr(v, "ndim", 0)]
    if pending.inline and origin is not None:
        origin = replace(origin, raw=b"")
    return {
        "seq_num": request.seq_num, "stream": request.stream, "key": request.key, "time_s": request.time_s,
        "data_key": pack(request.data_key), "position": pack_position(request.position),
        "locator": None if pending.inline else pack_locator(request.locator),
        "published_s": request.published_s, "lacking": list(lacking),
        "readings": pack({k: None if k in lacking else v for k, v in request.readings.items()}),
        "timestamps": pack(request.timestamps),
        "dark": None if request.dark is None else pack_locator(request.dark),
        "dark_data_key": pack(request.dark_data_key), "configuration": pack(request.configuration),
        "origin": pack_origin(origin),
    }  # fmt: skip


def _restore_reading(run: Run, state: Mapping[str, Any], deadline_s: float) -> Pending:
    inline = state["locator"] is None
    request = FrameRequest(
        run.uid, state["stream"], state["seq_num"], state["key"], unpack(state["data_key"]),
        Inline(None) if inline else unpack_locator(*state["locator"]), state["time_s"],
        unpack_position(state["position"]), state["published_s"], unpack(state["readings"]),
        unpack(state["timestamps"]), None if state["dark"] is None else unpack_locator(*state["dark"]),
        unpack(state["dark_data_key"]), unpack(state["configuration"]), unpack_origin(state["origin"]),
    )  # fmt: skip
    return Pending(request, deadline_s, unread=inline, lacking=tuple(state["lacking"]))
