"""Train a network for a system of phases and write a version folder with model, golden vectors and report.

Renders a library of single phases, mixes it afresh at every step, trains an ensemble, calibrates what ships
and says how far to trust it. The same settings give the same model on the same machine.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from streamproc.models.networks.course import Course, progress_line
from streamproc.models.networks.ensemble import feature_statistics
from streamproc.models.phase_map.export import Statistics
from streamproc.models.phase_map.library import Library, build_library
from streamproc.models.phase_map.measured import Measured, prepared
from streamproc.models.phase_map.mixtures import PLAIN, Batch, Mixer
from streamproc.models.phase_map.network import Ensemble, Targets, member_loss, split
from streamproc.models.phase_map.release import release
from streamproc.models.phase_map.system import System
from threadpoolctl import threadpool_limits

__all__ = ["TrainSettings", "fit", "statistics_of", "targets_of", "train"]

_BATCH = 256
_POINTS = 20
"""Points of the learning curve, and checkpoints."""

_KEPT_SHARE = 0.1
"""A state counts fully from this share of the crystalline weight on."""


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """What determines a model, besides the system and the code.

    Attributes
    ----------
    seed : int
        Seed of everything.
    library : int
        Instrument draws rendered.
    steps : int
        Batches of 256 patterns, each mixed anew.
    members, hidden, features : int
        Ensemble members, hidden width, width of the last layer.
    hold_out : int
        Patterns mixed for calibration, and again as many for the scores.
    fits : int
        Classical fits of usual patterns that set the rules, and again as many for the limits.
    threads : int
        Threads of torch, of rendering and of fits.
    """

    seed: int = 1
    library: int = 8000
    steps: int = 5000
    members: int = 4
    hidden: int = 128
    features: int = 64
    hold_out: int = 4000
    fits: int = 800
    threads: int = 2

    @classmethod
    def for_phases(cls, phases: int) -> TrainSettings:
        """Return settings that suit a number of phases: more of them, fewer draws of each and more steps."""
        if phases <= 6:
            return cls()
        library = int(np.clip(30000 // phases, 1200, 4000))
        if phases <= 16:
            return cls(library=library, steps=5000, hidden=256, fits=300)
        return cls(library=library, steps=4000, hidden=320, fits=200)

    def quick(self) -> TrainSettings:
        """A tiny model, for tests of the whole way."""
        return replace(self, library=200, steps=60, members=2, hidden=48, features=16, hold_out=400, fits=40)


def train(
    system: System,
    out: Path,
    settings: TrainSettings,
    *,
    measured: Sequence[Measured] = (),
    resume: bool = False,
    notes: Sequence[str] = (),
    command: str = "",
) -> None:
    """Train, calibrate and write ``out/model.onnx``, ``out/golden.npz`` and the report.

    Parameters
    ----------
    system : System
        What to train for.
    out : Path
        Version folder; its name is the version. A folder ``training`` inside holds the checkpoint meanwhile.
    settings : TrainSettings
        How.
    measured : sequence of Measured
        Scored at the end and put into the card; those that may stop the training are not counted.
    resume : bool
        Go on from the checkpoint, if there is one of the same system and settings.
    notes : sequence of str
        What card and report are to say about the phases (ambiguities, assumptions).
    command : str
        Command line that makes the same model again.
    """
    began = time.monotonic()
    torch.set_num_threads(settings.threads)
    # the fits' small matrices gain nothing from BLAS threads, and wait for them on a busy machine
    threadpool_limits(1, "blas")
    work = out / "training"
    work.mkdir(parents=True, exist_ok=True)
    library = _library(system, work, settings, resume)
    ensemble, course = fit(library, settings, work, resume=resume, measured=measured, system=system)
    statistics = statistics_of(ensemble, library, settings.seed)
    release(
        out,
        system,
        ensemble,
        statistics,
        course,
        data_sha256=library.sha256(),
        settings=asdict(settings),
        began_s=began,
        measured=measured,
        notes=tuple(notes),
        command=command,
        progress=progress_line,
    )
    shutil.rmtree(work)


def _library(system: System, work: Path, settings: TrainSettings, resume: bool) -> Library:
    file = work / f"library-{settings.seed}-{settings.library}-{len(system.phases)}.npz"
    if resume and file.is_file():
        return Library.load(file)
    began = time.monotonic()
    library = build_library(
        system,
        settings.library,
        settings.seed,
        threads=settings.threads,
        progress=lambda done: progress_line("library", done, settings.library, time.monotonic() - began),
    )
    library.save(file)
    return library


def fit(
    library: Library,
    settings: TrainSettings,
    work: Path,
    *,
    resume: bool = False,
    stop_after: int | None = None,
    measured: Sequence[Measured] = (),
    system: System | None = None,
) -> tuple[Ensemble, Course]:
    """Optimise with AdamW and one cycle of the learning rate.

    Parameters
    ----------
    library : Library
        Rendered phases.
    settings : TrainSettings
        What to train.
    work : Path
        Folder of the checkpoint.
    resume : bool
        Go on from the checkpoint there.
    stop_after : int, optional
        Stop after this point of the curve, with a checkpoint.
    measured : sequence of Measured
        Those whose use is ``stop`` choose the weights that are kept.
    system : System, optional
        Needed to read measured patterns.
    """
    torch.manual_seed(settings.seed)
    points, phases = len(library.axis), library.known.shape[1]
    ensemble = Ensemble(points, settings.hidden, settings.features, settings.members, phases)
    optimiser = torch.optim.AdamW(ensemble.parameters(), lr=1e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=settings.steps, pct_start=0.1)
    state: dict[str, Any] = {"ensemble": ensemble, "optimiser": optimiser, "schedule": schedule}
    state |= {"mixer": Mixer(library, settings.seed), "course": Course()}
    first = _restore(work, settings, state) if resume else 0
    stopping = [m for m in measured if m.use == "stop" and np.isfinite(m.fractions).all()]
    stopping_x = prepared(system.axis(), stopping) if stopping and system is not None else None
    spans, began = _spans(library), time.monotonic()
    every = -(-settings.steps // _POINTS)
    for point in range(first, -(-settings.steps // every)):
        steps = min(every, settings.steps - point * every)
        loss = _some_steps(state, settings, steps, len(library), spans)
        done = point * every + steps
        error = _simulated_error(ensemble, library, settings.seed)
        real = _stopping_error(ensemble, stopping_x, stopping)
        _note(state["course"], done, loss, error, real, ensemble, work)
        said = f"loss {loss:.3f}, simulated {100 * error:.2f} wt%"
        progress_line("training", done, settings.steps, time.monotonic() - began, said)
        _checkpoint(work, settings, state, point + 1)
        if point + 1 == stop_after:
            return ensemble, state["course"]
    if state["course"].stopped_at is not None:
        ensemble.load_state_dict(torch.load(work / "best.pt", weights_only=True))
    return ensemble, state["course"]


def _some_steps(state: dict[str, Any], settings: TrainSettings, steps: int, rows: int, spans: Any) -> float:
    ensemble, optimiser, mixer = state["ensemble"], state["optimiser"], state["mixer"]
    total = 0.0
    for _ in range(steps):
        chosen = torch.randint(rows, (_BATCH,), generator=mixer.generator)
        batch = mixer.batch(chosen)
        heads, _ = ensemble(batch.x)
        loss = member_loss(heads, targets_of(batch, *spans), ensemble.layout)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        state["schedule"].step()
        total += float(loss.detach())
    return total / steps


def _note(
    course: Course, step: int, loss: float, error: float, real: float, ensemble: Ensemble, work: Path
) -> None:
    """Write a point of the curve down; keep the weights where the stopping patterns are read best."""
    best = min(course.stopping, default=float("inf"))
    course.step.append(step)
    course.training.append(loss)
    course.simulated.append(error)
    course.stopping.append(real)
    if real < best:
        course.stopped_at = step
        torch.save(ensemble.state_dict(), work / "best.pt")


def _spans(library: Library) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of every state over the library, shape (3, p)."""
    state = torch.from_numpy(library.state)
    return state.mean(0), state.std(0).clamp(min=1e-6)


