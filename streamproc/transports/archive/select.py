"""Which of the runs in a list are meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from streamproc.errors import ConfigurationError
from streamproc.transports.archive.ports import Query, RunRef

__all__ = ["LEAST_CHARS", "fits", "is_number", "select"]

LEAST_CHARS = 6
"""Least length of a uid's beginning that is taken for it."""

_MOST_LISTED = 5


def select(runs: Iterable[RunRef], query: Query, where: str) -> list[RunRef]:
    """Return the runs of a list that a query means.

    Parameters
    ----------
    runs : iterable of RunRef
        All runs of an archive, in any order.
    query : Query
        What is wanted.
    where : str
        Name of the archive, for messages.

    Raises
    ------
    ConfigurationError
        A named run is not there or ambiguous; nothing fits.
    """
    known = sorted(runs, key=lambda run: run.time_s)
    fitting = [run for run in known if fits(run, query)]
    if not query.runs:
        if not fitting:
            raise ConfigurationError(f"{where}: no run fits --since/--until/--search")
        return fitting
    return [_named(fitting, text, where) for text in query.runs]


def fits(run: RunRef, query: Query) -> bool:
    """Tell whether a run is of the kind that is meant, and times and search hold for it."""
    if isinstance(run.start.get("streamproc"), Mapping) != query.results:
        return False
    if query.since_s is not None and run.time_s < query.since_s:
        return False
    if query.until_s is not None and run.time_s > query.until_s:
        return False
    return all(_text(_value(run.start, key)) == value for key, value in query.search)


def is_number(text: str) -> bool:
    """Tell whether a run is named by scan_id or by its place from the end."""
    return text.lstrip("-").isdecimal() and len(text) < 12


def _named(runs: Sequence[RunRef], text: str, where: str) -> RunRef:
    exact = [run for run in runs if run.uid == text]
    if exact:
        return exact[-1]
    if is_number(text):
        number = int(text)
        if number < 0 and -number <= len(runs):
            return runs[number]
        numbered = [run for run in runs if run.scan_id == number]
        if numbered:
            return numbered[-1]
    begins = [run for run in runs if len(text) >= LEAST_CHARS and run.uid.startswith(text)]
    if len({run.uid for run in begins}) > 1:
        listed = ", ".join(run.uid for run in begins[:_MOST_LISTED])
        raise ConfigurationError(f"{where}: run {text!r} may be any of {listed}; give more of its uid")
    if begins:
        return begins[-1]
    raise ConfigurationError(f"{where}: no run {text!r} in it; {_listing(runs)}")


def _listing(runs: Sequence[RunRef]) -> str:
    if not runs:
        return "it has no run that fits"
    newest = [f"{r.uid} (scan_id {r.scan_id})" for r in reversed(runs[-_MOST_LISTED:])]
    return f"it has {len(runs)} run(s), the newest: {', '.join(newest)}"


def _value(start: Mapping[str, Any], key: str) -> Any:
    if key in start:
        return start[key]
    value: Any = start
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)
