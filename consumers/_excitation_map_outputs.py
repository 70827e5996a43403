"""What the excitation fit of maps declares, and an answer as a person reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamproc.models.excitations.mapmodel.case import MapCase
from streamproc.models.excitations.maps.band import BAND_POINTS, modes_of

from streamproc.analysis import Estimate, FrameResult, Output

__all__ = ["frame_outputs", "map_report", "run_outputs"]


def _parameters(case: MapCase, said: str) -> list[Output]:
    return [
        Output(case.key_of(n), "estimate", case.words.units, case.meaning(n) + said, (), True, True)
        for n in case.parameters.free
    ]


def _derived(case: MapCase) -> list[Output]:
    return [Output(d.name, "estimate", "meV", d.description or d.name, (), True) for d in case.derived]


def frame_outputs(case: MapCase) -> tuple[Output, ...]:
    """Return the quantities of every result event: what the event says by itself."""
    return (
        *_parameters(case, said="; from this event alone"),
        *_derived(case),
        Output("cells", "number", "", "values of this event that are measured"),
        Output("distance", "number", "1", "how unlike the maps of this model the event looks"),
    )


def run_outputs(case: MapCase) -> Mapping[str, tuple[Output, ...]]:
    """Return the quantities of the streams about the map so far."""
    p, words = len(case.parameters.free), case.words
    square = f"{words.units}^2" if words.units.isalnum() else f"({words.units})^2"
    covariance = Output("covariance", "curve", square, f"of the {words.many}, in their order", (p, p))
    so_far = (
        Output("seq_num", "number", "", "newest reading in it"),
        Output("columns", "number", "", "wave vectors so far"),
        Output("cells", "number", "", "measured cells so far"),
    )
    return {
        "map": (
            *so_far,
            *_parameters(case, said="; network, map so far"),
            *_derived(case),
            covariance,
            Output("distance", "number", "1", "how unlike the maps of this model it looks"),
            Output("in_domain", "flag", "", "the map may be this model's"),
            Output("reasons", "text", "", "why not"),
        ),
        "fit": (
            *so_far,
            *_parameters(case, said="; least squares over the whole map"),
            *_derived(case),
            covariance,
            Output("chi2_reduced", "number", "1", "sigmas are scaled by its root where above 1"),
            Output("explained", "number", "1", f"share of the structure that the {words.signal} explain"),
            Output("significance", "number", "1", f"intensity of the {words.signal} over its uncertainty"),
            Output("in_domain", "flag", "", "the map may be this model's; where not, values are NaN"),
            Output("reasons", "text", "", "why not"),
            Output("differs", "flag", "", f"a {words.one} differs from the network's by more than 3 sigma"),
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
            Output("next_gain", "number", "nat", f"information about the {words.many} expected of it"),
        ),
    }


def _dispersion(case: MapCase) -> list[Output]:
    shape = (BAND_POINTS, modes_of(case))
    return [
        Output("dispersion_q", "curve", "r.l.u.", "places along the measured columns", (BAND_POINTS, 3)),
        Output("dispersion_energy", "curve", "meV", "energies of the modes there, rising", shape),
        Output("dispersion_sigma", "curve", "meV", "their standard uncertainties", shape),
    ]


def map_report(result: FrameResult, case: MapCase, convention: str) -> dict[str, Any]:
    """Return an answer as `streamproc predict` prints it."""
    found = {k: v for k, v in result.values.items() if isinstance(v, Estimate)}
    return {
        "model": result.model_id,
        "convention": convention,
        case.words.heading: {k: _said(found[k]) for k in map(case.key_of, case.parameters.free)},
        "derived_meV": {d.name: _said(found[d.name]) for d in case.derived},
        "in_domain": result.in_domain,
        "reasons": list(result.reasons),
    }


def _said(found: Estimate) -> dict[str, Any]:
    return {"value": found.value, "sigma": found.sigma, "interval90": list(found.interval90 or ())}
