"""Unexplained patterns: what is left over, and the clusters of a run, in order, bounded, across snapshots."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest
from streamproc.models.powder.clusters import ClusterAxis, likeness
from streamproc.models.powder.simulate import Grain, Instrument, bin_edges, render_phase
from streamproc.models.powder.tables import CU_KA1_A, CU_KA2_A, phase_table
from streamproc.models.powder.unexplained import UnexplainedClusters, hint_for, unexplained

from streamproc.errors import FrameFailed

pytest.importorskip("gemmi", reason="reflection tables need gemmi (extra demo or train)")

X = np.arange(18, 85, 0.03)
KNOWN = "corundum"
STRANGERS = ("rutile", "silicon", "halite")


@pytest.fixture(scope="module")
def drawn() -> dict[str, np.ndarray]:
    def one(name: str, scale: float = 1.0) -> np.ndarray:
        table = phase_table(name, CU_KA1_A)
        shape = render_phase(bin_edges(X), table, Instrument(), Grain(cell_scale=(scale, scale, scale)))
        return shape / shape.max()

    names = {name: one(name) for name in (KNOWN, *STRANGERS)}
    return names | {f"{name} {s}": one(name, 1 + s / 1000) for name in STRANGERS for s in (-4, 4)}


def point(drawn: dict, name: str | None, seed: int, height: float = 1200.0):
    known = 2000 * drawn[KNOWN] + 100
    clean = known + (height * drawn[name] if name else 0)
    counts = np.random.default_rng(seed).poisson(clean).astype(float)
    return unexplained(X, counts, known)


def run(drawn: dict, names: list[str | None], clusters: UnexplainedClusters, first: int = 1) -> list[bool]:
    changed = []
    for i, name in enumerate(names, first):
        left = point(drawn, name, i)
        readings = {"x": float(i), "label": "text", "broken": float("nan"), "on": True}
        changed.append(clusters.update(i, X, left.residual, left.variance, readings))
    return changed


def new(**more) -> UnexplainedClusters:
    return UnexplainedClusters(CU_KA1_A, CU_KA2_A, **more)


def test_what_is_left_over_is_measured_less_calculated_with_its_variance() -> None:
    x = np.linspace(10, 20, 200)
    model = 50 + 1000 * np.exp(-(((x - 15) / 0.2) ** 2))
    left = unexplained(x, model + 7, model)
    assert left.residual == pytest.approx(np.full(200, 7.0))
    top = int(np.argmax(model))
    assert left.variance[0] == pytest.approx(57, rel=0.01), "counting statistics where nothing was calculated"
    assert left.variance[top] > model[top] + (0.04 * 1000) ** 2, "and the model's error where there was"


def test_explained_points_change_nothing(drawn) -> None:
    clusters = new()
    assert run(drawn, [None] * 12, clusters) == [False] * 12
    assert clusters.clusters() == []


def test_each_stranger_has_its_cluster_whatever_its_strain(drawn) -> None:
    names = [
        "rutile",
        "silicon 4",
        "halite -4",
        "rutile 4",
        "silicon",
        "halite",
        "rutile -4",
        None,
        "halite 4",
    ]
    clusters = new()
    assert run(drawn, names, clusters) == [n is not None for n in names]
    found = clusters.clusters()
    assert [c.points for c in found] == [3, 2, 3]
    assert [(c.first_seq_num, c.last_seq_num) for c in found] == [(1, 7), (2, 5), (3, 9)]


def test_a_cluster_says_where_it_was_seen_and_its_strongest_lines(drawn) -> None:
    clusters = new()
    run(drawn, ["halite", None, "halite", "halite"], clusters)
    (found,) = clusters.clusters()
    assert set(found.where) == {"x"}
    assert (found.where["x"]["min"], found.where["x"]["max"]) == (1, 4)
    assert 1 < found.where["x"]["centroid"] < 4
    # halite a = 5.6402: (200), (220), (222)
    spacings = [5.6402 / np.sqrt(n) for n in (4, 8, 12)]
    strongest = [line.d_A for line in found.lines[:3]]
    assert sorted(strongest, reverse=True) == pytest.approx(spacings, rel=1e-3)
    assert found.lines[0].relative_area == 1.0


def test_the_mean_of_a_cluster_has_better_statistics(drawn) -> None:
    one, many = new(), new()
    run(drawn, ["halite"], one)
    run(drawn, ["halite"] * 16, many)
    spread = [float(np.median(c.clusters()[0].variance)) for c in (one, many)]
    assert spread[1] == pytest.approx(spread[0] / 16, rel=0.2)
    noise = [float(np.std(np.diff(c.clusters()[0].residual[-300:]))) for c in (one, many)]
    assert noise[1] < 0.4 * noise[0]


def test_a_snapshot_goes_through_msgpack_and_the_run_goes_on_as_if_nothing_was(drawn) -> None:
    names = ["rutile", "silicon 4", None, "rutile 4", "halite", "silicon -4", "rutile"]
    whole = new()
    run(drawn, names, whole)
    before = new()
    run(drawn, names[:4], before)
    after = new()
    after.restore(msgpack.unpackb(msgpack.packb(before.snapshot())))
    run(drawn, names[4:], after, first=5)
    assert after.snapshot() == whole.snapshot()


def test_an_empty_snapshot_can_be_restored() -> None:
    clusters = new()
    clusters.restore(msgpack.unpackb(msgpack.packb(new().snapshot())))
    assert clusters.clusters() == []


def test_the_number_of_clusters_is_bounded_and_the_rest_is_counted(drawn) -> None:
    clusters = new(most=2)
    assert run(drawn, ["rutile", "silicon", "halite", "rutile", "halite"], clusters) == [
        True,
        True,
        False,
        True,
        False,
    ]
    assert len(clusters.clusters()) == 2
    assert clusters.unassigned == 2


def test_likeness_does_not_depend_on_scale_stretch_or_noise(drawn) -> None:
    axis = ClusterAxis(X)
    flat = np.ones(X.size)
    rutile = axis.picture(drawn["rutile"], 1e-6 * flat)
    stretched = axis.picture(7 * drawn["rutile 4"], 1e-6 * flat)
    score, steps = likeness(rutile, stretched)
    assert score > 0.95
    assert steps * 0.0008 == pytest.approx(0.004, abs=0.0009), "the stretch of 0.4 %, towards higher q"
    assert likeness(rutile, axis.picture(drawn["halite"], 1e-6 * flat))[0] < 0.3
    rng = np.random.default_rng(0)
    noisy = axis.picture(drawn["rutile"] + 0.05 * rng.standard_normal(X.size), 0.05**2 * flat)
    assert likeness(rutile, noisy)[0] > 0.85


def test_the_hint_of_a_cluster_is_its_crystal(drawn) -> None:
    clusters = new()
    run(drawn, ["silicon"] * 6, clusters)
    hint = hint_for(clusters.clusters()[0], CU_KA1_A, 20, CU_KA2_A)
    assert hint is not None
    assert max(hint.systems, key=lambda s: hint.systems[s]) == "cubic"
    assert hint.best.centring == "F"
    assert hint.best.cell[0] == pytest.approx(5.4311, rel=1e-3)


def test_a_cluster_of_a_few_lines_has_no_hint() -> None:
    peaks = sum(400 * np.exp(-(((X - c) / 0.1) ** 2)) for c in (31.0, 47.3))
    counts = np.random.default_rng(0).poisson(100 + peaks).astype(float)
    clusters = new()
    assert clusters.update(1, X, counts - 100, np.maximum(counts, 1), {})
    assert hint_for(clusters.clusters()[0], CU_KA1_A, 5) is None


@pytest.mark.parametrize("wrong", ["short", "nan", "falling"])
def test_what_is_no_pattern_is_refused_and_the_run_goes_on(drawn, wrong: str) -> None:
    clusters = new()
    run(drawn, ["halite"], clusters)
    state = clusters.snapshot()
    y = np.zeros(X.size)
    axis, residual = {"short": (X, y[:-1]), "nan": (X, y * np.nan), "falling": (X[::-1], y)}[wrong]
    with pytest.raises(FrameFailed):
        clusters.update(2, axis, residual, np.ones(residual.size), {})
    assert clusters.snapshot() == state


def test_another_axis_within_a_run_is_brought_to_the_first(drawn) -> None:
    clusters = new()
    run(drawn, ["halite"], clusters)
    left = point(drawn, "halite", 2)
    keep = slice(100, -100)
    assert clusters.update(2, X[keep], left.residual[keep], left.variance[keep], {})
    assert [c.points for c in clusters.clusters()] == [2]
