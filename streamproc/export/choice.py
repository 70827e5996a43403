"""choose: which result run is meant by a uid, a scan number, an analysis or a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamproc.errors import ConfigurationError
from streamproc.results import is_shadow

__all__ = ["Choice", "choose", "describe_start", "is_result"]

_LEAST_CHARS = 6
_MOST_LISTED = 10

Start = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Choice:
    """A result run and the supplementary runs with late results: their start documents."""

    first: Start
    supplements: tuple[Start, ...] = ()

    @property
    def uids(self) -> tuple[str, ...]:
        """Uids of all of them, the first run's first."""
        return tuple(str(start["uid"]) for start in (self.first, *self.supplements))

    @property
    def raw_uid(self) -> str:
        """Uid of the raw run they answer."""
        return str(self.first.get("original_run_uid", ""))


def is_result(start: Start) -> bool:
    """Tell whether a start document is that of a result run."""
    return isinstance(start.get("streamproc"), Mapping) and bool(start.get("uid"))


def choose(
    starts: Iterable[Start],
    run: str | None,
    *,
    analysis: str | None = None,
    model: str | None = None,
    where: str = "the source",
) -> Choice:
    """Return the result run that is meant, with its late results.

    Parameters
    ----------
    starts : iterable of Mapping
        Start documents, in the order they were published; what is no result run's is passed over.
    run : str or None
        Uid (or its first six characters) of the raw or of a result run; a scan number (its newest run);
        ``-1`` for the newest; None where there is only one raw run.
    analysis, model : str or None
        Narrow it down: name of the analysis; model as ``NAME``, ``NAME:VERSION`` or its hash's beginning.
    where : str
        What messages call the source.

    Raises
    ------
    ConfigurationError
        None fits, or several do: they are listed with what tells them apart. Runs of a shadow model count
        only when asked for by their own uid or by model.
    """
    found = list({str(s["uid"]): s for s in starts if is_result(s)}.values())
    firsts = [s for s in found if not s.get("supplements")]
    owner = {str(s["uid"]): str(s.get("supplements") or s["uid"]) for s in found}
    fitting, exact = _named(found, firsts, owner, run, where)
    if not exact:
        fitting = [s for s in fitting if _about(s, "analysis") == analysis or analysis is None]
        fitting = [s for s in fitting if (not is_shadow(s) if model is None else _has_model(s, model))]
    if not fitting:
        narrowed = [f"{n} {v!r}" for n, v in (("analysis", analysis), ("model", model)) if v]
        with_ = f" with {' and '.join(narrowed)}" if narrowed else ""
        what = "there are" if run is None else f"run {run!r} has"
        raise ConfigurationError(f"{what} no results{with_} in {where}; {_listing(firsts)}")
    if len(fitting) > 1:
        raise ConfigurationError(
            f"{len(fitting)} result runs fit{'' if run is None else f' {run!r}'} in {where}: "
            f"{_listing(fitting)}; choose by the uid of the run (--run), --analysis or --model"
        )
    first = fitting[0]
    late = tuple(s for s in found if s.get("supplements") == first["uid"])
    return Choice(first, late)


def describe_start(start: Start) -> str:
    """Return a result run in a few words: uid, analysis, model, sample."""
    parts = [f"{start['uid']}: {_about(start, 'analysis')} {_about(start, 'analysis_version')}".rstrip()]
    parts.append(f"model {_about(start, 'model') or _about(start, 'model_sha256')[:12] or 'unknown'}")
    if is_shadow(start):
        parts.append("shadow")
    parts.append(f"of raw run {start.get('original_run_uid', '?')}")
    if start.get("scan_id") is not None:
        parts.append(f"scan {start['scan_id']}")
    return ", ".join(parts)


def _named(
    found: Sequence[Start], firsts: Sequence[Start], owner: Mapping[str, str], run: str | None, where: str
) -> tuple[list[Start], bool]:
    """Return the first runs that ``run`` names, and whether it names a result run itself."""
    by_uid = {str(s["uid"]): s for s in firsts}
    if run is None:
        return list(firsts), False
    if run == "-1":
        newest = firsts[-1].get("original_run_uid") if firsts else None
        return [s for s in firsts if s.get("original_run_uid") == newest], False
    if len(run) < _LEAST_CHARS and run.isdecimal():
        scans = [s for s in firsts if s.get("scan_id") == int(run)]
        newest = scans[-1].get("original_run_uid") if scans else None
        return [s for s in scans if s.get("original_run_uid") == newest], False
    if len(run) < _LEAST_CHARS:
        raise ConfigurationError(
            f"run {run!r}: give its whole uid, at least {_LEAST_CHARS} characters of it, or -1"
        )
    raw = sorted({str(s.get("original_run_uid", "")) for s in found})
    mine = [uid for uid in raw if uid == run] or [uid for uid in raw if uid.startswith(run)]
    own = sorted({owner[uid] for uid in owner if uid == run or uid.startswith(run)} & set(by_uid))
    if len(mine) + len(own) > 1:
        raise ConfigurationError(
            f"run {run!r} may be any of {', '.join([*mine, *own][:_MOST_LISTED])} in {where}; "
            "give more of its uid"
        )
    if own:
        return [by_uid[own[0]]], True
    return [s for s in firsts if mine and s.get("original_run_uid") == mine[0]], False


def _about(start: Start, name: str) -> str:
    about = start.get("streamproc")
    return str(about.get(name, "")) if isinstance(about, Mapping) else ""


def _has_model(start: Start, model: str) -> bool:
    name = _about(start, "model")
    hashed = len(model) >= _LEAST_CHARS and _about(start, "model_sha256").startswith(model)
    return hashed or model in (name, name.partition("@")[0], name.partition(":")[0])


def _listing(starts: Sequence[Start]) -> str:
    if not starts:
        return "there are no result runs in it"
    listed = "; ".join(describe_start(s) for s in starts[-_MOST_LISTED:])
    more = len(starts) - _MOST_LISTED
    return f"there is: {listed}" + (f"; and {more} older ones" if more > 0 else "")
