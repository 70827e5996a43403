"""Training of the defect network: a library of rendered patterns, fresh noise at every step, one cycle."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from streamproc.models.defects.network.graph import DefectEnsemble, Spans, loss_of
from streamproc.models.defects.network.library import DefectLibrary, DefectSystem, build_library
from streamproc.models.defects.network.mixer import Mixer
from streamproc.models.defects.network.ranges import target_names
from streamproc.models.defects.network.release import release
from streamproc.models.networks.course import progress_line
from streamproc.models.networks.ensemble import feature_statistics

__all__ = ["Batches", "TrainSettings", "bar", "fit", "train"]

_BATCH = 256


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """What determines a model, besides the system and the code.

    Attributes
    ----------
    seed : int
        Seed of everything.
    library : int
        Patterns rendered.
    steps : int
        Batches of 256 patterns, with new noise each.
    members, hidden, features : int
        Ensemble members, hidden width, width of the last layer.
    hold_out : int
        Patterns rendered for calibration, and as many for the scores.
    threads : int
        Threads torch may use.
    """

    seed: int = 1
    library: int = 20_000
    steps: int = 5000
    members: int = 4
    hidden: int = 224
    features: int = 64
    hold_out: int = 3000
    threads: int = 2

    def quick(self) -> TrainSettings:
        """A tiny model, for tests of the whole way."""
        return replace(self, library=300, steps=60, members=2, hidden=32, features=16, hold_out=200)


def train(
    system: DefectSystem,
    out: Path,
    settings: TrainSettings,
    *,
    name: str,
    source: str,
    command: str = "",
    resume: bool = False,
) -> None:
    """Train, calibrate and write ``out/model.onnx`` and ``out/golden.npz``.

    Parameters
    ----------
    system : DefectSystem
        What to train for.
    out : Path
        Version folder; its name is the version.
    settings : TrainSettings
        How.
    name : str
        Name of the model.
    source : str
        Where the structure comes from.
    command : str
        Command line that makes the same model again.
    resume : bool
        Take the rendered library of an interrupted training of the same system and settings.
    """
    began = time.monotonic()
    torch.set_num_threads(settings.threads)
    library = _library(system, out / "training", settings, resume)
    torch.manual_seed(settings.seed)
    k = len(target_names(system.material))
    ensemble = DefectEnsemble(system.points, settings.hidden, settings.features, settings.members, k)
    spans = fit(
        lambda seed: Mixer(library, system, seed), len(library), ensemble, _spans(library, system), settings
    )
    release(
        out, system, ensemble, spans, name=name, settings=asdict(settings), source=source, command=command,
        data_sha256=library.sha256(), began_s=began, progress=bar("calibration", 2 * settings.hold_out),
    )  # fmt: skip
    shutil.rmtree(out / "training")


def _library(system: DefectSystem, work: Path, settings: TrainSettings, resume: bool) -> DefectLibrary:
    work.mkdir(parents=True, exist_ok=True)
    file = work / f"library-{system.key()}-{settings.seed}-{settings.library}.npz"
    if resume and file.is_file():
        return DefectLibrary.load(file)
    library = build_library(system, settings.library, settings.seed, bar("library", settings.library))
    library.save(file)
    return library


def bar(what: str, total: int) -> Callable[[int], None]:
    """Return what shows on the terminal how far something is."""
    began = time.monotonic()
    every = max(1, total // 10)

    def show(done: int) -> None:
        if done % every == 0 or done == total:
            progress_line(what, done, total, time.monotonic() - began)

    return show


class Batches(Protocol):
    """What a training takes its batches from."""

    generator: torch.Generator

    def batch(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return inputs (b, points) and targets (b, k) for rows of a library."""
        ...


def fit(
    batches: Callable[[int], Batches],
    rows: int,
    ensemble: DefectEnsemble,
    units: tuple[torch.Tensor, torch.Tensor],
    settings: TrainSettings,
) -> Spans:
    """Optimise an ensemble with AdamW and one cycle of the learning rate.

    Parameters
    ----------
    batches : callable
        From a seed to a source of batches.
    rows : int
        Rows of the library.
    ensemble : DefectEnsemble
        Is trained.
    units : tuple of Tensor, shape (k,)
        Mean and span of the targets.
    settings : TrainSettings
        How.

    Returns
    -------
    Spans
        Units of the targets, statistics of the features.
    """
    optimiser = torch.optim.AdamW(ensemble.parameters(), lr=1e-3, weight_decay=1e-4)
    rise = 0.1 if settings.steps > 20 else 0.3  # torch divides by the steps of the rise less one
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 2e-3, total_steps=settings.steps, pct_start=rise
    )
    source, show = batches(settings.seed), bar("training", settings.steps)
    mean, span = units
    for step in range(settings.steps):
        x, truth = source.batch(torch.randint(rows, (_BATCH,), generator=source.generator))
        loss = loss_of(ensemble(x)[0], (truth - mean) / span, ensemble.layout)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        show(step + 1)
    source = batches(settings.seed + 100)
    chosen = torch.randint(rows, (20 * _BATCH,), generator=source.generator).split(_BATCH)
    centre, whiten = feature_statistics(ensemble, (source.batch(part)[0] for part in chosen))
    return Spans(mean.numpy(), span.numpy(), centre, whiten)


def _spans(library: DefectLibrary, system: DefectSystem) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of the targets; the amorphous share's from its range."""
    targets = torch.from_numpy(library.targets)
    mean, span = targets.mean(0), targets.std(0).clamp(min=1e-6)
    mean[-1], span[-1] = 0.1, float(np.diff(system.ranges.amorphous)[0]) / 3
    return mean, span
