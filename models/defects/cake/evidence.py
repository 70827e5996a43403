"""Figures of a cake network on held-out simulations, what it must notice, and the words of its report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.defects.cake.detector import seen_by_detectors
from streamproc.models.defects.cake.heights import AZIMUTHS
from streamproc.models.defects.cake.library import CakeSystem, draw_cake
from streamproc.models.defects.cake.ranges import CAKE_TARGETS, draw_scene
from streamproc.models.defects.cake.statistics import Statistics
from streamproc.models.defects.network.evidence import Said
from streamproc.models.defects.network.scores import auroc
from streamproc.models.report.parts import Words

from streamproc.inference.card import ModelCard

__all__ = ["foreign_cakes", "said_of_cakes", "scored_cakes"]

Array = npt.NDArray[Any]

_TEXTURED = 0.2
_FEW_SPOTS = 1e4
_SPOTTY = 0.01
_CANNOT = (
    "Textures are fibres of March's form about 111, 110 or 100; rolled sheet has no such axis.",
    "With many more grains than the training had (the card's spots) all rings look alike.",
    "Grains per volume need the acceptance of the experiment; what is read are spots on the first ring.",
    "Unevenness of two periods over the circle that all rings share looks like texture.",
)


def said_of_cakes(card: ModelCard) -> Said:
    """Return the words about a model for cakes."""
    purpose = (
        f"Texture strength and grain statistics of {card.reference['material']} from rings over azimuth, "
        "each with a 90 % interval, or the word that the rings are unlike those of the training."
    )
    units = dict(zip(CAKE_TARGETS, ("1", "ln(1)", "ln(number)"), strict=True))
    return Said(purpose, _CANNOT, units, Words("quantity", "quantities", "cake", "cakes", "uneven detectors"))


def foreign_cakes(system: CakeSystem, n: int, seed: int) -> Statistics:
    """Return cakes that must be noticed: a third of the circle sees half, or the centre is misplaced."""
    cakes, sines, turn = [], [], np.arange(AZIMUTHS) * 2 * np.pi / AZIMUTHS
    for row in range(n):
        rng = np.random.default_rng([seed, row])
        scene = draw_scene(rng, system.ranges)
        at = rng.uniform(0, 2 * np.pi)
        shadow = np.where((turn - at) % (2 * np.pi) < 2 * np.pi / 3, 0.5, 1.0)
        uneven = shadow if row % 2 else 1 + rng.uniform(0.15, 0.4) * np.cos(turn - at)
        cakes.append(draw_cake(rng, system.rings, scene) * uneven)
        sines.append(scene.sine)
    rng = np.random.default_rng([seed, n])
    return seen_by_detectors(rng, np.array(cakes), np.array(sines), system.rings, system.ranges)


def scored_cakes(outputs: Mapping[str, Array], truth: Array, card: ModelCard) -> dict[str, Any]:
    """Return errors, coverage of the 90 % intervals, and what the estimates tell apart.

    Parameters
    ----------
    outputs : mapping of str to ndarray
        What the graph says, batch first.
    truth : ndarray, shape (n, k)
        Targets.
    card : ModelCard
        With its calibration.
    """
    names, values = card.labels, outputs["values"]
    q90 = np.array([card.calibration.q90[n] for n in names])
    error = np.abs(values - truth)
    covered = (error <= q90 * (outputs["scale"] + outputs["spread"])).mean(0)
    texture, scatter, spots = (names.index(n) for n in CAKE_TARGETS)
    either = (truth[:, texture] == 0) | (truth[:, texture] > _TEXTURED)
    few, spotty = truth[:, spots] < np.log(_FEW_SPOTS), truth[:, scatter] > np.log(_SPOTTY)

    def rounded(numbers: Array) -> dict[str, float]:
        return {n: round(float(v), 4) for n, v in zip(names, numbers, strict=True)}

    return {
        "cakes": len(truth),
        "mean_error": rounded(error.mean(0)),
        "error_68": rounded(np.quantile(error, 0.68, axis=0)),
        "coverage_90": rounded(covered),
        "texture_auroc": round(auroc(values[either, texture], truth[either, texture] > 0), 4),
        "spots_factor_68": round(float(np.exp(np.quantile(error[few, spots], 0.68))), 3),
        "spottiness_factor_68": round(float(np.exp(np.quantile(error[spotty, scatter], 0.68))), 3),
    }
