"""Rules that join signals, lines that no known phase explains, and tables of measured patterns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamproc.models.phase_map.excess import excess_of
from streamproc.models.phase_map.measured import read_truth
from streamproc.models.phase_map.rules import apply_joined, apply_rule, fit_rule, presence_signals

from streamproc.errors import ConfigurationError
from streamproc.inference.card import JoinedRule

AXIS = np.linspace(20.0, 100.0, 2000)


class Width:
    def __init__(self, value: float) -> None:
        self.value = value


class Fit:
    """What a fit leaves: observed, calculated, background, and the width of lines."""

    def __init__(self, observed, calculated, background) -> None:
        self.two_theta_deg = AXIS
        self.observed, self.calculated, self.background = observed, calculated, background
        self.instrument = {"fwhm_deg": Width(0.15)}


def lines(*rows: tuple[float, float], fwhm: float = 0.15) -> np.ndarray:
    return sum(h * np.exp(-4 * np.log(2) * ((AXIS - c) / fwhm) ** 2) for c, h in rows)


KNOWN = lines((30.0, 5000.0), (45.0, 3000.0), (60.0, 1500.0))


def fit_of(extra: np.ndarray | float, seed: int, wrong: float = 1.0) -> Fit:
    background = np.full(AXIS.size, 60.0)
    observed = np.random.default_rng(seed).poisson(wrong * KNOWN + extra + background).astype(float)
    return Fit(observed, KNOWN + background, background)


def test_a_logistic_rule_finds_the_weights_that_made_the_cases() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=20_000), 5 + 3 * rng.normal(size=20_000)
    truth = rng.random(20_000) < 1 / (1 + np.exp(-(1.5 * a - 0.8 * b + 4.0)))
    rule = fit_rule(("a", "b"), [{"a": x, "b": y} for x, y in zip(a, b, strict=True)], truth)
    assert rule["a"] == pytest.approx(1.5, abs=0.12)
    assert rule["b"] == pytest.approx(-0.8, abs=0.06)
    assert rule["bias"] == pytest.approx(4.0, abs=0.3)


def contrary(n: int, seed: int) -> tuple[list[dict[str, float]], np.ndarray]:
    """Cases that hold where two signals have the same sign: no weighted sum of them tells."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=n), 5 + 3 * rng.normal(size=n)
    return [{"a": x, "b": y} for x, y in zip(a, b, strict=True)], (a > 0) == (b > 5)


def test_a_joined_rule_learns_what_no_weighted_sum_can_tell() -> None:
    from streamproc.models.phase_map.joining import fit_joined

    cases, truth = contrary(3000, 0)
    rule = fit_joined(("a", "b"), cases, truth, seed=1)
    fresh, right = contrary(2000, 1)
    said = np.array([apply_joined(rule, s) for s in fresh]) > 0.5
    assert (said == right).mean() > 0.95
    logistic = fit_rule(("a", "b"), cases, truth)
    assert (np.array([apply_rule(logistic, s) > 0.5 for s in fresh]) == right).mean() < 0.6
    assert rule == fit_joined(("a", "b"), cases, truth, seed=1), "the same seed gives the same rule"


def test_a_joined_rule_is_level_beyond_what_it_learned_from_and_takes_nan_for_a_bad_sign() -> None:
    rule = JoinedRule(
        signals=("a",), centre=(1.0,), scale=(2.0,), clip=3.0, hidden=((0.5,), (-1.0,)), offset=(0.1, 0.2),
        output=(2.0, -1.0), bias=-0.3,
    )  # fmt: skip
    total = -0.3 + 2.0 * np.tanh(0.1 + 0.5 * 0.75) - np.tanh(0.2 - 0.75)
    assert apply_joined(rule, {"a": 2.5}) == pytest.approx(1 / (1 + np.exp(-total)))
    assert apply_joined(rule, {"a": 1e9}) == apply_joined(rule, {"a": 7.0})
    assert apply_joined(rule, {"a": float("nan")}) == apply_joined(rule, {"a": 7.0})


