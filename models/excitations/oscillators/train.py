"""Train the network for spectra and write a version folder with model, golden vectors and report."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from streamproc.models.excitations.oscillators.case import SpectrumCase
from streamproc.models.excitations.oscillators.instruments import Library, build_library
from streamproc.models.excitations.oscillators.mixtures import Mixer, Strengths
from streamproc.models.excitations.oscillators.network import Network, loss_of, parts, targets_of
from streamproc.models.excitations.oscillators.slots import CENTRES, first_slot
from streamproc.models.networks.course import Course, progress_line
from threadpoolctl import threadpool_limits

__all__ = ["TrainSettings", "fit_network", "train"]

_BATCH = 256
_POINTS = 20
"""Points of the learning curve."""


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """What determines a model, besides the code.

    Attributes
    ----------
    seed : int
        Seed of everything.
    spectrometers : int
        Axes with resolution and temperature, ten oscillators each.
    steps : int
        Batches of 256 spectra, each mixed anew.
    members, hidden, features : int
        Ensemble members, hidden width, width of the last layer.
    hold_out : int
        Spectra for calibration, and a quarter as many others for the scores.
    threads : int
        Threads torch may use.
    """

    seed: int = 1
    spectrometers: int = 4000
    steps: int = 4500
    members: int = 3
    hidden: int = 256
    features: int = 64
    hold_out: int = 2400
    threads: int = 2

    def quick(self) -> TrainSettings:
        """A tiny model, for tests of the whole way."""
        return replace(self, spectrometers=40, steps=30, members=2, hidden=32, features=12, hold_out=60)


def train(
    case: SpectrumCase, out: Path, settings: TrainSettings, *, resume: bool = False, command: str = ""
) -> None:
    """Train, calibrate and write ``out/model.onnx``, ``out/golden.npz`` and the report.

    Parameters
    ----------
    case : SpectrumCase
        What spectra to train for.
    out : Path
        Version folder; its name is the version. A folder ``training`` inside holds the weights meanwhile.
    settings : TrainSettings
        How.
    resume : bool
        Take the weights that a training of the same settings left there, if it was stopped after them.
    command : str
        Command line that makes the same model again.
    """
    from streamproc.models.excitations.oscillators.release import release

    began = time.monotonic()
    torch.set_num_threads(settings.threads)
    threadpool_limits(1, "blas")
    work = out / "training"
    work.mkdir(parents=True, exist_ok=True)
    library = build_library(settings.spectrometers, settings.seed, case.priors, _progress(settings))
    kept = _kept(work, case, settings) if resume else None
    network, course = kept or fit_network(library, settings, case.strengths)
    _keep(work, case, settings, network, course)
    release(
        out, network, library, course, case=case, settings=asdict(settings), began_s=began, command=command,
        progress=progress_line,
    )  # fmt: skip
    shutil.rmtree(work)


def _progress(settings: TrainSettings) -> Callable[[int], None]:
    began = time.monotonic()
    return lambda done: progress_line("library", done, settings.spectrometers, time.monotonic() - began)


def _decisive(case: SpectrumCase, settings: TrainSettings) -> str:
    """What determines the weights; how they are judged does not."""
    return repr((case, replace(settings, hold_out=0, threads=0)))


def _keep(work: Path, case: SpectrumCase, settings: TrainSettings, network: Network, course: Course) -> None:
    kept = {"weights": network.state_dict(), "course": asdict(course), "of": _decisive(case, settings)}
    torch.save(kept, work / "weights.part")
    (work / "weights.part").replace(work / "weights.pt")


def _kept(work: Path, case: SpectrumCase, settings: TrainSettings) -> tuple[Network, Course] | None:
    file = work / "weights.pt"
    if not file.is_file():
        return None
    kept = torch.load(file, weights_only=True)
    if kept["of"] != _decisive(case, settings):
        return None
    network = Network(settings.hidden, settings.features, settings.members)
    network.load_state_dict(kept["weights"])
    return network, Course(**kept["course"])


def fit_network(
    library: Library, settings: TrainSettings, strengths: Strengths | None = None
) -> tuple[Network, Course]:
    """Optimise with AdamW and one cycle of the learning rate; the same seed gives the same weights."""
    torch.manual_seed(settings.seed)
    network = Network(settings.hidden, settings.features, settings.members)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 3e-3, total_steps=settings.steps, pct_start=0.15
    )
    mixer, course, began = Mixer(library, settings.seed, strengths), Course(), time.monotonic()
    every, total = -(-settings.steps // _POINTS), 0.0
    for step in range(1, settings.steps + 1):
        batch = mixer.batch(_BATCH)
        heads, _ = network(torch.from_numpy(batch.x))
        loss = loss_of(heads, targets_of(batch, library))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        total += float(loss.detach())
        if step % every == 0 or step == settings.steps:
            number, energy = _scores(network, library, settings.seed, strengths)
            course.step.append(step)
            course.training.append(total / (step - (course.step[-2] if len(course.step) > 1 else 0)))
            course.simulated.append(energy)
            said = f"loss {course.training[-1]:.3f}, number right {number:.3f}, energy off {energy:.2f} fwhm"
            progress_line("training", step, settings.steps, time.monotonic() - began, said)
            total = 0.0
    return network, course


def _scores(
    network: Network, library: Library, seed: int, strengths: Strengths | None
) -> tuple[float, float]:
    """Share of right numbers; median error of energies (resolution widths) over fresh spectra."""
    batch = Mixer(library, seed + 50, strengths).batch(4 * _BATCH)
    with torch.no_grad():
        number, position, _, _ = parts(network(torch.from_numpy(batch.x))[0])
        where = (torch.softmax(position, -1) @ torch.as_tensor(CENTRES, dtype=torch.float32)).mean(0).numpy()
        chosen = torch.softmax(number, -1).mean(0).argmax(-1).numpy()
    top, off = library.energy[batch.row, library.points[batch.row] - 1], []
    for k in np.flatnonzero(batch.number):
        first, n = first_slot(int(batch.number[k])), int(batch.number[k])
        off += list(np.abs(where[k, first : first + n] * top[k] - batch.modes[k, :n, 0]))
    return float((chosen == batch.number).mean()), float(np.median(off))
