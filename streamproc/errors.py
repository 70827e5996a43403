"""The error tree: each class says whether the process must end (crash) or the fault is contained."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "AnalysisHangs",
    "ArchiveDamaged",
    "BrokerAway",
    "ConfigurationError",
    "ContainedError",
    "DeliveryAborted",
    "DeliveryError",
    "DocumentRefused",
    "FatalError",
    "FrameFailed",
    "NotYet",
    "RunNotStored",
    "RunRefused",
    "StreamprocError",
    "Where",
]


@dataclass(frozen=True, slots=True)
class Where:
    """Where something went wrong; every field that is known is shown."""

    run_uid: str | None = None
    stream: str | None = None
    seq_num: int | None = None
    key: str | None = None
    position: str | None = None

    def __str__(self) -> str:
        parts = [f"{n}={v}" for n in self.__slots__ if (v := getattr(self, n)) is not None]
        return ", ".join(parts)


class StreamprocError(Exception):
    """Base of every error this package raises on purpose.

    Parameters
    ----------
    message : str
        What failed, expected against got, and what to do, in one sentence or two.
    where : Where, optional
        Run uid, stream, seq_num, key or topic position concerned.
    """

    def __init__(self, message: str, where: Where | None = None) -> None:
        self.message = message
        self.where = where or Where()
        at = str(self.where)
        super().__init__(f"{message} [{at}]" if at else message)


class FatalError(StreamprocError):
    """Cannot be trusted any further: the process ends with ``exit_code`` and a supervisor restarts it."""

    exit_code = 1


class AnalysisHangs(FatalError):
    """A batch was not answered in its deadline; its thread cannot be ended but with the process."""


class ConfigurationError(FatalError):
    """Something the user must provide is missing or wrong; found at start-up, exit code 2, no retry."""

    exit_code = 2


class BrokerAway(ConfigurationError):
    """No broker answered in time: a wrong address, or an outage, after which a restarted service finds it."""


class DeliveryError(FatalError):
    """Publishing or committing did not finish in its deadline or was fenced; exit code 3, restart resumes."""

    exit_code = 3


class DeliveryAborted(StreamprocError):
    """Nothing of a delivery counts (the group is being rearranged): it is made anew at the next turn."""


class ContainedError(StreamprocError):
    """Concerns one document, frame or run: counted, in the ledger or the dead letters, never fatal."""


class DocumentRefused(ContainedError):
    """A message that is not a usable Bluesky document; goes to the dead-letter topic."""


class RunRefused(ContainedError):
    """An analysis cannot work on this run (no calibration, ambiguous detector key): all its frames fail."""


class FrameFailed(ContainedError):
    """One frame cannot be read or analysed; the ledger records the reason."""


class ArchiveDamaged(ContainedError):
    """An archive ends early, has changed or is none; what was read of the run before counts."""


class RunNotStored(ContainedError):
    """A store refuses one run; others may be welcome there."""


class NotYet(ContainedError):
    """A file or a row that may still come: try again until the deadline."""
