"""The excitation fit with a lattice model: powder maps give force constants as spin maps give couplings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from streamproc.consumers._excitation_settings import ExcitationFitSettings
from streamproc.consumers.excitation_fit import ExcitationFit
from streamproc.models.excitations.maps.example_powder import (
    ALUMINIUM,
    powder_case,
    powder_counts,
    powder_run,
)

from streamproc.analysis import Example, Frame, LoadContext
from streamproc.errors import ConfigurationError
from streamproc.settings import InferenceSettings
from streamproc.testing.conformance import check_analysis

KEYS = {"q_keys": ["q"], "energy_key": "energy"}
ENERGY, Q = np.arange(8.5, 48.0, 1.0), np.arange(2.0, 8.1, 0.4)


def load(**table) -> ExcitationFit:
    settings = ExcitationFitSettings.model_validate({"model": "phonon-fcc", "map": {"keys": KEYS} | table})
    return ExcitationFit.load(settings, LoadContext(InferenceSettings()))


class PowderFit(ExcitationFit):
    """The same analysis with another example: a powder for a lattice model."""

    @classmethod
    def example(cls, folder):
        run, frames = powder_run()
        return Example({"model": "phonon-fcc", "map": {"keys": KEYS, "refine_every": 3}}, run, frames)


def frame(y, q=Q, energy=ENERGY) -> Frame:
    return Frame("run", "primary", 1, "counts", np.asarray(y), 1.7e9, {"q": q, "energy": energy})


def said(analysis, one: Frame):
    running = analysis.begin(powder_run()[0])
    results = [*running.update(running.process([one])), *running.end()]
    return {s.stream: s.values for s in results}


def counts(seed: int = 1, strength: float = 200.0) -> np.ndarray:
    return powder_counts(powder_case(), Q, ENERGY, ALUMINIUM, strength, seed)


@pytest.fixture(scope="module")
def analysis():
    return load(targets={"L1": 0.02}, temperature_K=4.6)


@pytest.fixture(scope="module")
def whole(analysis):
    return said(analysis, frame(counts()))


def test_the_analysis_passes_the_conformance_checks_with_a_lattice_model_too() -> None:
    assert {f.claim: f.fault for f in check_analysis(PowderFit) if f.fault} == {}


def test_a_powder_map_gives_force_constants_with_errors_that_hold(whole) -> None:
    fit = whole["fit"]
    assert fit["in_domain"], fit["reasons"]
    for name, truth in ALUMINIUM.items():
        found = fit[name]
        assert abs(found.value - truth) < 4 * found.sigma, (name, found)
        assert found.interval90[0] < found.value < found.interval90[1]
    assert fit["chi2_reduced"] < 1.3 and fit["explained"] > 0.9
    assert fit["X_longitudinal"].value == pytest.approx(39.6, abs=0.5)
    assert fit["transverse_maximum"].sigma > 0


def test_the_network_stands_beside_the_fit_with_its_own_interval(whole) -> None:
    network, fit = whole["map"]["L1"], whole["fit"]["L1"]
    assert network.sigma > 3 * fit.sigma
    assert network.interval90[0] - 1 < ALUMINIUM["L1"] < network.interval90[1] + 1
    assert not whole["fit"]["differs"], whole["fit"]["said"]


def test_keys_say_units_convention_neighbours_and_what_is_assumed(analysis) -> None:
    outputs = {o.name: o for o in analysis.outputs()}
    assert outputs["L1"].units == "N/m" and outputs["X_transverse"].units == "meV"
    assert "along the bond" in outputs["L1"].description and "across the bond" in outputs["T2"].description
    assert "12 neighbours at 2.851 angstrom" in outputs["L1"].description
    assert "6 neighbours at 4.032 angstrom" in outputs["L2"].description
    assert (
        "mass = 26.9815 u" in outputs["L1"].description and "each neighbour once" in outputs["L1"].description
    )
    covariance = next(o for o in analysis.run_outputs()["fit"] if o.name == "covariance")
    assert covariance.units == "(N/m)^2" and covariance.shape == (6, 6)
    details = analysis.provenance().details
    assert details["couplings"] == list(ALUMINIUM) and "Born-von Karman" in details["convention"]
    assert details["crystal"].startswith("fcc, a = 4.0325 angstrom")


def test_how_much_longer_to_count_and_where_next_is_said(whole) -> None:
    fit = whole["fit"]
    assert fit["time_factor"] == pytest.approx((fit["L1"].sigma / 0.02) ** 2, rel=1e-6)
    assert fit["counts_to_target"] == pytest.approx((fit["time_factor"] - 1) * counts().sum(), rel=1e-6)
    assert 1.0 <= fit["next_q"][0] <= 10.0 and fit["next_gain"] > 0
    assert 8.0 <= fit["next_energy"] <= 52.0


def test_the_elastic_line_and_energy_gain_do_not_matter(analysis, whole) -> None:
    wide = np.concatenate([np.arange(-20.5, 8.0, 1.0), ENERGY])
    y = np.concatenate([np.tile(1e5 * np.exp(-0.5 * (wide[:29] / 1.5) ** 2) + 5, (len(Q), 1)), counts()], 1)
    again = said(analysis, frame(np.round(y), energy=wide))
    assert again["fit"]["in_domain"], again["fit"]["reasons"]
    assert again["fit"]["L1"].value == pytest.approx(whole["fit"]["L1"].value, abs=whole["fit"]["L1"].sigma)


@pytest.mark.parametrize("what", ["columns elsewhere", "energies upside down"])
def test_maps_of_something_else_are_flagged_and_have_no_values(analysis, what: str) -> None:
    y = counts()
    order = np.random.default_rng(1).permutation(len(Q))
    wrong = y[order] if what == "columns elsewhere" else y[:, ::-1]
    fit = said(analysis, frame(wrong))["fit"]
    assert not fit["in_domain"] and fit["reasons"]
    assert np.isnan(fit["L1"].value) and np.isnan(fit["covariance"]).all()


def test_a_map_beyond_the_window_and_unknown_targets_are_errors(analysis) -> None:
    running = analysis.begin(powder_run()[0])
    high = replace(frame(counts()), readings={"q": Q, "energy": ENERGY + 60})
    (failed,) = running.process([high])
    assert "between 8 and 52 meV" in failed.reason
    with pytest.raises(ConfigurationError, match=r"targets names J.*phonon-fcc fits L1, T1, L2, T2, L3, T3"):
        load(targets={"J": 0.1})


def test_predict_says_force_constants_and_their_unit(analysis) -> None:
    running = analysis.begin(powder_run()[0])
    (result,) = running.process([frame(counts())])
    report = analysis.report(result)
    assert set(report["force_constants_N_m"]) == set(ALUMINIUM)
    assert set(report["derived_meV"]) >= {"transverse_maximum", "longitudinal_maximum"}