def targets_of(batch: Batch, mean: torch.Tensor, span: torch.Tensor) -> Targets:
    """Return what the network should say about a batch, and how much each value counts.

    Fractions count as far as known phases are there to be read, states as far as their phase is; traces below
    1 % count less as present.
    """
    unknown, amorphous = batch.unknown[:, None], batch.amorphous[:, None]
    visible = batch.has_known.float()[:, None] * (1 - unknown) * (1 - 0.7 * amorphous)
    shares = torch.cat([batch.fractions, unknown, amorphous], 1)
    weight = torch.cat([visible.expand(-1, batch.fractions.shape[1]), torch.ones(len(shares), 2)], 1)
    present = (batch.fractions > 0).float() * batch.has_known.float()[:, None]
    amount = batch.fractions * (1 - amorphous)
    present_weight = torch.where(present > 0, (amount / 0.01).clamp(max=1), torch.ones_like(present))
    states = ((batch.state - mean) / span).flatten(1)
    seen = (amount * (1 - unknown) / _KEPT_SHARE).clamp(max=1) * batch.has_known.float()[:, None]
    return Targets(shares, weight, present, present_weight, states, seen.repeat(1, 3))


def _simulated_error(ensemble: Ensemble, library: Library, seed: int) -> float:
    """Mean absolute error of the fractions over fresh mixtures of the training library."""
    mixer = Mixer(library, seed + 50, PLAIN)
    batch = mixer.batch(torch.arange(2 * _BATCH) % len(library))
    with torch.no_grad():
        values, _ = split(ensemble(batch.x)[0], ensemble.layout)
    rows = batch.has_known
    p = batch.fractions.shape[1]
    return float((values.mean(0)[rows, :p] - batch.fractions[rows]).abs().mean())


