"""Training of the cake network: the same trunk, loss, calibration and report as for patterns."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from streamproc.models.defects.cake.evidence import foreign_cakes, said_of_cakes, scored_cakes
from streamproc.models.defects.cake.library import CakeLibrary, CakeSystem, build_cakes
from streamproc.models.defects.cake.pair import CAKE_FOLDER, ODD, cake_card, declare_pair
from streamproc.models.defects.cake.ranges import CAKE_TARGETS
from streamproc.models.defects.cake.statistics import points_of
from streamproc.models.defects.network.evidence import evidence_of
from streamproc.models.defects.network.graph import DefectEnsemble, output_heads, to_onnx
from streamproc.models.defects.network.train import TrainSettings, bar, fit
from streamproc.models.defects.network.writing import calibrated, write_version
from streamproc.models.networks.conformal import OnnxRunner

__all__ = ["CAKE_SETTINGS", "quick_settings", "train_cake"]

CAKE_SETTINGS = TrainSettings(library=40_000, steps=5000, members=4, hidden=128, features=32, hold_out=4000)
"""Rows are what four detectors see of a sample, so ten thousand samples."""

_UNITS = "1; ln(1); ln(number)"


class _Drawn:
    """Rows of a library as they are."""

    def __init__(self, library: CakeLibrary, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self._x, self._targets = torch.from_numpy(library.x), torch.from_numpy(library.targets)

    def batch(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return statistics (b, points) and targets (b, k)."""
        return self._x[rows], self._targets[rows]


def train_cake(
    system: CakeSystem, out: Path, settings: TrainSettings, *, name: str, source: str, command: str = ""
) -> None:
    """Train, calibrate and write ``out/cake``; declare it in the card of ``out/model.onnx`` if that is there.

    Parameters
    ----------
    system : CakeSystem
        What to train for.
    out : Path
        Version folder of the pair.
    settings : TrainSettings
        How; ``library`` and ``hold_out`` count rows of four to a sample.
    name : str
        Name of the pair's model of patterns.
    source, command : str
        Where the structure comes from; the command line that makes the same model again.
    """
    began = time.monotonic()
    torch.set_num_threads(settings.threads)
    library = build_cakes(system, settings.library, settings.seed, bar("cakes", settings.library))
    torch.manual_seed(settings.seed)
    ensemble = DefectEnsemble(
        points_of(len(system.rings.hkl)), settings.hidden, settings.features, settings.members,
        len(CAKE_TARGETS), gain=1.0, offset=0.0,
    )  # fmt: skip
    targets = torch.from_numpy(library.targets)
    units = (targets.mean(0), targets.std(0).clamp(min=1e-6))
    spans = fit(lambda seed: _Drawn(library, seed), len(library), ensemble, units, settings)
    heads = output_heads(CAKE_TARGETS, _UNITS)
    data = to_onnx(ensemble, spans, heads, "cakes")
    run = OnnxRunner(data)
    first, second = (_held_out(system, settings, part) for part in (1000, 2000))
    known, answers = run(first.x), run(second.x)
    calibration = calibrated(known, first.targets, CAKE_TARGETS)
    odd = {ODD: float(np.round(np.quantile(first.odd, 0.99), 4))}
    calibration = calibration.model_copy(update={"limits": calibration.limits | odd})
    told: dict[str, Any] = asdict(settings) | {"data_sha256": library.sha256(), "command": command}
    card = cake_card(f"{name}_cake", out.name, data, system, heads, calibration, told, source)
    foreign = foreign_cakes(system, max(settings.hold_out // 10, 20), settings.seed + 3000)
    signals = {"distance": (answers["distance"], run(foreign.x)["distance"]), ODD: (second.odd, foreign.odd)}
    figures = scored_cakes(answers, second.targets, card)
    beyond = [values[1] > calibration.limits[n] for n, values in signals.items()]
    figures["uneven_detectors_noticed"] = round(float(np.any(beyond, 0).mean()), 3)
    took = card.training | {"duration_s": round(time.monotonic() - began)}
    card = card.model_copy(update={"scores": figures, "training": took})
    evidence = evidence_of(card, said_of_cakes(card), answers, second.targets, signals, command)
    write_version(out / CAKE_FOLDER, data, card, first.x, evidence)
    declare_pair(out)


def _held_out(system: CakeSystem, settings: TrainSettings, part: int) -> CakeLibrary:
    """Cakes of their own library."""
    show = bar("calibration", settings.hold_out)
    return build_cakes(system, settings.hold_out, settings.seed + part, show)


def quick_settings(settings: TrainSettings) -> TrainSettings:
    """Return those of a tiny model, for tests of the whole way."""
    return replace(settings, library=400, steps=60, members=2, hidden=32, features=16, hold_out=200)
