"""What the excitation fit of maps declares, and an answer as a person reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamproc.models.excitations.maps.band import BAND_POINTS, modes_of
from streamproc.models.excitations.spinmodel.case import SpinCase

from streamproc.analysis import Estimate, FrameResult, Output

__all__ = ["frame_outputs", "key_of", "map_report", "run_outputs"]

_WHOLE = "Zc times {0} in H = sum over bonds of {0} S.S, each bond once; {1}"


def key_of(name: str) -> str:
    """Return the data key of a coupling: never a bare J."""
    return f"Zc*{name}"


def _couplings(case: SpinCase, ending: str = "", said: str = "") -> list[Output]:
    return [
        Output(key_of(n) + ending, "estimate", "meV", _WHOLE.format(n, case.spins) + said, (), True, True)
        for n in case.parameters.free
    ]


def _derived(case: SpinCase, ending: str = "", said: str = "") -> list[Output]:
    return [
        Output(d.name + ending, "estimate", "meV", (d.description or d.name) + said, (), True)
        for d in case.derived
    ]


def frame_outputs(case: SpinCase) -> tuple[Output, ...]:
    """Return the quantities of every result event: what the event says by itself."""
    return (
        *_couplings(case, said="; from this event alone"),
        *_derived(case),
        Output("cells", "number", "", "values of this event that are measured"),
        Output("distance", "number", "1", "how unlike the maps of this model the event looks"),
    )


def run_outputs(case: SpinCase) -> Mapping[str, tuple[Output, ...]]:
    """Return the quantities of the streams about the map so far."""
    p = len(case.parameters.free)
    so_far = (
        Output("seq_num", "number", "", "newest reading in it"),
        Output("columns", "number", "", "wave vectors so far"),
        Output("cells", "number", "", "measured cells so far"),
    )
    return {
        "map": (
            *so_far,
            *_couplings(case, said="; network, map so far"),
            *_derived(case),
            Output("covariance", "curve", "meV^2", "of the couplings, in their order", (p, p)),
            Output("distance", "number", "1", "how unlike the maps of this model it looks"),
            Output("in_domain", "flag", "", "the map may be this model's"),
            Output("reasons", "text", "", "why not"),
        ),
        "fit": (
            *so_far,
            *_couplings(case, said="; least squares over the whole map"),
            *_derived(case),
            Output("covariance", "curve", "meV^2", "of the couplings, in their order", (p, p)),
            Output("chi2_reduced", "number", "1", "sigmas are scaled by its root where above 1"),
            Output("explained", "number", "1", "share of the structure that the magnons explain"),
            Output("significance", "number", "1", "magnon intensity over its uncertainty"),
            Output("in_domain", "flag", "", "the map may be this model's; where not, values are NaN"),
            Output("reasons", "text", "", "why not"),
            Output("differs", "flag", "", "a coupling differs from the network's by more than 3 sigma"),
            Output("said", "text", "", "which, and by how much; or why there is no fit"),
            Output(
                "time_factor", "number", "1", "count so many times as long as so far to reach the targets"
            ),
            Output("events_to_target", "number", "", "further events like those so far until the targets"),
            Output(
                "counts_to_target", "number", "", "further counts until the targets, where data are counts"
            ),
            *_dispersion(case),
            Output("next_q", "curve", "r.l.u.", "wave vector that would tell most if measured next", (3,)),
            Output("next_energy", "number", "meV", "the energy there that would tell most"),
            Output("next_gain", "number", "nat", "information about the couplings expected of it"),
        ),
    }


def _dispersion(case: SpinCase) -> list[Output]:
    shape = (BAND_POINTS, modes_of(case))
    return [
        Output("dispersion_q", "curve", "r.l.u.", "places along the measured columns", (BAND_POINTS, 3)),
        Output("dispersion_energy", "curve", "meV", "energies of the modes there, rising", shape),
        Output("dispersion_sigma", "curve", "meV", "their standard uncertainties", shape),
    ]


def map_report(result: FrameResult, case: SpinCase, convention: str) -> dict[str, Any]:
    """Return an answer as `streamproc predict` prints it."""
    found = {k: v for k, v in result.values.items() if isinstance(v, Estimate)}
    return {
        "model": result.model_id,
        "convention": convention,
        "couplings_meV": {key_of(n): _said(found[key_of(n)]) for n in case.parameters.free},
        "derived_meV": {d.name: _said(found[d.name]) for d in case.derived},
        "in_domain": result.in_domain,
        "reasons": list(result.reasons),
    }


def _said(found: Estimate) -> dict[str, Any]:
    return {"value": found.value, "sigma": found.sigma, "interval90": list(found.interval90 or ())}
