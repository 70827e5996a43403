"""The declared pair: a model of patterns, and in its version folder one of cakes that its card names."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from streamproc.models.defects.cake.library import CakeSystem
from streamproc.models.defects.cake.statistics import COHERENT, LAGS, QUANTILES, WAVES, points_of

from streamproc.errors import ConfigurationError
from streamproc.inference.card import CARD_KEY, Axis, Calibration, ModelCard, OutputHead
from streamproc.inference.onnxfile import inspect_onnx, replace_metadata

__all__ = ["CAKE_FOLDER", "ODD", "PHYSICS_VERSION", "TASK", "cake_card", "cake_file", "declare_pair"]

CAKE_FOLDER = "cake"
TASK = "cake-estimates"
ODD = "odd_wave"
"""Name of the limit on what rings share on one side only."""

PHYSICS_VERSION = "1"
"""Raised whenever physics or priors change."""


def cake_card(
    name: str, version_name: str, data: bytes, system: CakeSystem, heads: tuple[OutputHead, ...],
    calibration: Calibration, settings: dict[str, Any], source: str,
) -> ModelCard:  # fmt: skip
    """Return the card of a cake model, without scores."""
    info, rings = inspect_onnx(data), system.rings
    points = points_of(len(rings.hkl))
    domain: dict[str, Any] = asdict(system.ranges)
    return ModelCard(
        name=name,
        version=version_name,
        task=TASK,
        input_name="x",
        axis=Axis(kind="ring_statistics", start=0, stop=points - 1, n=points),
        normalisation="ring_statistics",
        outputs=heads,
        labels=tuple(heads[0].meaning.split(", ")),
        valid_domain=domain,
        calibration=calibration,
        reference={
            **rings.told(),
            "lags": list(LAGS),
            "quantiles": list(QUANTILES),
            "waves": list(WAVES),
            "coherent": list(COHERENT),
            "texture": "root mean square departure of the fibre axis' density from random, sqrt(J - 1)",
            "spottiness": "relative standard deviation of the first ring's intensity by its number of grains",
            "spots": "grains that diffract into the first ring, on average and without texture",
        },
        opset=info.opset,
        weights_sha256=info.content_sha256,
        training=settings
        | {
            "physics_version": PHYSICS_VERSION,
            "code_version": version("streamproc"),
            "sources": {rings.material: source},
            "limits": "99 % quantile of the distance on held-out simulations",
        },
        scores={},
        licence="BSD-3-Clause",
    )


def declare_pair(out: Path) -> None:
    """Name ``out/cake/model.onnx`` and its hash in the card of ``out/model.onnx``, where both are there."""
    pattern, cake = out / "model.onnx", out / CAKE_FOLDER / "model.onnx"
    if not (pattern.is_file() and cake.is_file()):
        return
    data = pattern.read_bytes()
    card = ModelCard.from_json(inspect_onnx(data).metadata[CARD_KEY], file=str(pattern))
    declared = {"file": f"{CAKE_FOLDER}/model.onnx", "sha256": hashlib.sha256(cake.read_bytes()).hexdigest()}
    card = card.model_copy(update={"reference": {**card.reference, "cake": declared}})
    pattern.write_bytes(replace_metadata(data, {CARD_KEY: card.to_json()}))


def cake_file(card: ModelCard, pattern: Path) -> Path | None:
    """Return the file of the cake model that a card declares; None where it declares none.

    Raises
    ------
    ConfigurationError
        When the file is not there or is not the one the card was written for.
    """
    declared = card.reference.get("cake")
    if declared is None:
        return None
    path = pattern.parent / str(declared["file"])
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigurationError(
            f"{pattern}: its card declares {path}, which cannot be read: {error.strerror}"
        ) from error
    if found != declared["sha256"]:
        raise ConfigurationError(
            f"{path}: is not the model that the card of {pattern} declares (hash {found[:12]}, card says "
            f"{str(declared['sha256'])[:12]}); both halves of a pair belong to one training"
        )
    return path
