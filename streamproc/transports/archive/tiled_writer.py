"""Result runs written to a Tiled catalog, each when it is complete (a catalog takes nothing back)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from streamproc.errors import DeliveryError
from streamproc.transports.archive.tiled import connect_profile, connect_tiled
from streamproc.transports.codec import decode
from streamproc.transports.ports import Outgoing

__all__ = ["TiledTarget"]


class TiledTarget:
    """Keeps the documents of one result run and writes them at its end.

    A run that the catalog has already is left as it is: the same uid means the same raw run, model, settings
    and calibration.

    Parameters
    ----------
    where : str
        ``http://HOST:PORT/PATH`` or ``profile:NAME[/PATH]``.
    """

    def __init__(self, where: str) -> None:
        profile = where.startswith("profile:")
        self._client = connect_profile(where.removeprefix("profile:")) if profile else connect_tiled(where)
        self._where = where.partition("?")[0]
        self._kept: list[tuple[str, dict[str, Any]]] = []
        self.already: list[str] = []

    def write(self, messages: Sequence[Outgoing]) -> None:
        """Keep the documents of the run that is under way."""
        self._kept += [decode(bytes(m.value or b"")) for m in messages]

    def mark(self) -> int | None:
        """It cannot go back."""
        return None

    def rewind(self, mark: int | None) -> None:
        """Begin the run anew: nothing of it was written."""
        self._kept = []

    def end_run(self, complete: bool) -> None:
        """Write a complete run; an interrupted one is dropped."""
        kept, self._kept = self._kept, []
        if complete and kept:
            self._write(kept)

    def close(self) -> None:
        """Nothing is left to do."""

    def _write(self, documents: list[tuple[str, dict[str, Any]]]) -> None:
        from bluesky_tiled_plugins import TiledWriter

        start: Mapping[str, Any] = documents[0][1]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if start["uid"] in self._client:
                    self.already.append(str(start["uid"]))
                    return
                writer = TiledWriter(self._client)
                for name, doc in documents:
                    writer(name, dict(doc))
        except Exception as error:
            words = " ".join(str(error).split())[:300]
            raise DeliveryError(
                f"result run {start['uid']} was not written to {self._where}: {type(error).__name__}: {words}"
            ) from error
