"""A run of a SQL catalog, put together again from its table, arrays and assets.

Tiled's own ``documents()`` is not used: it needs a setting of the server, holds the run in memory, numbers
merged stream_datums wrongly where files do not begin at 0, and names only the first of many files.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from typing import Any

from streamproc.errors import ArchiveDamaged
from streamproc.results import document_uid
from streamproc.transports.archive.assets import External, external_of
from streamproc.transports.archive.ports import NamedDocument, RunRef
from streamproc.transports.archive.repair import as_array

__all__ = ["sql_documents"]

_BLOCK_BYTES = 32 * 2**20
_SYNTHETIC = (
    "SQL catalog: uids of events, stream_resources and stream_datums are not kept and were made anew "
    "(no result depends on them); resource and datum documents came as stream_resource and stream_datum"
)


def sql_documents(run: RunRef) -> Iterator[NamedDocument]:
    """Yield the documents of a run: by time, each stream_datum before the event of its seq_num."""
    run.note(_SYNTHETIC)
    yield "start", run.start
    base = _streams(run.handle)
    streams = [_Stream(run, str(name), base[name]) for name in base]
    merged = heapq.merge(
        *(_keyed(number, stream) for number, stream in enumerate(streams)), key=lambda item: item[0]
    )
    for _, documents in merged:
        yield from documents
    if run.stop is not None:
        yield "stop", run.stop


def _keyed(number: int, stream: _Stream) -> Iterator[tuple[tuple[float, int], list[NamedDocument]]]:
    for time_s, documents in stream.moments():
        yield (time_s, number), documents


def _streams(run: Any) -> Any:
    """Return the container of streams, in the present layout or the older one with ``streams`` in between."""
    base = getattr(run, "base", run)
    if "streams" in base:
        inner = base["streams"]
        if "BlueskyEventStream" not in {spec.name for spec in inner.specs}:
            return getattr(inner, "base", inner)
    return base


class _Stream:
    """One event stream of a run."""

    def __init__(self, run: RunRef, name: str, node: Any) -> None:
        self._run, self._name = run, name
        self._node = getattr(node, "base", node)
        self._descriptors = self._read_descriptors()
        self._keys: Mapping[str, Any] = self._descriptors[0].get("data_keys") or {}
        parts = [str(part) for part in self._node]
        self._rows, self._stamps = self._table() if "internal" in parts else ([], {})
        self._index = {row["seq_num"]: i for i, row in enumerate(self._rows)}
        apart = [p for p in parts if p != "internal"]
        self._inner = [p for p in apart if not self._entry(p).get("external")]
        self._external = [self._outer(p) for p in apart if self._entry(p).get("external")]

    def moments(self) -> Iterator[tuple[float, list[NamedDocument]]]:
        """Yield documents that belong together, with their time (Unix s), in order."""
        described = list(self._descriptors)
        first = described.pop(0)
        head: list[NamedDocument] = [("descriptor", first)]
        head += [("stream_resource", r) for e in self._external for r in e.resources()]
        yield float(first["time"]), head
        current = first["uid"]
        columns = self._columns()
        for index, row in enumerate(self._rows):
            documents: list[NamedDocument] = []
            while described and described[0]["time"] <= row["time"]:
                documents.append(("descriptor", described[0]))
                current = described.pop(0)["uid"]
            documents += [d for e in self._external for d in e.datum(index, row["seq_num"], current)]
            documents.append(("event", self._event(row, current, next(columns, {}))))
            yield row["time"], documents
        end_s = self._rows[-1]["time"] if self._rows else float(first["time"])
        rest = [d for e in self._external for d in e.rest(len(self._rows), self._next_number(), current)]
        yield end_s, [*(("descriptor", d) for d in described), *rest]

    def _next_number(self) -> int:
        return int(self._rows[-1]["seq_num"]) + 1 if self._rows else 1

    def _entry(self, key: str) -> Mapping[str, Any]:
        entry = self._keys.get(key)
        return entry if isinstance(entry, Mapping) else {}

    def _read_descriptors(self) -> list[dict[str, Any]]:
        from bluesky_tiled_plugins.exporters import build_descriptor_docs

        metadata = dict(self._node.metadata)
        made = build_descriptor_docs(metadata, self._name, run_start_uid=self._run.uid)
        return sorted((_as_streams(dict(d)) for d in made), key=lambda d: float(d["time"]))

    def _outer(self, key: str) -> External:
        return external_of(self._run, self._descriptors[0], key, self._node[key])

    # -- events -----------------------------------------------------------------------------------------

    def _table(self) -> tuple[list[dict[str, Any]], dict[str, list[Any]]]:
        """Return the rows (without time stamps) in order of seq_num, and the time stamps by key."""
        frame = self._node["internal"].read().sort_values("seq_num", kind="stable")
        repeated = int(frame["seq_num"].duplicated().sum())
        if repeated:
            self._run.note(
                f"stream {self._name}: {repeated} row(s) with a seq_num that was there were left out"
            )
            frame = frame.drop_duplicates("seq_num")
        stamps = {c[3:]: frame[c].tolist() for c in frame.columns if c.startswith("ts_")}
        kept = [c for c in frame.columns if not c.startswith("ts_")]
        columns = {c: [_builtin(v) for v in frame[c].tolist()] for c in kept}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)], stamps

    def _columns(self) -> Iterator[dict[str, Any]]:
        """Yield the arrays of each event, read in blocks; their kind is that of the stored array."""
        clients = {key: self._node[key] for key in self._inner}
        for key, client in clients.items():
            if len(client) != len(self._rows):
                raise ArchiveDamaged(
                    f"{self._run.place}: {len(client)} arrays of {key} for {len(self._rows)} events of "
                    f"stream {self._name}: which belongs to which is not known"
                )
        row_bytes = sum(int(c.nbytes) // max(len(c), 1) for c in clients.values())
        block = max(1, min(256, _BLOCK_BYTES // max(row_bytes, 1)))
        for at in range(0, len(self._rows), block):
            stop = min(at + block, len(self._rows))
            read = {key: self._restored(key, client[at:stop]) for key, client in clients.items()}
            for offset in range(stop - at):
                yield {key: array[offset] for key, array in read.items()}

    def _restored(self, key: str, array: Any) -> Any:
        declared = self._entry(key).get("dtype_numpy")
        if array.dtype.kind == "f" and not (array % 1).any():
            self._run.note(
                f"{key}: stored as {array.dtype.str} with whole numbers only: whether they were integers "
                "is not known"
            )
        restored = as_array(array, self._entry(key))
        if restored is not array and getattr(restored, "dtype", None) != getattr(array, "dtype", None):
            self._run.note(
                f"{key}: stored as {array.dtype.str}, made {declared} again as its descriptor says"
            )
        return restored

    def _event(self, row: Mapping[str, Any], descriptor: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
        index = self._index[row["seq_num"]]
        data = {k: v for k, v in row.items() if k not in ("seq_num", "time")} | dict(arrays)
        stamps = {k: self._stamps[k][index] if k in self._stamps else row["time"] for k in data}
        return {
            "uid": self._event_uid(descriptor, int(row["seq_num"])), "descriptor": descriptor,
            "seq_num": int(row["seq_num"]), "time": float(row["time"]), "data": data, "timestamps": stamps,
            "filled": {},
        }  # fmt: skip

    def _event_uid(self, descriptor: str, seq_num: int) -> str:
        """Return an event's uid: of our own results what it was, of others one made anew."""
        if isinstance(self._run.start.get("streamproc"), Mapping):
            return document_uid(self._run.uid, self._name, str(seq_num))
        return f"event-{descriptor}-{seq_num}"


def _as_streams(descriptor: dict[str, Any]) -> dict[str, Any]:
    """Say of every external key that it comes by stream_datum, as it does from here."""
    keys = descriptor.get("data_keys") or {}
    told = {k: {**v, "external": "STREAM:"} if v.get("external") else v for k, v in keys.items()}
    return {**descriptor, "data_keys": told}


def _builtin(value: Any) -> Any:
    """Return a table's cell as plain values."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return [_builtin(v) for v in value] if isinstance(value, list | tuple) else value
