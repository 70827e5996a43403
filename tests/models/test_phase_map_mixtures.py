"""Mixtures for training: absorption contrast between the phases of a powder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from streamproc.models.phase_map.library import Library, build_library
from streamproc.models.phase_map.mixtures import Mixer, MixSettings
from streamproc.models.phase_qpa.system import four_phases
from streamproc.models.powder.optics import brindley_tau

PURE = MixSettings(0.0, 0.0, 0.0, 0.0, 0.0, cut_share=0.0, hole_share=0.0, contrast=0.0)


@pytest.fixture(scope="module")
def library() -> Library:
    return build_library(four_phases(), 8, seed=5)


def areas(library: Library, seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Chosen phases, weights and absorption factors of many mixtures."""
    mixer = Mixer(library, seed, PURE)
    chosen, weights = mixer._composition(4000)
    return chosen.numpy(), weights.numpy(), mixer._tau(chosen, weights).numpy()


def test_absorption_of_the_phases_is_that_of_the_tables(library: Library) -> None:
    labels = four_phases().labels
    zincite, corundum = labels.index("zincite"), labels.index("corundum")
    # Cu K-alpha: about 280 and 125 per cm (International Tables C, 4.2.4: 50 and 31.5 square cm per g)
    assert library.absorption_per_um[zincite] == pytest.approx(0.0275, rel=0.06)
    assert library.absorption_per_um[corundum] == pytest.approx(0.0125, rel=0.06)


def test_what_absorbs_more_than_the_mixture_shows_less_of_itself(library: Library) -> None:
    chosen, weights, tau = areas(library)
    own = library.absorption_per_um[chosen]
    volume = weights / library.density_g_cm3[chosen]
    mean = (volume * own).sum(1, keepdims=True) / volume.sum(1, keepdims=True)
    there = weights > 0
    assert (tau[there & (own > mean + 1e-6)] < 1).all() and (tau[there & (own < mean - 1e-6)] > 1).all()
    low, high = library.particle_um
    bounds = [[brindley_tau(float(c * r)) for c in (own - mean)[there][:50]] for r in (low, high)]
    smallest, largest = np.min(bounds, 0), np.max(bounds, 0)
    assert (tau[there][:50] >= smallest - 1e-3).all() and (tau[there][:50] <= largest + 1e-3).all()


def test_a_phase_alone_and_particles_without_size_have_no_contrast(library: Library) -> None:
    _, weights, tau = areas(library)
    alone = weights.max(1) > 0.999999
    assert alone.any()
    assert tau[alone][weights[alone] > 0] == pytest.approx(1.0, abs=1e-5)
    tiny = replace(library, particle_um=np.array([1e-6, 1e-6]))
    assert areas(tiny)[2] == pytest.approx(1.0, abs=1e-5)
