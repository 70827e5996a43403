"""Refinements: simulated truth comes back with honest deviations, on any axis, in every crystal system."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("gemmi", reason="reflection tables need gemmi (extra demo or train)")

from streamproc.models.powder.fit import (
    FIXED,
    FREE,
    FitState,
    Pattern,
    Prior,
    ProfileFitter,
    Refined,
    doublet,
    pattern_of,
    phases_of,
    quick_settings,
    reference_of,
    refine_settings,
    screen,
    select,
    single_line,
    sticks_of,
)
from streamproc.models.powder.fit.data import thinned
from streamproc.models.powder.simulate import (
    CU_KA1_A,
    CU_KA2_A,
    Grain,
    Instrument,
    phase_table,
    render_pattern,
)
from streamproc.models.powder.structures import Site, Structure, structures
from streamproc.models.powder.tables import PhaseTable, table_of

from streamproc.errors import ConfigurationError, FrameFailed

AXIS = np.arange(18.0, 120.0, 0.03)
INSTRUMENT = Instrument(
    u_deg2=0.006, v_deg2=-0.004, w_deg2=0.006, lorentz_x_deg=0.0, asymmetry_deg=0.0, zero_deg=0.012,
    displacement_mm=0.04, polarisation=0.8,
)  # fmt: skip

TRICLINIC = Structure(
    "triclinic", "P -1", (5.1, 5.9, 7.3, 81.0, 97.0, 105.0),
    (Site("Ca", 0.1, 0.2, 0.3), Site("O", 0.4, 0.7, 0.15), Site("S", 0.8, 0.35, 0.62)), 0.6, (0, 0, 1), "made up",
)  # fmt: skip
RHOMBOHEDRAL = Structure(
    "rhombohedral", "R -3 m:R", (5.3, 5.3, 5.3, 58.0, 58.0, 58.0), (Site("Bi", 0.234, 0.234, 0.234),), 0.7,
    (1, 1, 1), "made up",
)  # fmt: skip


@pytest.fixture(scope="module")
def tables() -> dict[str, PhaseTable]:
    names = ("corundum", "zincite", "fluorite", "rutile", "forsterite", "baddeleyite", "silicon", "quartz")
    found = {name: phase_table(name, CU_KA1_A) for name in names}
    return found | {s.name: table_of(s, CU_KA1_A) for s in (TRICLINIC, RHOMBOHEDRAL)}


def refiner(tables: dict, names, settings=None) -> ProfileFitter:
    phases = phases_of(reference_of({n: tables[n] for n in names}, CU_KA1_A, CU_KA2_A))
    if settings is None:
        settings = refine_settings(doublet(CU_KA1_A, CU_KA2_A), polarisation=0.8)
        # the simulator's lines are symmetric here
        settings = settings.changed({"axial": Prior(0.0, FIXED)})
    return ProfileFitter(phases, settings)


def counts(tables: dict, shares: dict, seed: int = 0, axis=AXIS, instrument=INSTRUMENT, **more) -> np.ndarray:
    options = {"peak_counts": 8000, "background": 0.03, "tables": tables} | more
    return render_pattern(axis, shares, instrument, np.random.default_rng(seed), **options)


def test_pulls_of_simulated_mixtures_are_standard_normal(tables) -> None:
    shares = {"corundum": 0.45, "zincite": 0.25, "fluorite": 0.3}
    grains = {
        "corundum": Grain(size_nm=70, strain=3e-4, cell_scale=(1.0008, 1.0008, 0.9994), march_r=0.9),
        "zincite": Grain(size_nm=120, strain=5e-4, cell_scale=(0.9993, 0.9993, 1.0005)),
        "fluorite": Grain(size_nm=90, strain=2e-4, cell_scale=(1.001,) * 3, delta_b_A2=0.1),
    }
    # without priors, so that the deviations are the data's alone
    base = refine_settings(doublet(CU_KA1_A, CU_KA2_A), polarisation=0.8)
    loose = {n: replace(p, sigma=FREE) for n, p in base.priors.items() if p.sigma > 0}
    fitter = refiner(tables, shares, base.changed(loose | {"axial": Prior(0.0, FIXED)}))
    pulls: dict[str, list[float]] = {"fraction": [], "strain": [], "size": [], "texture": []}
    for seed in range(12):
        fit = fitter.fit(pattern_of(AXIS, counts(tables, shares, seed, grains=grains)))
        assert fit.converged and 0.85 < fit.chi2_reduced < 1.15
        for name, share in shares.items():
            found, grain = fit.phases[name], grains[name]
            pulls["fraction"].append((found.fraction.value - share) / found.fraction.esd)
            truth = {"a": grain.cell_scale[0] - 1, "c": grain.cell_scale[2] - 1}
            pulls["strain"] += [(v.value - truth[axis]) / v.esd for axis, v in found.axis_strain.items()]
            if np.isfinite(found.size_nm.value):
                pulls["size"].append(
                    (1 / found.size_nm.value - 1 / grain.size_nm) * found.size_nm.value**2 / found.size_nm.esd
                )
            if name != "fluorite":
                pulls["texture"].append((found.march_r.value - grain.march_r) / found.march_r.esd)
    for what, values in pulls.items():
        assert len(values) >= 24, what
        # members of a fit are correlated: 12 independent patterns, so the spread of the mean is about 0.3
        assert abs(np.mean(values)) < 0.8, (what, np.mean(values))
        assert 0.6 < np.std(values) < 1.5, (what, np.std(values))
        assert np.abs(values).max() < 4.5, what


@pytest.mark.parametrize(
    ("name", "free"),
    [
        ("silicon", ("a",)), ("rutile", ("a", "c")), ("quartz", ("a", "c")), ("corundum", ("a", "c")),
        ("rhombohedral", ("a", "alpha")), ("forsterite", ("a", "b", "c")), ("baddeleyite", ("a", "b", "c", "beta")),
        ("triclinic", ("a", "b", "c", "alpha", "beta", "gamma")),
    ],
)  # fmt: skip
def test_a_strained_cell_of_every_crystal_system_comes_back(tables, name, free) -> None:
    table = tables[name]
    cell = table.cell.copy()
    stretch = np.array([1.0015, 0.9988, 1.0021])
    if "b" not in free:
        stretch[1] = stretch[0]
    if "c" not in free:
        stretch[:] = stretch[0]
    cell[:3] *= stretch
    for k, angle in enumerate(("alpha", "beta", "gamma")):
        if angle in free:
            cell[3 + k] += 0.12 * (1 - k)
    if free == ("a", "alpha"):
        cell[3:] = table.cell[3:] + 0.1
    strained = replace(table, cell=cell, d_A=spacings(table.hkl, cell))
    y = counts({name: strained}, {name: 1.0})
    fit = refiner(tables, [name]).fit(pattern_of(AXIS, y))
    phase = fit.phases[name]
    assert tuple(phase.axis_strain) == free
    assert fit.converged and fit.chi2_reduced < 1.25
    esd = np.maximum(phase.cell_esd, 1e-9)
    assert np.abs((phase.cell - cell) / esd)[esd > 1e-8].max() < 4.5
    assert (np.abs(phase.cell_esd[:3]) < 2e-3).all()
    assert phase.volume_A3.value == pytest.approx(volume(cell), abs=5 * phase.volume_A3.esd)
    linear = (volume(cell) / volume(table.cell)) ** (1 / 3) - 1
    assert phase.strain.value == pytest.approx(linear, abs=5 * phase.strain.esd)


def metric(cell: np.ndarray) -> np.ndarray:
    a, b, c = cell[:3]
    ca, cb, cg = np.cos(np.deg2rad(cell[3:]))
    return np.array(
        [[a * a, a * b * cg, a * c * cb], [a * b * cg, b * b, b * c * ca], [a * c * cb, b * c * ca, c * c]]
    )


def volume(cell: np.ndarray) -> float:
    return float(np.sqrt(np.linalg.det(metric(cell))))


def spacings(hkl: np.ndarray, cell: np.ndarray) -> np.ndarray:
    return 1 / np.sqrt(np.einsum("ni,ij,nj->n", hkl, np.linalg.inv(metric(cell)), hkl))


@pytest.fixture(scope="module")
def mixture(tables) -> tuple[ProfileFitter, np.ndarray, Refined]:
    shares = {"corundum": 0.5, "zincite": 0.2, "fluorite": 0.3}
    fitter = refiner(tables, (*shares, "rutile", "quartz"))
    y = counts(tables, shares)
    return fitter, y, fitter.fit(pattern_of(AXIS, y), tuple(shares))


def same(one: Refined, other: Refined, sigmas: float = 1.5) -> None:
    for name, phase in one.phases.items():
        again = other.phases[name]
        assert again.fraction.value == pytest.approx(phase.fraction.value, abs=sigmas * phase.fraction.esd)
        assert np.abs(again.cell - phase.cell)[:3].max() < sigmas * max(phase.cell_esd[:3].max(), 1e-6)


def test_a_masked_region_and_a_gap_give_the_same_answer(mixture) -> None:
    fitter, y, whole = mixture
    hole = (AXIS > 44.5) & (AXIS < 46)
    spoilt = np.where(hole, np.nan, y)
    masked = fitter.fit(pattern_of(AXIS, spoilt, mask=hole), tuple(whole.phases))
    dropped = fitter.fit(pattern_of(AXIS[~hole], y[~hole]), tuple(whole.phases))
    assert masked.fractions == dropped.fractions
    same(whole, masked, 3.0)
    assert masked.two_theta_deg.size == AXIS.size - hole.sum()


def test_an_uneven_axis_and_a_falling_axis_are_fitted(tables, mixture) -> None:
    fitter, _, whole = mixture
    uneven = np.concatenate([np.arange(18.0, 60.0, 0.02), np.arange(60.0, 120.0, 0.05)])
    y = counts(tables, {"corundum": 0.5, "zincite": 0.2, "fluorite": 0.3}, 3, axis=uneven)
    fit = fitter.fit(pattern_of(uneven, y), tuple(whole.phases))
    same(whole, fit, 4.0)
    turned = fitter.fit(pattern_of(uneven[::-1], y[::-1]), tuple(whole.phases))
    assert turned.fractions == fit.fractions


def test_a_warm_start_ends_where_the_cold_one_did_and_sooner(mixture) -> None:
    fitter, y, cold = mixture
    warm = fitter.fit(pattern_of(AXIS, y), start=cold.state)
    assert tuple(warm.phases) == cold.state.phases
    assert warm.converged and warm.steps < cold.steps
    same(cold, warm, 0.5)


def test_two_fits_are_the_same_bit_for_bit(mixture) -> None:
    fitter, y, one = mixture
    two = fitter.fit(pattern_of(AXIS, y.copy()), tuple(one.phases))
    assert np.array_equal(one.calculated, two.calculated) and one.state == two.state


def test_the_parts_add_up(mixture) -> None:
    _, _, fit = mixture
    parts = fit.background + sum(fit.contribution.values())
    assert np.allclose(parts, fit.calculated, rtol=1e-9)
    residual = (fit.observed - fit.calculated) ** 2
    assert fit.r_wp > fit.r_exp * 0.9
    assert residual.sum() > 0


def test_what_a_network_knows_brings_a_far_cell_within_reach(tables) -> None:
    grains = {"fluorite": Grain(cell_scale=(1.02,) * 3), "silicon": Grain()}
    y = counts(tables, {"fluorite": 0.5, "silicon": 0.5}, grains=grains)
    fitter = refiner(tables, ("fluorite", "silicon", "corundum"))
    start = FitState.from_estimate(
        ("fluorite", "silicon"), strain={"fluorite": 0.019}, size_nm={"fluorite": 150.0}, fwhm_deg=0.08
    )
    fit = fitter.fit(pattern_of(AXIS, y), start=start)
    assert set(fit.phases) == {"fluorite", "silicon"}
    assert fit.phases["fluorite"].axis_strain["a"].value == pytest.approx(0.02, abs=3e-4)
    assert fit.chi2_reduced < 1.3


def test_a_synchrotron_pattern_in_q_refines(tables) -> None:
    wavelength = 0.4127
    table = phase_table("silicon", wavelength, 0.6)
    other = phase_table("rutile", wavelength, 0.6)
    instrument = Instrument(
        wavelength_A=wavelength, ka2_ratio=0.0, u_deg2=0.0004, v_deg2=0.0, w_deg2=0.0002, lorentz_x_deg=0.0,
        asymmetry_deg=0.0, polarisation=0.0,
    )  # fmt: skip
    axis = np.arange(4.0, 36.0, 0.005)
    grains = {"silicon": Grain(cell_scale=(1.0007,) * 3)}
    y = render_pattern(
        axis, {"silicon": 0.3, "rutile": 0.7}, instrument, np.random.default_rng(1), peak_counts=2e4, background=0.02,
        tables={"silicon": table, "rutile": other}, grains=grains,
    )  # fmt: skip
    reference = reference_of({"silicon": table, "rutile": other}, wavelength, last_two_theta_deg=40)
    assert "wavelength2_A" not in reference
    settings = refine_settings(single_line(wavelength), "debye-scherrer", 1000.0, polarisation=0.0)
    q = 4 * np.pi * np.sin(np.deg2rad(axis) / 2) / wavelength
    fit = ProfileFitter(phases_of(reference), settings).fit(
        pattern_of(q, y, kind="q_invA", wavelength_A=wavelength)
    )
    assert fit.fractions["silicon"] == pytest.approx(0.3, abs=0.006)
    silicon = fit.phases["silicon"]
    assert silicon.axis_strain["a"].value == pytest.approx(
        7e-4, abs=max(5 * silicon.axis_strain["a"].esd, 2e-5)
    )


def test_sizes_too_large_to_show_are_not_given(tables) -> None:
    grains = {"silicon": Grain(size_nm=1e5, strain=0.0)}
    fit = refiner(tables, ["silicon"]).fit(pattern_of(AXIS, counts(tables, {"silicon": 1.0}, grains=grains)))
    size = fit.phases["silicon"].size_nm
    assert np.isnan(size.value) or size.value > 1000
    assert fit.phases["silicon"].march_r.value == 1.0 and fit.phases["silicon"].march_r.esd == 0.0


def test_a_phase_that_is_not_there_has_neither_cell_nor_size(tables) -> None:
    fitter = refiner(tables, ("silicon", "rutile"))
    fit = fitter.fit(pattern_of(AXIS, counts(tables, {"silicon": 1.0})))
    rutile = fit.phases["rutile"]
    assert rutile.fraction.value < 0.004 and 0 < rutile.fraction.esd < 0.01
    if rutile.fraction.value == 0:
        assert np.isnan(rutile.cell).all() and np.isnan(rutile.size_nm.value)
    assert fit.fractions["silicon"] > 0.996


def test_free_line_intensities_find_the_cell_of_a_phase_known_by_its_lines_alone(tables) -> None:
    table = tables["rutile"]
    rng = np.random.default_rng(4)
    textured = replace(table, f2=table.f2 * rng.uniform(0.2, 3.0, table.f2.size))
    y = counts(
        {"rutile": textured}, {"rutile": 1.0}, grains={"rutile": Grain(cell_scale=(1.002, 1.002, 0.999))}
    )
    entry = sticks_of(table.hkl[:40], (table.multiplicity * table.f2)[:40], table.cell, "tetragonal")
    base = refine_settings(doublet(CU_KA1_A, CU_KA2_A), polarisation=0.8).changed(
        {"axial": Prior(0.0, FIXED)}
    )
    reference = {"phases": {"rutile": entry}}
    axis = AXIS[AXIS < 90]
    pattern = pattern_of(axis, y[AXIS < 90])
    stiff = ProfileFitter(phases_of(reference), base).fit(pattern)
    free = ProfileFitter(phases_of(reference), base.changed(intensity_sigma={"rutile": 3.0})).fit(pattern)
    assert free.chi2_reduced < 1.3 and stiff.chi2_reduced > 4
    strain = free.phases["rutile"].axis_strain
    assert strain["a"].value == pytest.approx(0.002, abs=1e-4)
    assert strain["c"].value == pytest.approx(-0.001, abs=1e-4)


@pytest.fixture(scope="module")
def library() -> tuple[dict[str, PhaseTable], ProfileFitter]:
    tables = {name: phase_table(name, CU_KA1_A) for name in structures()}
    reference = reference_of(tables, CU_KA1_A, CU_KA2_A, 101.0)
    return tables, ProfileFitter(phases_of(reference), quick_settings(doublet(CU_KA1_A, CU_KA2_A)))


def test_a_thinned_pattern_keeps_areas_noise_and_gaps() -> None:
    axis = np.arange(20.0, 60.0, 0.01)
    axis = axis[(axis < 30) | (axis > 32.003)]
    rng = np.random.default_rng(0)
    fine = pattern_of(axis, rng.poisson(100 + 900 * np.exp(-(((axis - 45) / 0.1) ** 2))))
    coarse = thinned(fine, 0.05)
    assert coarse.intensity.size == pytest.approx(fine.intensity.size / 5, abs=3)

    def area(p: Pattern) -> float:
        return float((p.intensity * (p.high_deg - p.low_deg)).sum())

    assert area(coarse) == pytest.approx(area(fine), rel=1e-9)
    assert (coarse.low_deg[1:] >= coarse.high_deg[:-1] - 1e-9).all()
    assert np.diff(coarse.two_theta_deg).max() == pytest.approx(2.05, abs=0.05)
    flat = np.abs(coarse.two_theta_deg - 45) > 2
    pulls = (coarse.intensity - 100)[flat] / np.sqrt(coarse.variance[flat])
    assert np.std(pulls) == pytest.approx(1.0, abs=0.1)
    assert thinned(coarse, 0.05) is coarse


SHORT = np.linspace(20, 100, 2000)


@pytest.mark.parametrize("seed", range(3))
def test_the_phases_of_a_mixture_are_found_among_forty(library, seed) -> None:
    tables, fitter = library
    rng = np.random.default_rng(seed)
    inside = [str(n) for n in rng.choice(sorted(tables), 3, replace=False)]
    grains = {n: Grain(size_nm=90, cell_scale=(1 + rng.uniform(-0.003, 0.003),) * 3) for n in inside}
    y = counts(tables, dict(zip(inside, (0.5, 0.3, 0.2), strict=True)), seed, axis=SHORT, grains=grains)
    pattern = pattern_of(SHORT, y)
    looked = screen(fitter, pattern)
    assert sum(c.share for c in looked) == pytest.approx(1.0)
    assert set(inside) <= {c.name for c in looked[:10]}
    found = select(fitter, pattern)
    assert set(found.gain) == set(inside)
    assert found.fit is not None and found.fit.unexplained < 0.1


@pytest.mark.parametrize("kind", ["flat", "noise", "one foreign line"])
def test_a_search_in_a_pattern_without_known_lines_finds_nothing(library, kind) -> None:
    _, fitter = library
    rng = np.random.default_rng(0)
    y = {
        "flat": np.full(SHORT.size, 100.0), "noise": rng.poisson(50, SHORT.size).astype(float),
        "one foreign line": rng.poisson(50 + 3000 * np.exp(-(((SHORT - 91.3) / 0.1) ** 2))).astype(float),
    }[kind]  # fmt: skip
    found = select(fitter, pattern_of(SHORT, y))
    if kind == "one foreign line":
        assert found.fit is None or found.fit.unexplained > 0.05 or len(found.gain) <= 2
    else:
        assert found.fit is None and found.gain == {}


def good() -> Pattern:
    return pattern_of(AXIS, np.full(AXIS.size, 10.0))


@pytest.mark.parametrize(
    ("axis", "intensity", "more", "says"),
    [
        (AXIS, np.full(AXIS.size, np.nan), {}, "not finite; mask or drop"),
        (AXIS, np.zeros(AXIS.size), {}, "no intensity above zero"),
        (AXIS[:5], np.ones(5), {}, "5 points are left"),
        (AXIS, np.ones(AXIS.size - 1), {}, "one shape"),
        (AXIS * 0, np.ones(AXIS.size), {}, "strictly rising or falling"),
        (AXIS, np.ones(AXIS.size), {"variance": np.zeros(AXIS.size)}, "variances must be finite and above zero"),
        (AXIS, np.ones(AXIS.size), {"kind": "q_invA"}, "needs the wavelength"),
        (AXIS, np.ones(AXIS.size), {"kind": "q_invA", "wavelength_A": 1.54}, "cannot be measured with 1.54"),
        (AXIS, np.ones(AXIS.size), {"mask": np.ones(AXIS.size, bool)}, "0 points are left"),
    ],
)  # fmt: skip
def test_what_is_no_pattern_is_refused_with_the_reason(axis, intensity, more, says) -> None:
    with pytest.raises(FrameFailed, match=says):
        pattern_of(axis, intensity, **more)


@pytest.mark.parametrize("kind", ["flat", "one line", "negative part", "tiny", "huge"])
def test_odd_patterns_give_numbers_and_a_message(tables, kind) -> None:
    fitter = refiner(tables, ("silicon", "rutile"))
    y = {
        "flat": np.full(AXIS.size, 100.0),
        "one line": 20 + 5000 * np.exp(-(((AXIS - 51.0) / 0.1) ** 2)),
        "negative part": counts(tables, {"silicon": 1.0}) - 200.0,
        "tiny": counts(tables, {"silicon": 1.0}) * 1e-12,
        "huge": counts(tables, {"silicon": 1.0}) * 1e12,
    }[kind]
    fit = fitter.fit(pattern_of(AXIS, y))
    assert np.isfinite([fit.r_wp, fit.r_exp, fit.chi2_reduced, fit.unexplained, fit.crystalline]).all()
    assert np.isfinite(fit.calculated).all()
    assert fit.message
    fractions = np.array(list(fit.fractions.values()))
    assert np.isfinite(fractions).all() == ("none of the phases" not in fit.message)
    if kind in ("tiny", "huge"):
        assert fit.fractions["silicon"] > 0.99


def test_a_pattern_without_any_line_of_the_phases_is_refused(tables) -> None:
    axis = np.arange(5.0, 9.0, 0.01)
    with pytest.raises(FrameFailed, match="no reflection of the phases lies between"):
        refiner(tables, ["silicon"]).fit(pattern_of(axis, np.full(axis.size, 7.0)))


def test_wrong_phases_and_settings_are_said(tables) -> None:
    fitter = refiner(tables, ("silicon", "rutile"))
    with pytest.raises(ConfigurationError, match="each must be one of silicon, rutile"):
        fitter.fit(good(), ("gold",))
    with pytest.raises(ConfigurationError, match="missing: gold"):
        phases_of(reference_of({"silicon": tables["silicon"]}, CU_KA1_A), ("gold",))
    with pytest.raises(ConfigurationError, match="unknown parameters"):
        fitter.settings.changed({"colour": Prior(0.0, 1.0)})
    with pytest.raises(ConfigurationError, match="geometry 'laue'"):
        fitter.settings.changed(geometry="laue")
    with pytest.raises(ConfigurationError, match="'broken' cannot be read"):
        phases_of({"phases": {"broken": {"system": "cubic"}}})
    with pytest.raises(ConfigurationError, match="no reflection below 5 degrees"):
        reference_of({"silicon": tables["silicon"]}, CU_KA1_A, last_two_theta_deg=5.0)
