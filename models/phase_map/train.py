"""Train the model and write a version folder: ``python -m streamproc.models.phase_map.train --out DIR``.

Renders a library of single phases, mixes it afresh at every step, trains an ensemble, and writes
``model.onnx`` (with its card inside) and ``golden.npz``. The same arguments give the same
model on the same machine.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from streamproc.models.phase_map.library import AXIS, Library, build_library
from streamproc.models.phase_map.mixtures import PLAIN, Batch, Mixer
from streamproc.models.phase_map.network import Ensemble, member_loss
from streamproc.models.phase_map.release import release

__all__ = ["TrainSettings", "feature_statistics", "fit", "main", "train", "truth_of"]

_BATCH = 256


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """What determines a model, besides the code.

    Attributes
    ----------
    seed : int
        Seed of everything.
    library : int
        Instrument draws rendered.
    epochs : int
        Passes over the library; every pass mixes anew.
    members, hidden, features : int
        Ensemble members, hidden width, width of the last layer.
    hold_out : int
        Patterns mixed for calibration, and again as many for the scores.
    fits : int
        Classical fits that set the residual's limit.
    threads : int
        Threads torch may use.
    """

    seed: int = 1
    library: int = 8000
    epochs: int = 64
    members: int = 4
    hidden: int = 256
    features: int = 64
    hold_out: int = 4000
    fits: int = 300
    threads: int = 2

    def quick(self) -> TrainSettings:
        """A tiny model, for tests of the whole way."""
        return replace(self, library=200, epochs=8, members=2, hidden=48, features=16, hold_out=300, fits=10)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m streamproc.models.phase_map.train", description=(__doc__ or "").splitlines()[0]
    )
    default = TrainSettings()
    parser.add_argument(
        "--out", type=Path, required=True, help="version folder to write, e.g. models/phase_qpa/1"
    )
    for name in ("seed", "library", "epochs", "members", "hidden", "features", "threads"):
        parser.add_argument(f"--{name}", type=int, default=None, help=f"default {getattr(default, name)}")
    parser.add_argument(
        "--quick", action="store_true", help="a tiny model in under a minute, to try the whole way"
    )
    parser.add_argument(
        "--validate", type=Path, metavar="DIR", help="folder of measured round-robin patterns to score on"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint in the version folder"
    )
    arguments = parser.parse_args(argv)
    settings = default.quick() if arguments.quick else default
    given = {k: v for k, v in vars(arguments).items() if v is not None and k in TrainSettings.__slots__}
    train(arguments.out, replace(settings, **given), validate=arguments.validate, resume=arguments.resume)
    return 0


def train(out: Path, settings: TrainSettings, *, validate: Path | None = None, resume: bool = False) -> None:
    """Train, calibrate and write ``out/model.onnx`` and ``out/golden.npz``.

    Parameters
    ----------
    out : Path
        Version folder; its name is the version. A folder ``training`` inside holds the checkpoint meanwhile.
    settings : TrainSettings
        What to train.
    validate : Path, optional
        Folder of measured round-robin patterns, scored at the end and put into the card.
    resume : bool
        Go on from the checkpoint, if there is one of the same settings.
    """
    began = time.monotonic()
    torch.set_num_threads(settings.threads)
    work = out / "training"
    work.mkdir(parents=True, exist_ok=True)
    library = _library(work, settings, resume)
    ensemble = fit(library, settings, work, resume=resume)
    centre, whiten = feature_statistics(ensemble, library, settings.seed)
    release(out, ensemble, centre, whiten, library.sha256(), asdict(settings), began, validate)
    shutil.rmtree(work)


def _library(work: Path, settings: TrainSettings, resume: bool) -> Library:
    file = work / f"library-{settings.seed}-{settings.library}.npz"
    if resume and file.is_file():
        return Library.load(file)
    began = time.monotonic()
    library = build_library(
        settings.library,
        settings.seed,
        progress=lambda done: _progress("library", done, settings.library, time.monotonic() - began),
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
) -> Ensemble:
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
        Stop after this epoch, with a checkpoint.
    """
    torch.manual_seed(settings.seed)
    ensemble = Ensemble(AXIS.size, settings.hidden, settings.features, settings.members)
    steps = settings.epochs * -(-settings.library // _BATCH)
    optimiser = torch.optim.AdamW(ensemble.parameters(), lr=1e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps, pct_start=0.1)
    mixer = Mixer(library, settings.seed)
    state: dict[str, Any] = {
        "ensemble": ensemble,
        "optimiser": optimiser,
        "schedule": schedule,
        "mixer": mixer,
    }
    first = _restore(work, settings, state) if resume else 0
    began = time.monotonic()
    for epoch in range(first, settings.epochs):
        loss = _epoch(ensemble, optimiser, schedule, mixer, len(library))
        _progress("training", epoch + 1, settings.epochs, time.monotonic() - began, f"loss {loss:.3f}")
        if (epoch + 1) % 10 == 0 or epoch + 1 == stop_after:
            _checkpoint(work, settings, state, epoch + 1)
        if epoch + 1 == stop_after:
            break
    return ensemble


def _epoch(ensemble: Ensemble, optimiser: Any, schedule: Any, mixer: Mixer, rows: int) -> float:
    order = torch.randperm(rows, generator=mixer.generator)
    order = (
        torch.cat([order, order[: -rows % _BATCH]]) if rows >= _BATCH else order.repeat(_BATCH // rows + 1)
    )
    total, steps = 0.0, -(-rows // _BATCH)
    for step in range(steps):
        batch = mixer.batch(order[step * _BATCH : (step + 1) * _BATCH])
        heads, _ = ensemble(batch.x)
        loss = member_loss(heads, truth_of(batch), _weights(batch))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        total += float(loss.detach())
    return total / steps


def truth_of(batch: Batch) -> torch.Tensor:
    """Return the six true values, shape (b, 6)."""
    return torch.cat([batch.fractions, batch.unknown[:, None], batch.amorphous[:, None]], 1)


def _weights(batch: Batch) -> torch.Tensor:
    """Fractions count as far as known phases are there to be read; the other heads always."""
    visible = batch.has_known.float() * (1 - batch.unknown) * (1 - 0.7 * batch.amorphous)
    return torch.cat([visible[:, None].expand(-1, 4), torch.ones(len(visible), 2)], 1)


def feature_statistics(ensemble: Ensemble, library: Library, seed: int) -> tuple[Any, Any]:
    """Return the mean of the features over patterns the model is meant for, and what whitens them."""
    mixer = Mixer(library, seed + 100, PLAIN)
    rows = torch.randint(len(library), (20 * _BATCH,), generator=mixer.generator).split(_BATCH)
    with torch.no_grad():
        parts = [ensemble(mixer.batch(r).x)[1].transpose(0, 1).flatten(1) for r in rows]
    features = torch.cat(parts).double().numpy()
    centre = features.mean(0)
    values, vectors = np.linalg.eigh(np.cov(features.T))
    floor = 1e-3 * values.max()
    return centre.astype(np.float32), (vectors / np.sqrt(np.maximum(values, floor))).astype(np.float32)


def _checkpoint(work: Path, settings: TrainSettings, state: dict[str, Any], epoch: int) -> None:
    saved = {k: state[k].state_dict() for k in ("ensemble", "optimiser", "schedule")}
    saved |= {"mixer": state["mixer"].state(), "epoch": epoch, "settings": asdict(settings)}
    torch.save(saved, work / "checkpoint.part")
    (work / "checkpoint.part").replace(work / "checkpoint.pt")


def _restore(work: Path, settings: TrainSettings, state: dict[str, Any]) -> int:
    """Take up the checkpoint; a missing one, or one of other settings, means starting anew."""
    file = work / "checkpoint.pt"
    if not file.is_file():
        return 0
    saved = torch.load(file, weights_only=True)
    if saved["settings"] != asdict(settings):
        return 0
    for k in ("ensemble", "optimiser", "schedule"):
        state[k].load_state_dict(saved[k])
    state["mixer"].restore(saved["mixer"])
    return int(saved["epoch"])


def _progress(what: str, done: int, total: int, seconds: float, note: str = "") -> None:
    """A bar on a terminal, a line now and then elsewhere."""
    tty = sys.stderr.isatty()
    if not tty and done != total and done % max(1, total // 10):
        return
    bar = "#" * round(30 * done / total)
    left = seconds / done * (total - done)
    text = f"{what:9s} [{bar:30s}] {done}/{total}  {seconds:.0f} s, {left:.0f} s left  {note}"
    print(
        f"\r{text:100s}" if tty else text,
        end="\n" if done == total or not tty else "",
        file=sys.stderr,
        flush=True,
    )


if __name__ == "__main__":
    raise SystemExit(main())
