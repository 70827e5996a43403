"""ReplayOutcome: what became of a run that was replayed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from streamproc.analysis import Analysis
from streamproc.transports.archive.ports import RunRef

__all__ = ["Ending", "Progress", "ReplayOutcome", "ledger_of"]

Progress = Callable[[int, int, int], None]
"""Called with (readings answered, readings of the run or 0, documents read)."""

Ending = Literal["complete", "unfinished", "damaged", "interrupted", "refused", "hangs"]


@dataclass(frozen=True, slots=True)
class ReplayOutcome:
    """What became of a run.

    Attributes
    ----------
    run_uid, result_uid : str
        Raw run; result run (empty when nothing of it was published).
    ending : str
        ``complete``; ``unfinished``: the archive has no stop; ``damaged``: it could not be read to the end;
        ``interrupted``: it was asked to stop; ``refused``: it is complete, and the target did not take it;
        ``hangs``: the analysis did not answer in its deadline, and a thread of it is left behind.
    ledger : Mapping
        ``expected``, ``done``, ``failed``, ``dropped`` with reasons, as in the result run's stop.
    reason : str
        Why it is not complete; empty when it is.
    notes : tuple of str
        What the archive had lost, what was undone of it and what was not; where files differ from documents.
    documents, frames : int
        Result documents, and answered readings, of this attempt.
    elapsed_s : float
        Time of this attempt, without pauses (s).
    late_p95_s, taken_p95_s : float or None
        Of a paced replay (95th percentile, s): how late documents were given out, and were taken by the loop,
        which may be busy with the documents before.
    """

    run_uid: str
    result_uid: str
    ending: Ending
    ledger: Mapping[str, Any]
    reason: str = ""
    notes: tuple[str, ...] = ()
    documents: int = 0
    frames: int = 0
    elapsed_s: float = 0.0
    late_p95_s: float | None = None
    taken_p95_s: float | None = None

    @property
    def good(self) -> bool:
        """Whether the run is complete and no reading failed."""
        return self.ending == "complete" and not self.ledger.get("failed")


def ledger_of(
    stop: Mapping[str, Any] | None, run_ref: RunRef, analysis: Analysis, reason: str
) -> Mapping[str, Any]:
    """Return the stop's ledger; of a run of which nothing could be said, one that says so."""
    if stop is not None:
        ledger: Mapping[str, Any] = stop["ledger"]["primary"]
        return ledger
    expected = run_ref.num_events(analysis.stream())
    reason = reason or f"the run has no frames for {analysis.name}"
    rows = [{"reason": reason, "count": expected, "first_seq_nums": list(range(1, min(expected, 10) + 1))}]
    return {
        "expected": expected, "done": 0, "failed": expected, "dropped": 0,
        "failed_reasons": rows if expected else [], "dropped_reasons": [],
    }  # fmt: skip
