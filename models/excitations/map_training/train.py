"""Train a network for one spin model and write a version folder: model, golden vectors, report."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from streamproc.models.excitations.map_training.mixer import Mixer
from streamproc.models.excitations.map_training.network import Ensemble, nll
from streamproc.models.excitations.mapmodel.case import MapCase
from streamproc.models.excitations.maps.inputs import Preparer
from streamproc.models.excitations.maps.library import Library, build_library
from threadpoolctl import threadpool_limits

__all__ = ["Course", "TrainSettings", "fit", "mixer_of", "train"]

Progress = Callable[[str, int, int, float, str], None]

_POINTS = 20
"""Points of the learning curve, and checkpoints."""

_REUSE, _RECENT = 3, 12
"""Spoiling costs more than learning: a batch serves three steps, mixed with the twelve before it."""


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """What determines a model, besides `model.toml` and the code.

    Attributes
    ----------
    seed : int
        Seed of everything.
    library : int
        Maps rendered.
    steps, batch : int
        Batches, and maps in each, spoiled anew.
    members, hidden, features : int
        Ensemble members, width of the layers, width of the last one.
    hold_out : int
        Held-out maps for calibration, and a quarter as many others for the scores.
    fits : int
        Least-squares fits that set the limits on residuals, and again as many for the scores.
    threads : int
        Threads torch may use; the layers are small, and more hardly help.
    """

    seed: int = 1
    library: int = 3000
    steps: int = 3000
    batch: int = 128
    members: int = 4
    hidden: int = 192
    features: int = 48
    hold_out: int = 2000
    fits: int = 100
    threads: int = 1

    def quick(self) -> TrainSettings:
        """A tiny model, for tests of the whole way."""
        return replace(
            self, library=150, steps=60, batch=32, members=2, hidden=32, features=12, hold_out=200, fits=12
        )


@dataclass(slots=True)
class Course:
    """The learning curve: mean loss, and mean error of the places on fresh maps."""

    step: list[int] = field(default_factory=list)
    training: list[float] = field(default_factory=list)
    simulated: list[float] = field(default_factory=list)


def train(
    case: MapCase, toml: str, out: Path, settings: TrainSettings, *, resume: bool = False,
    command: str = "", progress: Progress,
) -> None:  # fmt: skip
    """Train, calibrate and write ``out/model.onnx``, ``out/golden.npz``, evidence and report.

    Parameters
    ----------
    case : MapCase
        Model.
    toml : str
        Text of its file; goes into the card.
    out : Path
        Version folder; its name is the version. A folder ``training`` inside holds the checkpoint meanwhile.
    settings : TrainSettings
        How.
    resume : bool
        Go on from the checkpoint, if there is one of the same settings.
    command : str
        Command line that makes the same model again.
    progress : callable
        Called with what is done, how much of how much, seconds and a note.
    """
    from streamproc.models.excitations.map_training.release import release

    began = time.monotonic()
    torch.set_num_threads(settings.threads)
    threadpool_limits(1, "blas")  # the many small matrices of spin waves gain nothing from threads
    work = out / "training"
    work.mkdir(parents=True, exist_ok=True)
    library = _library(case, toml, settings, work, resume, progress)
    ensemble, course = fit(case, library, settings, work, resume=resume, progress=progress)
    centre, whiten = _statistics(case, ensemble, library, settings.seed)
    release(case, toml, out, settings, ensemble, (centre, whiten), course, library, began, command, progress)
    shutil.rmtree(work)


def _library(
    case: MapCase, toml: str, settings: TrainSettings, work: Path, resume: bool, progress: Progress
) -> Library:
    """Render the library, or take up the one that an interrupted training left."""
    name = hashlib.sha256(f"{settings.seed} {settings.library} {toml}".encode()).hexdigest()[:12]
    file, began = work / f"library-{name}.npz", time.monotonic()
    if resume and file.is_file():
        return Library.load(file)
    library = build_library(
        case,
        settings.library,
        settings.seed,
        lambda done: progress("library", done, settings.library, time.monotonic() - began, ""),
    )
    library.save(file)
    return library


def fit(
    case: MapCase, library: Library, settings: TrainSettings, work: Path, *, resume: bool = False,
    progress: Progress,
) -> tuple[Ensemble, Course]:  # fmt: skip
    """Optimise with AdamW and one cycle of the learning rate; a checkpoint at every point of the curve."""
    torch.manual_seed(settings.seed)
    mixer, p = mixer_of(case, library, settings.seed), library.unit.shape[1]
    layout = Preparer(case).layout
    net = Ensemble(layout.width, layout.guess, p, settings.members, settings.hidden, settings.features)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 2.5e-3, total_steps=settings.steps, pct_start=0.1
    )
    state: dict[str, Any] = {"net": net, "optimiser": optimiser, "schedule": schedule}
    state |= {"mixer": mixer, "course": Course()}
    first = _restore(work, settings, library, state) if resume else 0
    every, began = -(-settings.steps // _POINTS), time.monotonic()
    for point in range(first, -(-settings.steps // every)):
        steps = min(every, settings.steps - point * every)
        loss = _some_steps(state, settings, steps, len(library))
        done = point * every + steps
        error = _error(net, case, library, settings.seed)
        course = state["course"]
        course.step.append(done)
        course.training.append(loss)
        course.simulated.append(error)
        said = f"loss {loss:.3f}, error {100 * error:.2f} % of the prior's range"
        progress("training", done, settings.steps, time.monotonic() - began, said)
        _checkpoint(work, settings, library, state, point + 1)
    return net, state["course"]


def mixer_of(case: MapCase, library: Library, seed: int) -> Mixer:
    """Return a mixer with the model's ranges."""
    table = case.file.energy
    return Mixer(library, case.file.measurement, seed, table.start / table.stop, table.stop)