def test_weights_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit 1 signals and 2 hidden units"):
        JoinedRule(
            signals=("a",), centre=(1.0,), scale=(2.0,), clip=3.0, hidden=((0.5,), (-1.0,)), offset=(0.1,),
            output=(2.0, -1.0), bias=0.0,
        )  # fmt: skip


def test_a_signal_without_any_spread_does_no_harm() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=500)
    rule = fit_rule(("a", "still"), [{"a": x, "still": 2.0} for x in a], a > 0)
    assert np.isfinite(list(rule.values())).all()
    assert (
        apply_rule(rule, {"a": 2.0, "still": 2.0}) > 0.9 > 0.1 > apply_rule(rule, {"a": -2.0, "still": 2.0})
    )


@given(st.floats(0, 1), st.floats(allow_nan=True), st.floats(allow_nan=True))
def test_signals_of_presence_are_numbers_whatever_a_fit_says(p: float, fraction: float, esd: float) -> None:
    assert np.isfinite(list(presence_signals(p, fraction, esd).values())).all()


def test_a_foreign_line_of_two_per_cent_stands_out_and_counting_noise_does_not() -> None:
    usual = [excess_of(fit_of(0.0, seed)) for seed in range(40)]
    foreign = [excess_of(fit_of(lines((52.0, 100.0)), seed)) for seed in range(40)]
    assert max(e.clear[0] for e in usual) < 6.0
    assert min(e.clear[0] for e in foreign) > max(e.clear[0] for e in usual)


def test_a_wrong_height_of_known_lines_is_no_foreign_line() -> None:
    assert max(excess_of(fit_of(0.0, seed, wrong=1.05)).clear[0] for seed in range(20)) < 6.0


def test_missing_lines_are_a_deficit() -> None:
    background = np.full(AXIS.size, 60.0)
    found = excess_of(Fit(background.copy(), background + lines((52.0, 400.0)) * 0.2, background))
    assert found.deficit > found.clear[0]


def test_a_pattern_of_hardly_any_points_has_no_excess() -> None:
    short = fit_of(0.0, 0)
    short.two_theta_deg, short.observed = AXIS[:20], short.observed[:20]
    short.calculated, short.background = short.calculated[:20], short.background[:20]
    assert excess_of(short).highest == 0.0


def table(folder: Path, text: str) -> Path:
    np.savetxt(folder / "a.xy", np.column_stack([AXIS, 50 + KNOWN]))
    (folder / "truth.csv").write_text(text)
    return folder / "truth.csv"


def test_weights_become_fractions_and_a_cross_means_present(tmp_path: Path) -> None:
    file = table(tmp_path, "file,zincite,fluorite,use\na.xy,30,90,score\na.xy,x,,stop\n")
    first, second = read_truth(tmp_path, file, ("zincite", "fluorite"))
    assert first.fractions == pytest.approx([0.25, 0.75]) and first.present.all() and first.use == "score"
    assert np.isnan(second.fractions).all() and list(second.present) == [True, False] and second.use == "stop"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,zincite\na.xy,lots\n", "line 2: zincite is 'lots'"),
        ("file,zincite\na.xy,-3\n", "line 2: zincite is -3"),
        ("file,quartz\na.xy,1\n", "columns quartz are no phases"),
        ("file,zincite,use\na.xy,1,maybe\n", "use is 'maybe'"),
        ("name,zincite\na.xy,1\n", "expected a header line"),
        ("", "expected a header line"),
        ("file,zincite\nmissing.xy,1\n", "missing.xy"),
    ],
)
def test_a_wrong_table_is_said_at_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        read_truth(tmp_path, table(tmp_path, text), ("zincite", "fluorite"))


def test_a_weak_line_between_strong_known_ones_counts_as_near_though_not_as_clear() -> None:
    beside = excess_of(fit_of(lines((30.7, 150.0)), seed=3))
    usual = excess_of(fit_of(0.0, seed=3))
    assert beside.near[0] > usual.near[0] + 3
    assert beside.near_count >= 1 > usual.near_count
    assert 0 < beside.noise < 0.1
