"""Connecting to a Tiled server: one sentence when it is away, refuses the key, or is none."""

from __future__ import annotations

from typing import Any

from streamproc.errors import ConfigurationError, StreamprocError

__all__ = ["TiledAway", "connect"]


class TiledAway(StreamprocError):
    """The Tiled server does not answer, or cannot do it now: try again later."""


def connect(url: str, api_key: str | None = None) -> Any:
    """Return the client of a catalog.

    Parameters
    ----------
    url : str
        Address of the server, or of a container on it (``http://HOST:PORT/api/v1/metadata/raw``).
    api_key : str or None
        None: as somebody unknown.

    Raises
    ------
    ConfigurationError
        The packages are not installed, the key is refused, or there is no such container.
    TiledAway
        Nobody answers.
    """
    try:
        import httpx
        from tiled.client import from_uri
        from tiled.client.utils import ClientError
    except ImportError as error:
        raise ConfigurationError(
            f"Tiled needs {error.name}, not installed here: pip install 'streamproc[archive]'"
        ) from error
    try:
        # The client takes a key from the environment by itself; what the caller says counts, nothing else.
        client = from_uri(url, api_key=api_key or "")
    except (ClientError, httpx.HTTPStatusError) as error:
        code = error.response.status_code
        if code in (401, 403):
            raise ConfigurationError(
                f"the Tiled server at {url} refuses the key ({code}): check it"
            ) from error
        if code == 404:
            raise ConfigurationError(f"{url}: the Tiled server knows no such container (404)") from error
        raise TiledAway(f"the Tiled server at {url} answers with {code}") from error
    except httpx.TransportError as error:
        raise TiledAway(f"no Tiled server answers at {url}: {error}") from error
    except (ValueError, KeyError) as error:
        raise ConfigurationError(f"{url} is no Tiled server: {error}") from error
    if not hasattr(client, "keys"):
        raise ConfigurationError(f"{url} is a {type(client).__name__}, no container with runs")
    return client