def _stopping_error(ensemble: Ensemble, x: Any, stopping: Sequence[Measured]) -> float:
    """Mean absolute error over the measured patterns that may stop the training; NaN without any."""
    if x is None:
        return float("nan")
    with torch.no_grad():
        values, _ = split(ensemble(torch.from_numpy(x))[0], ensemble.layout)
    truth = np.array([m.fractions for m in stopping])
    return float(np.abs(values.mean(0)[:, : truth.shape[1]].numpy() - truth).mean())


def statistics_of(ensemble: Ensemble, library: Library, seed: int) -> Statistics:
    """Return the mean of the features over patterns the model is meant for, what whitens them, and spans."""
    mixer = Mixer(library, seed + 100, PLAIN)
    rows = torch.randint(len(library), (20 * _BATCH,), generator=mixer.generator).split(_BATCH)
    centre, whiten = feature_statistics(ensemble, (mixer.batch(r).x for r in rows))
    mean, span = _spans(library)
    return Statistics(centre, whiten, mean.numpy(), span.numpy())


def _checkpoint(work: Path, settings: TrainSettings, state: dict[str, Any], point: int) -> None:
    saved = {k: state[k].state_dict() for k in ("ensemble", "optimiser", "schedule")}
    saved |= {"mixer": state["mixer"].state(), "course": asdict(state["course"])}
    saved |= {"point": point, "settings": asdict(settings)}
    torch.save(saved, work / "checkpoint.part")
    (work / "checkpoint.part").replace(work / "checkpoint.pt")


def _restore(work: Path, settings: TrainSettings, state: dict[str, Any]) -> int:
    """Take up the checkpoint; a missing one, or one of other settings, means starting anew."""
    file = work / "checkpoint.pt"
    if not file.is_file():
        return 0
    saved = torch.load(file, weights_only=True)
    if _decisive(saved["settings"]) != _decisive(asdict(settings)):
        return 0
    for k in ("ensemble", "optimiser", "schedule"):
        state[k].load_state_dict(saved[k])
    state["mixer"].restore(saved["mixer"])
    state["course"] = Course(**saved["course"])
    return int(saved["point"])


def _decisive(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that change the weights; the others only say how they are judged."""
    return {k: v for k, v in settings.items() if k not in ("hold_out", "fits", "threads")}
