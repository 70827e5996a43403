"""TiledTarget: result runs of a replay into Tiled, each when it is complete, as `streamproc archive` does."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from streamproc.errors import ConfigurationError, DeliveryError, RunNotStored
from streamproc.transports.codec import decode
from streamproc.transports.kept import KeptRun
from streamproc.transports.ports import Outgoing
from streamproc.transports.tiled.connect import TiledAway
from streamproc.transports.tiled.store import Outcome, RunStore

__all__ = ["TiledTarget"]


class TiledTarget:
    """Keeps the documents of one result run and stores them at its end.

    A run that the catalog has completely is left as it is, one that is there in part is written anew; see
    :class:`RunStore`. A catalog takes nothing back: an interrupted run is not stored, and begins anew.

    Parameters
    ----------
    where : str
        ``http://HOST:PORT/PATH`` or ``profile:NAME[/PATH]``.
    api_key : str or None
        A key that may write there.

    Attributes
    ----------
    outcomes : dict of str to str
        What became of each result run: ``stored``, ``skipped`` (it was there) or ``replaced``.

    Raises
    ------
    ConfigurationError
        There is no such catalog, or nobody answers.
    """

    goes_on = False

    def __init__(self, where: str, api_key: str | None = None) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self._store, self._kept = RunStore(where, api_key), KeptRun()
        try:
            with warnings.catch_warnings(action="ignore"):
                self._store.check()
        except TiledAway as error:
            raise ConfigurationError(error.message) from error

    def write(self, messages: Sequence[Outgoing]) -> None:
        """Keep the documents of the run that is under way."""
        for message in messages:
            raw = bytes(message.value or b"")
            self._kept.add(*decode(raw), raw)

    def mark(self) -> int | None:
        """It cannot go back."""
        return None

    def rewind(self, mark: int | None) -> None:
        """Begin the run anew: nothing of it was written."""
        self._anew()

    def end_run(self, complete: bool) -> None:
        """Store a complete run; an interrupted one is dropped.

        Raises
        ------
        RunNotStored
            The server refuses the run.
        DeliveryError
            It does not answer.
        """
        try:
            if complete and len(self._kept):
                run = self._kept.documents()
                uid = str(run.start["uid"])
                with warnings.catch_warnings(action="ignore"):
                    self.outcomes[uid] = self._store.put(run)
        except TiledAway as error:
            raise DeliveryError(f"result run {uid} was not stored: {error.message}") from error
        except ConfigurationError as error:
            raise RunNotStored(error.message) from error
        finally:
            self._anew()

    def close(self) -> None:
        """Let go of what is kept."""
        self._kept.close()

    def _anew(self) -> None:
        self._kept.close()
        self._kept = KeptRun()