def _some_steps(state: dict[str, Any], settings: TrainSettings, steps: int, rows: int) -> float:
    """Every third step spoils maps anew; the two after it take maps of the newest batches, mixed up."""
    net, mixer, total = state["net"], state["mixer"], 0.0
    recent: deque[tuple[torch.Tensor, torch.Tensor]] = deque(maxlen=_RECENT)
    for step in range(steps):
        if step % _REUSE == 0:
            batch = mixer.batch(torch.randint(rows, (settings.batch,), generator=mixer.generator))
            recent.append((batch.x, batch.unit))
            x, unit = batch.x, batch.unit
        else:
            whole = [torch.cat(v) for v in zip(*recent, strict=True)]
            chosen = torch.randint(len(whole[0]), (settings.batch,), generator=mixer.generator)
            x, unit = whole[0][chosen], whole[1][chosen]
        loss = nll(net(x)[0], unit, net.parameters_)
        state["optimiser"].zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 20.0)
        state["optimiser"].step()
        state["schedule"].step()
        total += float(loss.detach()) / net.members
    return total / steps


def _error(net: Ensemble, case: MapCase, library: Library, seed: int) -> float:
    """Mean absolute error of the places on maps spoiled afresh."""
    batch = mixer_of(case, library, seed + 50).batch(torch.arange(512) % len(library))
    with torch.no_grad():
        mean = net(batch.x)[0][..., : net.parameters_].mean(0)
    return float((mean - batch.unit).abs().mean())


def _statistics(
    case: MapCase, net: Ensemble, library: Library, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean of the features, and the matrix that gives them unit covariance."""
    mixer = mixer_of(case, library, seed + 100)
    rows = torch.randint(len(library), (4096,), generator=mixer.generator).split(256)
    with torch.no_grad():
        parts = [net(mixer.batch(r).x)[1].transpose(0, 1).flatten(1) for r in rows]
    features = torch.cat(parts).double().numpy()
    values, vectors = np.linalg.eigh(np.cov(features.T))
    whiten = vectors / np.sqrt(np.maximum(values, 1e-3 * values.max()))
    return torch.tensor(features.mean(0)).float(), torch.tensor(whiten).float()


def _checkpoint(
    work: Path, settings: TrainSettings, library: Library, state: dict[str, Any], point: int
) -> None:
    saved = {k: state[k].state_dict() for k in ("net", "optimiser", "schedule")}
    saved |= {"mixer": state["mixer"].state(), "course": asdict(state["course"]), "point": point}
    saved |= {"settings": asdict(settings), "library": library.sha256()}
    torch.save(saved, work / "checkpoint.part")
    (work / "checkpoint.part").replace(work / "checkpoint.pt")


def _restore(work: Path, settings: TrainSettings, library: Library, state: dict[str, Any]) -> int:
    """Take up the checkpoint; a missing one, or one of other settings or maps, means starting anew."""
    file = work / "checkpoint.pt"
    if not file.is_file():
        return 0
    saved = torch.load(file, weights_only=True)
    if _decisive(saved["settings"]) != _decisive(asdict(settings)) or saved["library"] != library.sha256():
        return 0
    for k in ("net", "optimiser", "schedule"):
        state[k].load_state_dict(saved[k])
    state["mixer"].restore(saved["mixer"])
    state["course"] = Course(**saved["course"])
    return int(saved["point"])


def _decisive(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that change the weights; the others only say how they are judged."""
    return {k: v for k, v in settings.items() if k not in ("hold_out", "fits", "threads")}
