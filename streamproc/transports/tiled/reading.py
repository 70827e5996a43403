"""Result runs read back from Tiled as the documents they were: same uids, same values, same bytes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from streamproc.errors import ConfigurationError
from streamproc.results import document_uid
from streamproc.transports.tiled.connect import TiledAway, connect

__all__ = ["TiledResults", "run_documents"]

_OWN_METADATA = ("_config_updates", "stream_name", "notes")


class TiledResults:
    """The result runs of a Tiled container.

    Parameters
    ----------
    client : Tiled container
        Where raw and result runs lie side by side.
    run : str or None
        The run that will be asked for; its results are searched for on the server when it is a whole uid.
    """

    def __init__(self, client: Any, *, run: str | None = None) -> None:
        self._client, self._run = client, run
        self.name = f"Tiled {client.uri}"

    @classmethod
    def from_url(cls, url: str, *, run: str | None = None, api_key: str | None = None) -> TiledResults:
        """Open a server's catalog.

        Raises
        ------
        ConfigurationError
            It cannot be reached or read.
        """
        try:
            return cls(connect(url, api_key), run=run)
        except TiledAway as error:
            raise ConfigurationError(error.message) from error

    def starts(self) -> Iterable[Mapping[str, Any]]:
        """Yield the start documents of the result runs, oldest first."""
        from tiled.queries import KeyPresent

        results = self._client.search(KeyPresent("start.streamproc"))
        found = self._searched() or [node.metadata.get("start") for node in results.values()]
        starts = [s for s in found if isinstance(s, Mapping) and isinstance(s.get("streamproc"), Mapping)]
        return sorted((dict(s) for s in starts), key=lambda s: float(s.get("time", 0.0)))

    def _searched(self) -> list[Any]:
        from tiled.queries import Key

        if self._run is None or len(self._run) < 32:
            return []
        raw_uid = self._run
        if self._run in self._client:
            start = self._client[self._run].metadata.get("start", {})
            raw_uid = str(start.get("original_run_uid", self._run))
        nodes = self._client.search(Key("start.original_run_uid") == raw_uid).values()
        return [node.metadata.get("start") for node in nodes]

    def documents(self, uids: Collection[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield the documents of these runs."""
        for uid in uids:
            yield from run_documents(self._client[uid])


def run_documents(node: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a result run's documents as they were published.

    The server keeps numbers, texts and arrays; uids of events follow from run, stream and seq_num.

    Parameters
    ----------
    node : Tiled container
        The run.
    """
    metadata = _plain(node.metadata)
    start = metadata["start"]
    yield "start", start
    node = getattr(node, "base", node)
    for stream in node:
        child = node[stream]
        described = {k: v for k, v in _plain(child.metadata).items() if k not in _OWN_METADATA}
        keys = described.get("data_keys", {})
        objects: dict[str, list[str]] = {}
        for key, entry in keys.items():
            objects.setdefault(str(entry.get("object_name", key)), []).append(key)
        yield "descriptor", {**described, "run_start": start["uid"], "name": stream, "object_keys": objects}
        yield from (("event", e) for e in _events(child, start["uid"], stream, described["uid"], keys))
    if isinstance(metadata.get("stop"), dict):
        yield "stop", metadata["stop"]


def _events(
    node: Any, run_uid: str, stream: str, descriptor: str, keys: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    node = getattr(node, "base", node)
    parts = list(node)
    columns: dict[str, Any] = {}
    for part in parts:
        if part.startswith("internal"):
            read = node[part].read()
            columns.update({name: read[name].to_numpy() for name in read.columns})
        else:
            columns[part] = np.asarray(node[part].read())
    for row, seq_num in enumerate(columns.get("seq_num", ())):
        data = {k: _value(columns[k][row], keys[k]) for k in keys if k in columns}
        yield {
            "uid": document_uid(run_uid, stream, str(int(seq_num))),
            "descriptor": descriptor,
            "seq_num": int(seq_num),
            "time": float(columns["time"][row]),
            "data": data,
            "timestamps": {k: float(columns[f"ts_{k}"][row]) for k in data if f"ts_{k}" in columns},
            "filled": {},
        }


def _value(value: Any, entry: Mapping[str, Any]) -> Any:
    """Return a value in the type that its data key declares; tables have nulls where there was NaN."""
    if entry.get("dtype") == "array":
        return np.array(
            value.tolist() if hasattr(value, "tolist") else value, entry.get("dtype_numpy") or "<f8"
        )
    if entry.get("dtype") == "boolean":
        return bool(value)
    if entry.get("dtype") == "string":
        return "" if value is None else str(value)
    return float("nan") if value is None else float(value)


def _plain(value: Any) -> Any:
    """Return Tiled's own read-only mappings and lists as dicts and lists."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple) or type(value).__name__ == "ListView":
        return [_plain(v) for v in value]
    return value
