"""What a torture showed: figures of restarts and memory, and the sentences that make it fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from streamproc.audit import AuditReport
from streamproc.torture.count import OwnCount, Wait
from streamproc.torture.services import Life

__all__ = ["Restarts", "judge", "longest_waits", "memory_figures", "percentile", "restart_figures"]

_MOST_GROWTH = 1.15
_LEAST_SAMPLES = 30
_WAITS_TOLD, _WAITS_APART_S = 3, 20.0
_MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Restarts:
    """How restarted services came back.

    Attributes
    ----------
    count, answered, interrupted : int
        All; those that answered undisturbed; those that another fault hit, or the end came to, before that.
    times_s : tuple of float
        Of those that answered undisturbed.
    late : tuple of str
        Those beyond the limit, in words.
    """

    count: int
    answered: int
    interrupted: int
    times_s: tuple[float, ...]
    late: tuple[str, ...]

    def to_json(self, limit_s: float) -> dict[str, Any]:
        """Return it as plain values."""
        times_s = self.times_s
        return {
            "count": self.count,
            "answered": self.answered,
            "interrupted": self.interrupted,
            "slowest_s": round(max(times_s), 3) if times_s else None,
            "median_s": round(median(times_s), 3) if times_s else None,
            "limit_s": limit_s,
            "late": list(self.late),
        }


def restart_figures(lives: Mapping[str, Sequence[Life]], limit_s: float, now_s: float) -> Restarts:
    """Return figures of all processes but the first of each service.

    A process that another fault hits before it has answered is judged only up to that moment: it must not
    have had more than ``limit_s`` (s) by then.
    """
    restarts = [(name, life) for name, own in lives.items() for life in own[1:]]
    times_s, late = [], []
    for name, life in restarts:
        undisturbed = life.answered_s is not None and life.hit_s is None
        had_s = life.answered_s - life.started_s if undisturbed and life.answered_s else life.waited_s(now_s)
        if undisturbed:
            times_s.append(had_s)
        if had_s > limit_s:
            what = "answered" if undisturbed else "had not answered"
            late.append(f"service {name}, process {life.number}: {what} after {had_s:.1f} s")
    return Restarts(len(restarts), len(times_s), len(restarts) - len(times_s), tuple(times_s), tuple(late))


def memory_figures(samples: Sequence[tuple[float, int]]) -> dict[str, Any]:
    """Compare the first third of a service's time with the last.

    Parameters
    ----------
    samples : sequence of (float, int)
        Time (s) and resident memory (bytes), in order.

    Returns
    -------
    dict
        ``first_mb``, ``last_mb``: medians (MiB, None without samples); ``flat``: whether the last is at
        most 15 % above the first, None where there are too few samples to tell.
    """
    if not samples:
        return {"first_mb": None, "last_mb": None, "flat": None, "samples": 0}
    begin_s, end_s = samples[0][0], samples[-1][0]
    third_s = (end_s - begin_s) / 3
    first = [rss for at_s, rss in samples if at_s <= begin_s + third_s]
    last = [rss for at_s, rss in samples if at_s >= end_s - third_s]
    enough = min(len(first), len(last)) >= _LEAST_SAMPLES
    flat = median(last) <= _MOST_GROWTH * median(first)
    return {
        "first_mb": round(median(first) / _MB, 1),
        "last_mb": round(median(last) / _MB, 1),
        "flat": flat if enough else None,
        "samples": len(samples),
    }


def longest_waits(waits: Sequence[Wait], begin_unix_s: float) -> list[dict[str, Any]]:
    """Return the readings that waited longest, one for each of the few times at which they did.

    Parameters
    ----------
    waits : sequence of Wait
        In any order.
    begin_unix_s : float
        The beginning of the torture (Unix time, s), from which ``published_s`` is told.
    """
    told: list[Wait] = []
    for wait in sorted(waits, key=lambda wait: -wait.latency_ms):
        if len(told) == _WAITS_TOLD:
            break
        if all(abs(wait.published_s - other.published_s) > _WAITS_APART_S for other in told):
            told.append(wait)
    return [asdict(w) | {"published_s": round(w.published_s - begin_unix_s, 1)} for w in told]


def judge(
    own: OwnCount,
    audit: AuditReport,
    restarts: Restarts,
    memory: Mapping[str, Mapping[str, Any]],
    exits: Mapping[str, int],
) -> list[str]:
    """Return what speaks against the services, a sentence each; nothing: the torture is passed."""
    totals = audit.totals()
    said = [
        (own.lost, f"{own.lost} of {own.produced} readings have no event (own count)"),
        (own.doubled, f"{own.doubled} result documents are there twice (own count)"),
        (own.unknown, f"{own.unknown} events answer readings that were never published (own count)"),
        (own.unfinished, f"{len(own.unfinished)} runs have no result stop (own count)"),
        (totals["lost"], f"{totals['lost']} readings lost (audit)"),
        (totals["doubled"], f"{totals['doubled']} readings answered more than once (audit)"),
        (audit.differs, f"the audit finds {sum(audit.findings.faults.values())} differences"),
        (restarts.late, f"{len(restarts.late)} restarts beyond the limit"),
        (exits.get("2"), "a service ended with exit code 2, as if something had to be provided"),
    ]
    problems = [sentence for wrong, sentence in said if wrong]
    for name, figures in memory.items():
        if figures["flat"] is False:
            grown = f"{figures['first_mb']} to {figures['last_mb']} MiB"
            problems.append(f"memory of service {name} grew from {grown}")
    return problems


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the value that ``share`` (0 to 1) of ``values`` do not exceed; None without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None
