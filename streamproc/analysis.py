"""Frame, Estimate and the Analysis protocol: the seat every consumer fills."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy.typing as npt
from pydantic import BaseModel

from streamproc.runs import Run

__all__ = [
    "Analysis",
    "Estimate",
    "Example",
    "Frame",
    "FrameFailure",
    "FrameResult",
    "LoadContext",
    "Output",
    "Provenance",
    "RunAnalysis",
    "RunResult",
]


@dataclass(frozen=True, slots=True)
class Frame:
    """One detector reading.

    Attributes
    ----------
    run_uid, stream, seq_num, key
        Which reading of which raw run this is; ``key`` is the data key of ``array``.
    array : ndarray
        Read-only; 2-D image, 3-D stack of several frames per event, or 1-D pattern; the file's own dtype.
    time_s : float
        The event's own time (Unix s); the descriptor's where a fly scan has no events.
    readings : Mapping
        The event's other readings: motor positions, scalars, small arrays (a pattern's axis).
    timestamps : Mapping
        Unix time (s) of each entry of ``readings``.
    dark : ndarray or None
        Newest dark frame of the same key taken before this one in the run's dark stream, if there is one.
    """

    run_uid: str
    stream: str
    seq_num: int
    key: str
    array: npt.NDArray[Any]
    time_s: float
    readings: Mapping[str, Any] = field(default_factory=dict)
    timestamps: Mapping[str, float] = field(default_factory=dict)
    dark: npt.NDArray[Any] | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value that knows how far to trust it; never a bare number.

    ``value`` and ``sigma`` share the unit that the matching :class:`Output` declares; NaN where the model
    abstains. ``interval90`` is the calibrated 90 % interval.
    """

    value: float
    sigma: float
    in_domain: bool
    model_id: str
    interval90: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """One declared quantity of an analysis; becomes one or more data keys of the result stream.

    ``estimate`` gives ``name``, ``name_sigma`` (and ``name_lo90``, ``name_hi90`` with ``interval``);
    ``number``, ``flag`` and ``text`` give one key; ``curve`` gives an array key of ``shape``.
    """

    name: str
    kind: Literal["estimate", "number", "flag", "text", "curve"]
    units: str = ""
    description: str = ""
    shape: tuple[int, ...] = ()
    interval: bool = False
    hinted: bool = False
    """Shown by live plots (BestEffortCallback) when true."""


@dataclass(frozen=True, slots=True)
class FrameResult:
    """What the per-frame half says about one frame: a value for every declared output."""

    seq_num: int
    values: Mapping[str, Estimate | float | bool | str | npt.NDArray[Any]]
    in_domain: bool
    reasons: tuple[str, ...]
    """Why the frame is out of domain or flagged; empty when all is well."""
    model_id: str
    readings: Mapping[str, Any] = field(default_factory=dict)
    """Motor readings of the frame, handed on so that the per-run half can place the result on the map."""


@dataclass(frozen=True, slots=True)
class FrameFailure:
    """The frame could not be analysed; goes to the ledger with this reason."""

    seq_num: int
    reason: str


@dataclass(frozen=True, slots=True)
class RunResult:
    """Something the per-run half says: an event of its own stream, values as declared by ``run_outputs``."""

    stream: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Hashes that, with the raw run, determine every number: they enter the result run's uid."""

    analysis: str
    version: str
    model_sha256: str
    settings_sha256: str
    calibration_sha256: str
    details: Mapping[str, Any] = field(default_factory=dict)
    """Readable facts for the result's start document (model name, geometry file name and hash, ...)."""


@dataclass(frozen=True, slots=True)
class LoadContext:
    """What the composition root hands to ``Analysis.load`` besides the analysis's own settings."""

    inference: Any
    """The ``[inference]`` section: execution provider, threads, batch size, model folders."""


@dataclass(frozen=True, slots=True)
class Example:
    """A small real case that an analysis brings along; the conformance checks and the how-to use it.

    Attributes
    ----------
    settings : Mapping
        The ``[analysis.NAME]`` table.
    run : Run
        A raw run with at least start and descriptor.
    frames : sequence of Frame
        At least four frames of it, in seq_num order, that the analysis can answer.
    """

    settings: Mapping[str, Any]
    run: Run
    frames: Sequence[Frame]


class RunAnalysis(Protocol):
    """One analysis at work on one run. ``process`` may be called from any thread, in any order and split."""

    provenance: Provenance

    def process(self, frames: Sequence[Frame]) -> Sequence[FrameResult | FrameFailure]:
        """Per frame, stateless: reduce and infer. One answer per frame, in the order of ``frames``.

        Splitting or shuffling ``frames`` must not change a single bit of any answer.
        """

    def update(self, results: Sequence[FrameResult | FrameFailure]) -> Sequence[RunResult]:
        """Per run, called with results in seq_num order; cheap. May publish results about the run so far."""

    def end(self) -> Sequence[RunResult]:
        """Say what is to be said at the end of the run."""

    def snapshot(self) -> Mapping[str, Any]:
        """Return the state of the per-run half (msgpack-able: numbers, strings, lists, dicts, bytes)."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a state that :meth:`snapshot` gave."""


class Analysis(Protocol):
    """A consumer: loaded once per process, asked to :meth:`begin` once per raw run.

    A consumer module ``consumers/NAME.py`` defines one class that fills this protocol and names it in
    ``ANALYSIS``. Everything costly (model, geometry tables) is loaded in :meth:`load`, and everything the
    user must provide is checked there: what is missing raises :class:`~streamproc.errors.ConfigurationError`.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    Settings: ClassVar[type[BaseModel]]

    @classmethod
    def load(cls, settings: Any, context: LoadContext) -> Self:
        """Build the analysis from its validated settings."""

    @classmethod
    def example(cls, folder: Path) -> Example:
        """Return a small case to try the analysis on; files it needs are written into ``folder``."""

    def outputs(self) -> Sequence[Output]:
        """Declare the quantities of every result event (stream ``primary``)."""

    def run_outputs(self) -> Mapping[str, Sequence[Output]]:
        """Declare the quantities of each stream that ``update`` and ``end`` publish."""

    def stream(self) -> str:
        """Return the raw stream whose frames are analysed (usually ``primary``)."""

    def provenance(self) -> Provenance:
        """Return what is known before any run: the hashes (calibration may come with a run)."""

    def frame_key(self, run: Run) -> str | None:
        """Choose the data key to analyse; None when the run has nothing for this analysis.

        Raises
        ------
        RunRefused
            When more than one key fits; the message lists the candidates and the setting to use.
        """

    def report(self, result: FrameResult) -> Mapping[str, Any]:
        """Return one answer as `streamproc predict` prints it (JSON-able)."""

    def begin(self, run: Run) -> RunAnalysis:
        """Start on a run.

        Raises
        ------
        RunRefused
            When this run cannot be analysed (no calibration it may use, ...).
        """
