"""find_run: from a uid, or the beginning of one, of a raw or result run to the raw run that is meant."""

from __future__ import annotations

from collections.abc import Mapping

from streamproc.errors import ConfigurationError

__all__ = ["LEAST_CHARS", "find_run"]

LEAST_CHARS = 6
"""Least length of a uid's beginning that is taken for it."""

_MOST_LISTED = 10


def find_run(uid: str, known: Mapping[str, str]) -> str | None:
    """Return the uid of the raw run that is meant; None when no known run fits.

    Parameters
    ----------
    uid : str
        A whole uid, or its first six characters or more.
    known : Mapping of str to str
        Raw run uid by the uid of each raw and result run.

    Raises
    ------
    ConfigurationError
        Too short, or several runs begin like this (they are listed).
    """
    if uid in known:
        return known[uid]
    if len(uid) < LEAST_CHARS:
        raise ConfigurationError(
            f"run {uid!r}: give its whole uid, or at least {LEAST_CHARS} characters of it"
        )
    fitting = sorted({raw_uid for own, raw_uid in known.items() if own.startswith(uid)})
    if len(fitting) > 1:
        listed = ", ".join(fitting[:_MOST_LISTED])
        more = ", ..." if len(fitting) > _MOST_LISTED else ""
        raise ConfigurationError(
            f"run {uid!r} may be any of {len(fitting)}: {listed}{more}; give more of its uid"
        )
    return fitting[0] if fitting else None
