"""Storing a whole result run in Tiled: once, completely, and the same however often it is tried."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, Protocol

import numpy as np

from streamproc.errors import ConfigurationError
from streamproc.results import is_interrupted
from streamproc.transports.tiled.connect import TiledAway, connect

__all__ = ["Outcome", "RunStore", "WholeRun"]

Outcome = Literal["stored", "skipped", "replaced"]

_BATCH_ROWS = 2000
"""Rows in memory at once. An event by itself costs 80 ms, in a large batch 1 (TiledWriter 2.0.12)."""

_DROPPED = ("tiled_access_tags", "tiled_specs")
"""What the writer takes out of a start and gives to the server instead."""


class WholeRun(Protocol):
    """A result run from its start to its stop."""

    @property
    def start(self) -> Mapping[str, Any]:
        """The start document."""

    @property
    def stop(self) -> Mapping[str, Any]:
        """The stop document."""

    def __iter__(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield all documents in order; may be asked for again."""


class RunStore:
    """A container in Tiled that runs are stored in, each under its uid.

    Parameters
    ----------
    url : str
        The container where the raw runs are; see :func:`connect`.
    api_key : str or None
        A key that may write there.
    """

    def __init__(self, url: str, api_key: str | None = None) -> None:
        self.url, self._api_key = url, api_key
        self._client: Any = None

    def check(self) -> None:
        """Connect.

        Raises
        ------
        ConfigurationError
            Refused key, no such container, packages not installed.
        TiledAway
            Nobody answers.
        """
        self._client = connect(self.url, self._api_key)

    def put(self, run: WholeRun) -> Outcome:
        """Store a run.

        One that is there completely is left as it is; one that is there in part, or differs, is replaced
        (never by what an interrupted replay left of it).

        Parameters
        ----------
        run : WholeRun
            Its documents, each once; they are gone through several times.

        Raises
        ------
        TiledAway
            The server does not answer or is not able to; nothing, or a part, is stored: try again.
        ConfigurationError
            It refuses the run or the key.
        """
        import httpx
        from tiled.client.utils import ClientError

        if self._client is None:
            self.check()
        try:
            return self._put(run)
        except (ClientError, httpx.HTTPStatusError) as error:
            self._client = None
            code = error.response.status_code
            # 409: another archiver is at the same run; by the next try it is complete or given up.
            if code >= 500 or code in (408, 409, 429):
                raise TiledAway(f"the Tiled server at {self.url} answers with {code}: {error}") from error
            raise ConfigurationError(
                f"the Tiled server at {self.url} refuses it ({code}): {error}"
            ) from error
        except httpx.TransportError as error:
            self._client = None
            raise TiledAway(f"no Tiled server answers at {self.url}: {error}") from error

    def _put(self, run: WholeRun) -> Outcome:
        uid = str(run.start["uid"])
        there = uid in self._client
        if there:
            if _complete(self._client[uid], run) or _supersedes(self._client[uid], run.stop):
                return "skipped"
            self._client.delete_contents(uid, recursive=True, external_only=False)
        self._write(run)
        if not _complete(self._client[uid], run):
            # An append whose answer was lost is done twice by the client; such a run is written anew.
            raise TiledAway(f"run {uid} is not in {self.url} as it was written")
        return "replaced" if there else "stored"

    def _write(self, run: WholeRun) -> None:
        from bluesky_tiled_plugins import TiledWriter

        writer = TiledWriter(self._client, batch_size=_BATCH_ROWS, max_array_size=0)
        for name, doc in run:
            writer(name, _plain(doc))


def _complete(node: Any, run: WholeRun) -> bool:
    """Tell whether a stored run has the start, the stop and exactly the rows of these documents."""
    start, stop = run.start, run.stop
    metadata = node.metadata
    stored_start, stored_stop = metadata.get("start"), metadata.get("stop")
    kept = {k: v for k, v in start.items() if k not in _DROPPED}
    if not (_same(stored_start, kept) and _same(stored_stop, stop)):
        return False
    streams: dict[str, str] = {}
    expected: dict[str, list[int]] = {}
    for name, doc in run:
        if name == "descriptor":
            streams[str(doc["uid"])] = str(doc["name"])
            expected.setdefault(str(doc["name"]), [])
        elif name == "event":
            expected[streams[str(doc["descriptor"])]].append(int(doc["seq_num"]))
    node = getattr(node, "base", node)
    if set(node) != set(expected):
        return False
    return all(_seq_nums(node[name]) == numbers for name, numbers in expected.items())


def _supersedes(node: Any, stop: Mapping[str, Any]) -> bool:
    """Tell whether a stored run is whole and the other is what an interrupted replay left of it."""
    stored = node.metadata.get("stop")
    whole = isinstance(stored, Mapping) and bool(stored) and not is_interrupted(stored)
    return whole and is_interrupted(stop)


def _seq_nums(node: Any) -> list[int]:
    node = getattr(node, "base", node)
    tables = [part for part in node if part.startswith("internal")]
    for part in tables:
        table = node[part]
        if "seq_num" in table.columns:
            return [int(n) for n in table.read(["seq_num"])["seq_num"]]
    return []


def _same(stored: Any, doc: Mapping[str, Any]) -> bool:
    """Compare what the server keeps as JSON with a document as the writer sends it."""
    from bluesky_tiled_plugins.utils import truncate_json_overflow

    return bool(_comparable(stored) == _comparable(truncate_json_overflow(_plain(doc))))


def _comparable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _comparable(v) for k, v in value.items()}
    if isinstance(value, list | tuple) or type(value).__name__ == "ListView":
        return [_comparable(v) for v in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None  # JSON has none of them; the server keeps another number or nothing
    return value


def _plain(value: Any) -> Any:
    """Return lists for arrays: the writer pads and stacks lists only."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
