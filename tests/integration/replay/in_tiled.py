"""Runs kept in a Tiled server that the tests of several files share."""

from __future__ import annotations

import warnings


def keep_in_tiled(url: str, pairs: list) -> None:
    """Write a run as a beamline does, unless another test did."""
    from bluesky_tiled_plugins import TiledWriter
    from tiled.client import from_uri

    client = from_uri(url, api_key="secret")
    if pairs[0][1]["uid"] in client:
        return
    writer = TiledWriter(client)
    with warnings.catch_warnings(action="ignore"):
        for name, doc in pairs:
            writer(name, dict(doc))


def without(url: str, uid: str) -> None:
    """Remove a run that another test may have kept."""
    from tiled.client import from_uri

    client = from_uri(url, api_key="secret")
    if uid in client:
        client.delete_contents(uid, recursive=True, external_only=False)
