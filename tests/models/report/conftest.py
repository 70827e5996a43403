"""Evidence like that of a training, drawn from a known law, for any number of items."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from streamproc.models.report.evidence import Evidence, Presence, Quantities, Signals
from streamproc.models.report.parts import Curve, Facts, Table, Words, WorstCase

_NAMED = ("corundum Al2O3", "zincite ZnO", "fluorite CaF2", "brucite Mg(OH)2")


def names_of(p: int) -> tuple[str, ...]:
    families = (
        "spinel Li{}Mn2O4",
        "rock salt Li{}MnO2-F (Fm-3m, ICSD 40467{})",
        "rutile ${}$ TiO2",
        "layered Li{}TiO2",
    )
    more = tuple(families[k % 4].replace("{}", str(k)) for k in range(p))
    return (_NAMED + more)[:p]


def composition(random: np.random.Generator, n: int, p: int) -> np.ndarray:
    """Weight per cent of one to four items of p."""
    weight = random.gamma(0.9, 1.0, (n, p))
    few = random.integers(1, min(p, 4) + 1, n)
    order = np.argsort(random.random((n, p)), 1)
    weight[order >= few[:, None]] = 0.0
    return 100 * weight / weight.sum(1, keepdims=True)


def quantities(random: np.random.Generator, n: int, p: int, wrong_by: float, **more: object) -> Quantities:
    truth = composition(random, n, p)
    sigma = np.where(truth > 0, 0.2 + 0.02 * truth * random.lognormal(0, 0.4, (n, p)), 0.15)
    value = truth + wrong_by * sigma * random.normal(size=(n, p))
    value = np.where(truth > 0, value, np.abs(value)).clip(0, 100)
    low, high = (value - 1.645 * sigma).clip(0), (value + 1.645 * sigma).clip(None, 100)
    return Quantities(
        names_of(p),
        ("wt%",) * p,
        truth,
        value,
        sigma,
        low,
        high,
        np.ones((n, p), bool),
        **more,  # type: ignore[arg-type]
    )


def presence(random: np.random.Generator, truth: np.ndarray, p: int) -> Presence:
    logit = np.where(truth > 0, 3.5 + 1.4 * np.log(np.maximum(truth, 0.1)), -5.5) + 1.3 * random.normal(
        size=truth.shape
    )
    if p > 8:  # a pair that is nearly the same structure
        twin = (truth[:, 6] > 0) & (random.random(len(truth)) < 0.5)
        logit[twin, 6], logit[twin, 7] = -2.0, 2.0
    return Presence(names_of(p), truth > 0, 1 / (1 + np.exp(-logit)), truth, 0.5, 2.0, "wt%")


def signals(random: np.random.Generator) -> Signals:
    share = random.uniform(0.01, 1, 1500)
    names = ("unknown", "distance", "spread", "residual")
    usual = np.abs(random.normal([0.01, 1.0, 0.01, 0.1], [0.03, 0.15, 0.008, 0.04], (2000, 4)))
    pull = np.array([0.8, 2.5, 0.08, 0.5]) * (share**0.8)[:, None]
    foreign = np.abs(random.normal([0.01, 1.0, 0.01, 0.1], [0.03, 0.2, 0.012, 0.05], (1500, 4)) + pull)
    usual[1000:, 3] = np.nan  # fitted only for some
    return Signals(names, usual, foreign, share, np.array([0.1, 1.6, 0.05, 0.25]))


def curve() -> Curve:
    step = np.arange(1.0, 65.0)
    measured = 0.5 + 2 * np.exp(-step / 8) + 0.0003 * (step - 30).clip(0) ** 2
    measured[np.arange(64) % 4 != 3] = np.nan
    simulated = 0.8 + 3 * np.exp(-step / 10)
    return Curve("mean error", "wt%", step, 4 * np.exp(-step / 9) - 1.5, {"simulated": simulated, "measured: round robin": measured}, 40.0, "measured: round robin")  # fmt: skip


def worst(random: np.random.Generator, p: int) -> tuple[WorstCase, ...]:
    axis = np.linspace(20, 100, 2000)
    found = []
    for k in range(3):
        parts = {}
        for name in names_of(p)[: 12 if p > 4 else p]:
            at = random.uniform(22, 98, 12)
            parts[name] = 900 * random.random() * np.exp(-0.5 * ((axis[:, None] - at) / 0.15) ** 2).sum(1)
        background = 80 + 60 * np.exp(-(axis - 20) / 25)
        calculated = background + sum(parts.values())
        measured = random.poisson(calculated * 1.03).astype(float)
        measured[900:960] = np.nan
        rows = tuple((n, f"{20 + k:.1f} wt%", f"{23.1 + k:.1f} +- 0.8 wt%") for n in list(parts)[:4])
        title = f"Pattern {k + 7}: {names_of(p)[0]} answered 4 sigma too low."
        found.append(
            WorstCase(title, axis, "2 theta (deg), Cu K-alpha", measured, calculated, background, parts, rows)
        )
    return tuple(found)


def build(p: int = 4, n: int = 3000, seed: int = 1) -> Evidence:
    random = np.random.default_rng(seed)
    simulated = quantities(random, n, p, 1.0)
    patterns = tuple(f"cpd-1{c}" for c in "abcdefgh")
    counted = np.array([k not in (0, 2) for k in range(8)])
    measured = quantities(
        random,
        8,
        p,
        1.4,
        patterns=patterns,
        counted=counted,
        remarks=("", "", "", "abstained: unknown-phase", "", "", "", ""),
    )
    return Evidence(
        Facts(
            "mysystem", "1", "Weight fractions of crystalline phases from a powder pattern.",
            {"2 theta": "20 to 100 deg at 1.5406 A", "crystallite size": "15 to 800 nm", "counts": "300 to 30000 at the highest peak"},
            ("It does not tell apart phases whose cells differ by less than 0.1 %.",),
            {"seed": "1", "epochs": "64", "members": "4"}, {"data_sha256": "9f" * 32, "weights_sha256": "0b" * 32}, 412.0,
            "streamproc train phase-map --cif corundum.cif zincite.cif fluorite.cif brucite.cif --wavelength 1.5406 --range 20 100 --seed 1 --out models/mysystem/1",
        ),
        Words("phase", "phases", "pattern", "patterns", "a phase that is not in the library"),
        curve(), simulated, measured, presence(random, simulated.truth, p), presence(random, measured.truth, p),
        signals(random), worst(random, p),
        (Table("Spread over seeds", ("seed", "mean error (wt%)"), (("1", "0.61"), ("2", "0.72"), ("3", "0.58")), "Three trainings."),),
        ("zincite.cif: no B values; 0.5 A^2 was taken.", "cpd-1a and cpd-1c stopped the training and are in no score."),
    )  # fmt: skip


@pytest.fixture(scope="session")
def make_evidence() -> Callable[..., Evidence]:
    return build
