"""ResultTable: the numbers of one result run, one row per point, with what is needed to believe them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streamproc.errors import ConfigurationError
from streamproc.export.choice import Choice
from streamproc.export.columns import Column, Rows, columns_of
from streamproc.results import deduplicate, is_interrupted

__all__ = ["Column", "ResultTable", "build_table"]


@dataclass(frozen=True, slots=True)
class ResultTable:
    """All points of one stream of a result run, in the order of seq_num, each once.

    Attributes
    ----------
    columns : tuple of Column
        seq_num and time first, then motors, quantities, and where each row comes from.
    starts : tuple of Mapping
        Start documents of the result run and of its supplementary runs.
    stops : tuple of Mapping
        Stop documents, as far as they have come, in the same order.
    notes : tuple of str
        What a reader must know: still open, conflicting documents, events of unexpected shape.
    stream : str
        The stream of the result run.
    """

    columns: tuple[Column, ...]
    starts: tuple[Mapping[str, Any], ...]
    stops: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...]
    stream: str = "primary"
    streams: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.columns[0].values)

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def finished(self) -> bool:
        """Whether the result run has its stop."""
        return any(stop.get("run_start") == self.starts[0]["uid"] for stop in self.stops)

    @property
    def ledger(self) -> Mapping[str, Any]:
        """Return ``expected``, ``done``, ``failed``, ``dropped``, ``late`` and the reasons; empty while open.

        ``failed`` is what the stop says; ``late`` are those of them that a supplementary run answered.
        """
        uid = self.starts[0]["uid"]
        stop = next((s for s in self.stops if s.get("run_start") == uid), {})
        ledgers = stop.get("ledger")
        entry = ledgers.get("primary") if isinstance(ledgers, Mapping) else None
        if not isinstance(entry, Mapping):
            return {}
        late = int(np.count_nonzero(self["late"].values)) if self.stream == "primary" else 0
        return {**entry, "late": late}


def build_table(
    choice: Choice, documents: Iterable[tuple[str, Mapping[str, Any]]], stream: str = "primary"
) -> ResultTable:
    """Fold the documents of a result run, and of what supplements it, into a table.

    Parameters
    ----------
    choice : Choice
        Whose documents they are; documents of other runs are passed over.
    documents : iterable of (name, doc)
        In any order in which a descriptor precedes its events; repeats are taken once.
    stream : str
        ``primary``: the points; others hold what the analysis says of the run as a whole.

    Raises
    ------
    ConfigurationError
        The run has no such stream: lists those it has.
    """
    notes: list[str] = []
    conflicts: Callable[[str, Mapping[str, Any]], None] = lambda name, doc: notes.append(  # noqa: E731
        f"{name} {doc.get('uid')} came twice with different content; the first is taken"
    )
    uids, rows, stops = set(choice.uids), Rows(), {}
    owners: dict[str, tuple[str, str]] = {}
    for name, doc in deduplicate(((n, dict(d)) for n, d in documents), on_conflict=conflicts):
        if name == "descriptor" and doc.get("run_start") in uids:
            owners[str(doc["uid"])] = (str(doc["run_start"]), str(doc.get("name", "primary")))
            if doc.get("name", "primary") == stream:
                _describe(rows, doc)
        elif name == "stop" and doc.get("run_start") in uids:
            uid = str(doc["run_start"])
            if uid not in stops or not is_interrupted(doc):
                stops[uid] = doc
        elif name in ("event", "event_page"):
            owner = owners.get(str(doc.get("descriptor")))
            if owner is not None and owner[1] == stream:
                _take(rows, doc, owner[0], choice, notes)
    seen = tuple(dict.fromkeys(name for _, name in owners.values()))
    if stream != "primary" and stream not in seen:
        raise ConfigurationError(
            f"result run {choice.first['uid']} has no stream {stream!r}; "
            f"it has {', '.join(seen) or 'none yet'}"
        )
    if choice.uids[0] not in stops:
        notes.insert(0, "the result run has no stop yet: more points may come")
    elif is_interrupted(stops[choice.uids[0]]):
        notes.insert(0, "the replay that made the result run was interrupted: points are missing")
    columns = tuple(columns_of(rows, choice, notes))
    starts = (choice.first, *choice.supplements)
    ends = tuple(stops[uid] for uid in choice.uids if uid in stops)
    return ResultTable(columns, starts, ends, tuple(dict.fromkeys(notes)), stream, seen)


def _describe(rows: Rows, doc: Mapping[str, Any]) -> None:
    for key, entry in doc.get("data_keys", {}).items():
        rows.keys.setdefault(key, entry)
    for hint in (doc.get("hints") or {}).values():
        rows.hinted.update(hint.get("fields", ()) if isinstance(hint, Mapping) else ())


def _take(rows: Rows, doc: Mapping[str, Any], uid: str, choice: Choice, notes: list[str]) -> None:
    for event in _events(doc):
        seq_num = int(event["seq_num"])
        known = rows.events.get(seq_num)
        if known is not None:
            # What was answered in the run itself stands; a supplement only adds.
            first = known if known[1] == choice.uids[0] else (event, uid)
            notes.append(f"seq_num {seq_num} is answered twice; that of result run {first[1]} is taken")
            rows.events[seq_num] = first
        else:
            rows.events[seq_num] = (event, uid)


def _events(doc: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if not isinstance(doc["seq_num"], list | tuple):
        yield doc
        return
    for i, seq_num in enumerate(doc["seq_num"]):
        data = {k: column[i] for k, column in doc["data"].items()}
        yield {"seq_num": seq_num, "time": doc["time"][i], "data": data}
