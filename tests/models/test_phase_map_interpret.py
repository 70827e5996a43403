"""Preparing patterns and judging raw outputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from streamproc.models.phase_map.calibrate import widened
from streamproc.models.phase_map.check import Checked
from streamproc.models.phase_map.excess import Excess
from streamproc.models.phase_map.interpret import STATES, interpret
from streamproc.models.phase_map.measured import Measured
from streamproc.models.powder.pattern import prepare

from streamproc.errors import FrameFailed
from streamproc.inference.card import Axis, Calibration, JoinedRule, ModelCard, OutputHead

LABELS = ("corundum", "zincite", "fluorite", "brucite")
GRID = np.linspace(20, 100, 2000)
WAVELENGTH_A = 1.5405929


@pytest.fixture(scope="module")
def card() -> ModelCard:
    states = [f"{p}_{s}" for p in LABELS for s in STATES]
    names = (*LABELS, "unknown", "amorphous", *states)
    signals = ("unknown", "distance", "spread")
    return ModelCard(
        name="phase_qpa",
        version="t",
        task="phase-fractions",
        input_name="x",
        axis=Axis(
            kind="two_theta_deg", start=20, stop=100, n=2000, wavelength_A=WAVELENGTH_A, min_coverage=0.5
        ),
        normalisation="sqrt_max",
        outputs=(OutputHead(name="fractions", shape=(4,), meaning=""),),
        labels=LABELS,
        valid_domain={},
        calibration=Calibration(
            floor=0.01,
            q68=dict.fromkeys(names, 1.0),
            q90=dict.fromkeys(names, 2.0),
            limits={
                "foreign": 0.5, "foreign_with_fit": 0.5, "amorphous": 0.9, "distance": 2.0, "spread": 0.05,
                "residual": 0.3, "disagreement": 4.0, **{f"{p}_strain": 0.004 for p in LABELS},
            },
            rules={
                "foreign": {**dict.fromkeys(signals, 0.0), "unknown": 1.0, "bias": 2.0},
                "presence_with_fit": {"network": 0.5, "significance": 1.0, "amount": 0.0, "bias": -1.0},
            },
            joined={
                "foreign_with_fit": JoinedRule(
                    signals=("lines",), centre=(1.5,), scale=(1.0,), clip=4.0, hidden=((1.0,),), offset=(0.0,),
                    output=(6.0,), bias=0.0,
                )
            },
            prior_sigma={f"{p}_{s}": 1.0 for p in LABELS for s in STATES} | {f"{p}_strain": 0.002 for p in LABELS},
        ),
        opset=18,
        weights_sha256="",
        training={},
        scores={},
        licence="BSD-3-Clause",
    )  # fmt: skip


def outputs(**changes) -> dict[str, np.ndarray]:
    raw = {
        "fractions": [0.6, 0.3, 0.1, 0.0], "scale": [0.02] * 6, "spread": [0.01] * 6, "unknown": 0.0,
        "amorphous": 0.2, "distance": 1.0, "presence": [0.99, 0.98, 0.9, 0.01],
        "state": [[0.001] * 4, [5.0] * 4, [0.1] * 4], "state_spread": [[1e-4] * 4, [0.1] * 4, [1.0] * 4],
        "state_scale": [[2e-4] * 4, [0.1] * 4, [1.0] * 4],
    }  # fmt: skip
    return {k: np.array([v, v], np.float32) for k, v in (raw | changes).items()}


@dataclass(frozen=True)
class Strain:
    value: float
    esd: float


@dataclass(frozen=True)
class Phase:
    strain: Strain


@dataclass(frozen=True)
class Fit:
    fractions: dict[str, float]
    esd: dict[str, float]
    r_wp: float
    chi2_reduced: float
    unexplained: float
    crystalline: float
    phases: dict[str, Phase]


def fit(fractions=(0.58, 0.32, 0.1, 0.0), unexplained=0.05, lines=0.5, strain=0.001) -> Checked:
    named = dict(zip(LABELS, fractions, strict=True))
    phases = {p: Phase(Strain(strain, 1e-4)) for p in LABELS}
    found = Fit(named, dict.fromkeys(LABELS, 0.01), 0.1, 1.2, unexplained, 0.8, phases)
    return Checked(found, Excess(lines, lines, 0.0, (0.0,) * 4, 0, (0.0,) * 4, 0, 0.0, 0.01))


def peaks(axis: np.ndarray) -> np.ndarray:
    return 10 + 1000 * np.exp(-(((axis - 43.3) / 0.1) ** 2)) + 400 * np.exp(-(((axis - 68.0) / 0.15) ** 2))


def test_a_fine_axis_is_averaged_so_that_areas_are_kept(card: ModelCard) -> None:
    fine = np.arange(5.0, 150.0, 0.005)
    x, coverage = prepare(fine, peaks(fine), card.axis)
    y = x.astype(float) ** 2
    assert coverage == 1.0 and x.dtype == np.float32 and x.max() == 1.0
    near_grid, near_fine = np.abs(GRID - 43.3) < 1, np.abs(fine - 43.3) < 1
    inside = (fine > 19.98) & (fine < 100.02)
    share = peaks(fine)[near_fine].sum() / peaks(fine)[inside].sum()
    assert y[near_grid].sum() / y.sum() == pytest.approx(share, rel=2e-3)


def test_counting_noise_of_a_fine_axis_is_averaged_not_sampled(card: ModelCard) -> None:
    fine = np.arange(19.0, 101.0, 0.01)
    counts = np.random.default_rng(0).poisson(100, fine.size)
    y = prepare(fine, counts, card.axis)[0].astype(float) ** 2
    assert (y / y.mean()).std() == pytest.approx(0.1 / np.sqrt(0.04002 / 0.01), rel=0.15)


def test_a_coarse_axis_is_interpolated(card: ModelCard) -> None:
    coarse = np.arange(15.0, 110.0, 0.08)
    x, coverage = prepare(coarse, 100 + coarse, card.axis)
    assert coverage == 1.0
    assert np.allclose(x**2, (100 + GRID) / 200, atol=1e-3)


def test_what_was_not_measured_is_zero_and_counts_against_coverage(card: ModelCard) -> None:
    axis = np.arange(10.0, 80.0, 0.02)
    x, coverage = prepare(axis, peaks(axis), card.axis)
    assert coverage == pytest.approx(60 / 80, abs=1e-3)
    assert (x[GRID > 80.05] == 0).all() and (x[GRID < 79.9] > 0).all()


def test_a_hole_in_the_axis_is_not_bridged(card: ModelCard) -> None:
    axis = np.arange(20.0, 100.0, 0.02)
    axis = axis[(axis < 50) | (axis > 52)]
    x, coverage = prepare(axis, np.full(axis.size, 7.0), card.axis)
    assert (x[(GRID > 50.05) & (GRID < 51.95)] == 0).all()
    assert coverage == pytest.approx(78 / 80, abs=2e-3)


def test_q_and_two_theta_axes_give_the_same_input(card: ModelCard) -> None:
    q = np.linspace(1.2, 6.4, 3000)
    two_theta = 2 * np.rad2deg(np.arcsin(q * WAVELENGTH_A / (4 * np.pi)))
    a, _ = prepare(q, peaks(two_theta), card.axis, "q_invA")
    b, _ = prepare(two_theta, peaks(two_theta), card.axis)
    assert np.array_equal(a, b)


def test_another_wavelength_is_converted_through_q(card: ModelCard) -> None:
    two_theta = np.arange(18.0, 102.0, 0.02)
    other = 2 * np.rad2deg(np.arcsin(np.sin(np.deg2rad(two_theta / 2)) * 0.7 / WAVELENGTH_A))
    a, _ = prepare(other, peaks(two_theta), card.axis, wavelength_A=0.7)
    b, _ = prepare(two_theta, peaks(two_theta), card.axis)
    assert np.abs(a - b).max() < 1e-6


def test_a_falling_axis_is_turned_round(card: ModelCard) -> None:
    axis = np.arange(20.0, 100.0, 0.02)
    assert np.array_equal(
        prepare(axis[::-1], peaks(axis)[::-1], card.axis)[0], prepare(axis, peaks(axis), card.axis)[0]
    )


@pytest.mark.parametrize(
    ("axis", "intensity", "says"),
    [
        (np.arange(20.0, 100.0, 0.1), np.zeros(800), "empty or mostly negative"),
        (np.arange(20.0, 100.0, 0.1), np.full(800, np.nan), "not finite"),
        (np.arange(20.0, 100.0, 0.1), np.full(800, -5.0), "mostly negative"),
        (np.arange(120.0, 150.0, 0.1), np.full(300, 5.0), "does not meet the model's axis"),
        (np.arange(20.0, 100.0, 0.1), np.ones(799), "one length"),
        (np.zeros(800), np.ones(800), "strictly rising"),
        (np.arange(5.0, 100.0, 0.1), np.where(np.arange(950) < 100, 1.0, 0.0), "empty on the model's axis"),
    ],
)
def test_what_is_no_pattern_fails_with_a_reason(card: ModelCard, axis, intensity, says: str) -> None:
    with pytest.raises(FrameFailed, match=says):
        prepare(axis, intensity, card.axis)


def test_a_little_below_zero_is_cut(card: ModelCard) -> None:
    axis = np.arange(20.0, 100.0, 0.02)
    x, _ = prepare(axis, peaks(axis) - 10.5, card.axis)
    assert x.min() == 0


def test_widths_are_scale_spread_and_floor_times_the_quantile(card: ModelCard) -> None:
    answer = interpret(outputs(), card, 1, 1.0)
    corundum = answer.phases["corundum"]
    assert corundum.value == pytest.approx(0.6)
    assert corundum.sigma == pytest.approx(0.04)
    assert corundum.interval90 == pytest.approx((0.52, 0.68))
    assert answer.phases["brucite"].interval90 == pytest.approx((0.0, 0.08))
    assert answer.amorphous.value == pytest.approx(0.2)
    assert answer.in_domain and answer.reasons == () and answer.residual == {}


@pytest.mark.parametrize(
    ("changes", "coverage", "classical", "reason"),
    [
        ({"unknown": 0.3}, 1.0, None, "unknown-phase"),
        ({"unknown": 0.7}, 1.0, None, "unknown-material"),
        ({"unknown": 0.3, "presence": [0.1] * 4}, 1.0, None, "unknown-material"),
        ({}, 1.0, fit(lines=9.0), "unknown-phase"),
        ({}, 1.0, fit(strain=0.009), "outside-training-range: corundum_strain"),
        ({"amorphous": 0.95}, 1.0, None, "no-crystalline"),
        ({"distance": 3.0}, 1.0, None, "outside-training-range: features"),
        ({"distance": np.nan}, 1.0, None, "outside-training-range: features"),
        ({"spread": [0.2] * 6}, 1.0, None, "outside-training-range: ensemble"),
        ({}, 0.4, None, "bad-frame: axis coverage 0.40 < 0.5"),
        ({}, 1.0, fit(unexplained=0.6), "residual"),
        ({}, 1.0, fit((0.3, 0.6, 0.1, 0.0)), "disagrees-with-fit"),
        ({}, 1.0, fit((np.nan,) * 4), "disagrees-with-fit"),
    ],
)
def test_each_signal_alone_takes_a_pattern_out_of_domain(card, changes, coverage, classical, reason) -> None:
    answer = interpret(outputs(**changes), card, 0, coverage, classical)
    assert not answer.in_domain
    assert answer.reasons[0] == reason
    assert len(answer.reasons) == 1 or reason.endswith("_strain")


def test_states_are_said_where_the_phase_is_there_and_the_pattern_tells_more_than_the_prior(card) -> None:
    states = interpret(outputs(), card, 0, 1.0).states
    strain, size = states["corundum"]["strain"], states["corundum"]["size_nm"]
    assert strain is not None and strain.value == pytest.approx(0.001)
    assert strain.sigma == pytest.approx(3e-4) and strain.interval90 == pytest.approx((0.0004, 0.0016))
    assert size is not None and size.value == pytest.approx(np.exp(5.0), rel=1e-5)
    assert size.interval90 == pytest.approx((np.exp(4.6), np.exp(5.4)), rel=1e-5)
    assert states["corundum"]["march_r"] is None, "no sharper than the prior"
    assert states["brucite"] == dict.fromkeys(STATES), "not there"


def test_the_fit_raises_the_presence_of_what_it_finds_and_lowers_that_of_what_it_does_not(card) -> None:
    alone = interpret(outputs(presence=[0.5] * 4), card, 0, 1.0)
    joined = interpret(outputs(presence=[0.5] * 4), card, 0, 1.0, fit())
    assert alone.presence["corundum"] == pytest.approx(0.5)
    assert joined.presence["corundum"] > 0.9
    assert joined.presence["brucite"] < 0.3


def test_the_classical_figures_are_handed_on(card: ModelCard) -> None:
    answer = interpret(outputs(), card, 0, 1.0, fit())
    assert answer.in_domain
    assert answer.residual["difference"] == pytest.approx(0.02, abs=1e-6)
    assert set(answer.residual) == {
        "r_wp",
        "chi2_reduced",
        "unexplained",
        "crystalline",
        "difference",
        "disagreement",
    }


def kept(name: str, fractions, use="calibrate") -> Measured:
    truth = np.array(fractions)
    return Measured(name, GRID, peaks(GRID), "two_theta_deg", None, truth, truth > 0, use)


def test_measured_patterns_widen_intervals_until_they_hold_and_never_narrow_them(card: ModelCard) -> None:
    def run(x: np.ndarray) -> dict[str, np.ndarray]:
        return {k: np.repeat(v[:1], len(x), 0) for k, v in outputs().items()}

    # the model reads 0.6, 0.3, 0.1, 0 with widths of 0.02 + 0.01 + 0.01; 90 % intervals are twice as wide
    calibration = card.calibration
    far = [kept("a", (0.48, 0.42, 0.1, 0.0)), kept("b", (0.6, 0.3, 0.1, 0.0), "score")]
    wider, said = widened(calibration, run, card, far)
    assert said == {"calibrated_with": ["a"], "widened_by": {"q68": 3.0, "q90": 1.5}}
    assert [wider.q90[n] for n in LABELS] == pytest.approx([3.0] * 4)
    assert wider.q90["amorphous"] == calibration.q90["amorphous"]
    near, _ = widened(calibration, run, card, [kept("c", (0.6, 0.3, 0.1, 0.0))])
    assert near.q90 == calibration.q90 and near.q68 == calibration.q68
    assert widened(calibration, run, card, far[1:]) == (calibration, {})
