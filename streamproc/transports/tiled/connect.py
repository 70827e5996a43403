"""Connecting to a Tiled server: one sentence when it is away, refuses the key, or is none."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

from streamproc.errors import ConfigurationError, StreamprocError

__all__ = ["TiledAway", "connect"]

_PROFILE = "profile:"
_PROBE_S = 10.0


class TiledAway(StreamprocError):
    """The Tiled server does not answer, or cannot do it now: try again later."""


def connect(where: str, api_key: str | None = None) -> Any:
    """Return the client of a catalog.

    Parameters
    ----------
    where : str
        A server with the path to a container on it (``http://HOST:PORT/raw``), the address that Tiled itself
        gives (``http://HOST:PORT/api/v1/metadata/raw``), or ``profile:NAME[/PATH]``.
    api_key : str or None
        None: as somebody unknown, or whatever the profile says.

    Raises
    ------
    ConfigurationError
        The packages are not installed, the key is refused, or there is no such container or profile.
    TiledAway
        Nobody answers.
    """
    try:
        import httpx
        from tiled.client.utils import ClientError
    except ImportError as error:
        raise ConfigurationError(
            f"Tiled needs {error.name}, not installed here: pip install 'streamproc[archive]'"
        ) from error
    try:
        client = _container(where, api_key)
    except (ClientError, httpx.HTTPStatusError) as error:
        code = error.response.status_code
        if code in (401, 403):
            raise ConfigurationError(
                f"the Tiled server at {where} refuses the key ({code}): check it"
            ) from error
        if code == 404:
            raise ConfigurationError(f"{where}: the Tiled server knows no such container (404)") from error
        raise TiledAway(f"the Tiled server at {where} answers with {code}") from error
    except httpx.TransportError as error:
        raise TiledAway(f"no Tiled server answers at {where}: {error}") from error
    except RuntimeError as error:  # the client's word for a server that wants to know who it is
        raise ConfigurationError(
            f"the Tiled server at {where} asks for a key: {' '.join(str(error).split())[:80]}"
        ) from error
    except (ValueError, KeyError) as error:
        raise ConfigurationError(f"{where} is no Tiled server: {error}") from error
    if not hasattr(client, "keys"):
        raise ConfigurationError(f"{where} is a {type(client).__name__}, no container with runs")
    return client


def _container(where: str, api_key: str | None) -> Any:
    if where.startswith(_PROFILE):
        name, _, path = where.removeprefix(_PROFILE).partition("/")
        client = _of_profile(name, api_key)
    else:
        address, path = _parts(where)
        client = _of_server(address, api_key)
    if not path:
        return client
    try:
        return client[tuple(path.split("/"))]
    except KeyError:
        raise ConfigurationError(f"{where}: the Tiled server knows no such container ({path})") from None


def _of_profile(name: str, api_key: str | None) -> Any:
    from tiled.client import from_profile
    from tiled.profiles import list_profiles

    known = list(list_profiles())
    if name not in known:
        raise ConfigurationError(f"no profile {name!r}; known: {', '.join(known) or 'none'}")
    return from_profile(name, **({"api_key": api_key} if api_key else {}))


def _of_server(address: str, api_key: str | None) -> Any:
    import httpx
    from tiled.client import from_uri

    httpx.get(address, timeout=_PROBE_S)  # Tiled's client tries for half a minute before it says so
    # The client takes a key from the environment by itself; what the caller says counts, nothing else.
    return from_uri(address, api_key=api_key or "")


def _parts(where: str) -> tuple[str, str]:
    """Return a server's address and the path in it; Tiled's own addresses have both in one."""
    parts = urlsplit(where)
    path = parts.path.strip("/")
    if not path or path.startswith("api/") or "/api/v" in path:
        return where, ""
    return urlunsplit(parts._replace(path="/")), path
