"""Runs in Tiled: SQL catalogs of any server, and databroker's Mongo-backed trees, by one client object."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from streamproc.errors import ArchiveDamaged, ConfigurationError, StreamprocError
from streamproc.transports.archive.ports import NamedDocument, Query, RunRef
from streamproc.transports.archive.repair import repaired
from streamproc.transports.archive.select import LEAST_CHARS, fits, is_number, select
from streamproc.transports.archive.tiled_sql import sql_documents

__all__ = ["TiledArchive", "connect_profile", "connect_tiled"]

_NEEDED = "pip install 'streamproc[archive]'"
_HINT = "set the environment variable TILED_API_KEY to a key that may read it: "
_NO_STREAM_RESOURCE = (
    "{place}: its documents cannot be had: {error}. Mongo-backed trees of databroker 2 keep no "
    "stream_resource and stream_datum documents; replay this run from another archive"
)


class TiledArchive:
    """The runs of one catalog.

    Parameters
    ----------
    catalog : tiled container client
        A ``CatalogOfBlueskyRuns`` (``databroker.v2.temp()``, a profile's ``raw``), or any container whose
        items are Bluesky runs.
    name : str, optional
        What to call it; by default its address.
    """

    def __init__(self, catalog: Any, name: str = "") -> None:
        self._catalog = getattr(catalog, "_catalog", catalog)
        self.name = name or _without_key(str(getattr(catalog, "uri", "tiled")))

    def runs(self, query: Query) -> Iterator[RunRef]:
        """Yield the runs a query means; the server narrows down, what is left is compared here."""
        with _plain_errors(self.name):
            narrowed = self._narrowed(query)
            if not query.runs:
                yield from select(_refs(narrowed, self.name), query, self.name)
                return
            for text in query.runs:
                one = replace(query, runs=(text,))
                yield from select(self._candidates(narrowed, text, one), one, self.name)

    def documents(self, run: RunRef) -> Iterator[NamedDocument]:
        """Yield the documents of a run; see :func:`sql_documents` for what is undone of SQL catalogs."""
        if _is_sql(run.handle):
            return repaired(self._contained(sql_documents(run), run), run.note)
        run.note("Mongo-backed tree: arrays are kept as JSON lists, frames in files as they were")
        return repaired(self._contained(_mongo_documents(run), run), run.note)

    def close(self) -> None:
        """Close the connection if it is one."""
        with contextlib.suppress(Exception):
            self._catalog.context.http_client.close()

    def _contained(self, documents: Iterator[NamedDocument], run: RunRef) -> Iterator[NamedDocument]:
        try:
            yield from documents
        except StreamprocError:
            raise
        except Exception as error:
            raise ArchiveDamaged(f"{run.place}: {_words(error)}") from error

    # -- which runs -------------------------------------------------------------------------------------

    def _narrowed(self, query: Query) -> Any:
        from tiled.queries import Key

        catalog = self._catalog
        prefix = "" if _is_mongo(catalog) else "start."
        if query.since_s is not None or query.until_s is not None:
            if _is_mongo(catalog):
                from bluesky_tiled_plugins.queries import TimeRange

                catalog = catalog.search(TimeRange(since=query.since_s, until=query.until_s))
            else:
                if query.since_s is not None:
                    catalog = catalog.search(Key("start.time") >= query.since_s)
                if query.until_s is not None:
                    catalog = catalog.search(Key("start.time") <= query.until_s)
        for key, value in query.search:
            catalog = _first_that_finds(catalog, [Key(prefix + key) == v for v in _readings_of(value)])
        return catalog

    def _candidates(self, catalog: Any, text: str, query: Query) -> list[RunRef]:
        """Return the few runs that a name may mean."""
        if is_number(text) and int(text) < 0:
            return self._newest(catalog, -int(text), query)
        found: list[RunRef] = []
        with contextlib.suppress(KeyError, ValueError):  # databroker refuses short beginnings
            found += _refs_of([catalog[text]], self.name)
        if is_number(text):
            from tiled.queries import Key

            key = "scan_id" if _is_mongo(catalog) else "start.scan_id"
            found += _refs(catalog.search(Key(key) == int(text)), self.name)
        elif not found and len(text) >= LEAST_CHARS:
            found += self._begin_with(catalog, text)
        return found or self._newest(catalog, 5, query)

    def _begin_with(self, catalog: Any, text: str) -> list[RunRef]:
        from bluesky_tiled_plugins.queries import PartialUID
        from tiled.queries import Like

        asked = PartialUID(text) if _is_mongo(catalog) else Like("start.uid", f"{text}%")
        return _refs(catalog.search(asked), self.name)

    def _newest(self, catalog: Any, count: int, query: Query) -> list[RunRef]:
        """Return the newest ``count`` runs of the kind that is meant; a catalog may hold results as well."""
        if not _is_mongo(catalog):
            catalog = catalog.sort(("start.time", 1))
        total, look = len(catalog), count
        while True:
            look = min(look, total)
            items = catalog.values()[-1 : -look - 1 : -1] if look else []
            found = [r for r in _refs_of(items, self.name) if fits(r, query)]
            if len(found) >= count or look == total:
                return found
            look = 2 * look + 10


def connect_tiled(url: str, api_key: str | None = None) -> Any:
    """Return the client of a Tiled server's catalog; ``api_key``: else ``TILED_API_KEY`` where it is set.

    Raises
    ------
    ConfigurationError
        Not installed, no such server, no right, or no such path; in one sentence.
    """
    from_uri = _imported("tiled.client", "from_uri")
    parts = urlsplit(url)
    path = parts.path.strip("/")
    where = _without_key(url)
    _probe(url, where)
    with _plain_errors(where):
        if not path or path.startswith("api/"):
            return from_uri(url, api_key=api_key)
        client = from_uri(url.replace(parts.path, "/", 1), api_key=api_key)
        return _item(client, path, where)


def connect_profile(text: str, api_key: str | None = None) -> Any:
    """Return the catalog of a Tiled (databroker) profile, ``NAME`` or ``NAME/path/in/it``."""
    from_profile = _imported("tiled.client", "from_profile")
    name, _, path = text.partition("/")
    known = list(_imported("tiled.profiles", "list_profiles")())
    if name not in known:
        raise ConfigurationError(f"no profile {name!r}; known: {', '.join(known) or 'none'}")
    with _plain_errors(f"profile {name}"):
        client = from_profile(name, **({"api_key": api_key} if api_key else {}))
        return _item(client, path, f"profile {name}") if path else client


def _item(client: Any, path: str, where: str) -> Any:
    try:
        return client[tuple(path.split("/"))] if "/" in path else client[path]
    except KeyError:
        raise ConfigurationError(f"{where}: there is no {path!r} on this server") from None


def _probe(url: str, where: str) -> None:
    """Ask once whether anything answers: Tiled's client tries for a minute before it says so."""
    import httpx

    try:
        httpx.get(url, timeout=10.0)
    except httpx.HTTPError as error:
        raise ConfigurationError(f"no Tiled server answers at {where}: {_words(error)}") from error


def _imported(module: str, attribute: str) -> Callable[..., Any]:
    import importlib

    try:
        made: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise ConfigurationError(f"Tiled and databroker are not installed here: {_NEEDED}") from error
    return made


def _mongo_documents(run: RunRef) -> Iterator[NamedDocument]:
    if run.stop is None:
        run.note(
            "databroker (2.0.2) gives the last page of events, up to 25, of a run without a stop to nobody: "
            "they are not replayed"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for name, doc in run.handle.documents():
                yield name, dict(doc)
        except StreamprocError:
            raise
        except Exception as error:
            reason = _NO_STREAM_RESOURCE.format(place=run.place, error=_words(error))
            raise ArchiveDamaged(reason) from error


def _refs(catalog: Any, name: str) -> list[RunRef]:
    return _refs_of(catalog.values(), name)


def _refs_of(items: Any, name: str) -> list[RunRef]:
    found = []
    for item in items:
        metadata = item.metadata
        start = metadata.get("start")
        if isinstance(start, Mapping) and start.get("uid"):
            stop = metadata.get("stop")
            stop = dict(stop) if isinstance(stop, Mapping) and stop else None
            uid = str(start["uid"])
            found.append(RunRef(uid, dict(start), stop, f"{name}, run {uid}", item))
    return found


def _first_that_finds(catalog: Any, queries: list[Any]) -> Any:
    """A value on the command line is text; in the catalog it may be a number."""
    found = catalog
    for query in queries:
        found = catalog.search(query)
        if len(found):
            break
    return found


def _readings_of(text: str) -> list[Any]:
    readings: list[Any] = []
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            readings.append(kind(text))
    if text.lower() in ("true", "false"):
        readings.append(text.lower() == "true")
    return [*readings, text]


def _is_sql(run: Any) -> bool:
    return any(
        spec["name"] == "BlueskyRun" and str(spec.get("version") or "").startswith("3.")
        for spec in run.item["attributes"]["specs"]
    )


def _is_mongo(catalog: Any) -> bool:
    """A catalog of databroker's Mongo adapter: it knows start documents' keys without ``start.``."""
    for spec in catalog.item["attributes"]["specs"]:
        if spec["name"] == "CatalogOfBlueskyRuns":
            return not str(spec.get("version") or "").startswith("3.")
    return False


@contextlib.contextmanager
def _plain_errors(where: str) -> Iterator[None]:
    """Say in one sentence what went wrong on the way to a server."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (StreamprocError, GeneratorExit):
            raise
        except Exception as error:
            hint = _HINT if _asks_for_key(error) else ""
            raise ConfigurationError(
                f"{where} cannot be used as an archive: {hint}{_words(error)}"
            ) from error


def _asks_for_key(error: BaseException) -> bool:
    response = getattr(error, "response", None)
    return getattr(response, "status_code", 0) in (401, 403) or "requires API key" in str(error)


def _words(error: BaseException) -> str:
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _without_key(url: str) -> str:
    return url.partition("?")[0]
