"""A shadow: the same service with another model, its answers marked and kept out of everybody's way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from streamproc.analysis import (
    Analysis,
    Example,
    Frame,
    FrameFailure,
    FrameResult,
    Output,
    Provenance,
    RunAnalysis,
    RunResult,
)
from streamproc.documents import TopicPartition
from streamproc.runs import Run
from streamproc.transports.ports import Outgoing, Sink, StateReader, Stored

__all__ = ["ShadowAnalysis", "ShadowSink", "ShadowState"]


def _marked(provenance: Provenance) -> Provenance:
    return replace(provenance, details={**provenance.details, "shadow": True})


class ShadowAnalysis:
    """An analysis whose result runs are those of a shadow.

    Its name is another one, so that reinjected dead letters, which are meant for the analysis at work, pass
    it by; in the result runs the analysis has its own name.

    Parameters
    ----------
    analysis : Analysis
        Loaded with the shadow's model.
    """

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis
        self.name = f"{analysis.name} (shadow)"
        self.version, self.Settings = analysis.version, analysis.Settings

    @classmethod
    def load(cls, settings: Any, context: Any) -> ShadowAnalysis:
        """A shadow is made from a loaded analysis."""
        raise TypeError("load the analysis itself and wrap it")

    @classmethod
    def example(cls, folder: Path) -> Example:
        """A shadow has no example of its own."""
        raise TypeError("ask the analysis itself")

    def outputs(self) -> Sequence[Output]:
        """Return those of the analysis."""
        return self._analysis.outputs()

    def run_outputs(self) -> Mapping[str, Sequence[Output]]:
        """Return those of the analysis."""
        return self._analysis.run_outputs()

    def stream(self) -> str:
        """Return that of the analysis."""
        return self._analysis.stream()

    def provenance(self) -> Provenance:
        """Return that of the analysis, marked."""
        return _marked(self._analysis.provenance())

    def frame_key(self, run: Run) -> str | None:
        """Return that of the analysis."""
        return self._analysis.frame_key(run)

    def report(self, result: FrameResult) -> Mapping[str, Any]:
        """Return that of the analysis."""
        return self._analysis.report(result)

    def begin(self, run: Run) -> RunAnalysis:
        """Begin on a run, marked."""
        return _ShadowRun(self._analysis.begin(run))


class _ShadowRun:
    def __init__(self, analysis: RunAnalysis) -> None:
        self._analysis = analysis
        self.provenance = _marked(analysis.provenance)

    def process(self, frames: Sequence[Frame]) -> Sequence[FrameResult | FrameFailure]:
        return self._analysis.process(frames)

    def update(self, results: Sequence[FrameResult | FrameFailure]) -> Sequence[RunResult]:
        return self._analysis.update(results)

    def end(self) -> Sequence[RunResult]:
        return self._analysis.end()

    def snapshot(self) -> Mapping[str, Any]:
        return self._analysis.snapshot()

    def restore(self, state: Mapping[str, Any]) -> None:
        self._analysis.restore(state)


class ShadowSink:
    """Publishes results, state and positions, and no dead letters: those are for the analysis at work.

    Parameters
    ----------
    sink : Sink
        Where everything else goes.
    deadletters : str
        The topic that nothing is sent to.
    """

    def __init__(self, sink: Sink, deadletters: str) -> None:
        self._sink, self._deadletters = sink, deadletters

    def deliver(self, outgoing: Sequence[Outgoing], consumed: Mapping[TopicPartition, int]) -> None:
        """Deliver what is no dead letter."""
        self._sink.deliver([o for o in outgoing if o.topic != self._deadletters], consumed)

    def close(self) -> None:
        """Free the sink."""
        self._sink.close()


class ShadowState:
    """Stored state of a shadow; one that is new begins where the analysis at work was.

    Parameters
    ----------
    state : StateReader
        The shadow's own.
    begin : Mapping of int to int
        Position by partition.
    """

    def __init__(self, state: StateReader, begin: Mapping[int, int]) -> None:
        self._state, self._begin = state, begin

    def load(self, partition: int) -> Stored:
        """Return what is stored."""
        stored = self._state.load(partition)
        if stored.committed is None and not stored.records:
            return replace(stored, committed=self._begin.get(partition))
        return stored
