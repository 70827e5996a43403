"""What the phase map of known phases declares, and an answer as a person reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamproc.analysis import Estimate, FrameResult, Output

__all__ = ["CHANGE_POINTS", "LINES", "answer_report", "frame_outputs", "run_outputs"]

LINES = 10
"""Strongest lines said of an unexplained kind of pattern."""

_STATES = (
    ("strain", "1", "linear lattice strain of {} against its reference cell"),
    ("size_nm", "nm", "apparent crystallite size of {}"),
    ("march_r", "1", "texture of {}: March-Dollase r, 1 without"),
)


def frame_outputs(labels: Sequence[str]) -> tuple[Output, ...]:
    """Return the quantities of every result event, for these phases."""
    phases = [
        Output(p, "estimate", "1", f"weight fraction of {p} among the known phases", (), True, True)
        for p in labels
    ]
    presence = [Output(f"{p}_presence", "number", "1", f"probability that {p} is there") for p in labels]
    states = [
        Output(f"{p}_{name}", "estimate", units, f"{said.format(p)}; NaN where it cannot be read")
        for p in labels
        for name, units, said in _STATES
    ]
    classical = [Output(f"{p}_classical", "number", "1", f"{p} by the classical fit") for p in labels]
    return (
        *phases,
        Output("amorphous", "estimate", "1", "amorphous share of the scattering", (), True),
        Output("unknown", "estimate", "1", "share of intensity from unknown material", (), True),
        Output("foreign", "number", "1", "probability that there is material beside the known phases"),
        *presence,
        *states,
        *classical,
        Output("rwp", "number", "1", "weighted profile residual of the classical fit"),
        Output("unexplained", "number", "1", "share of peak intensity that the classical fit leaves over"),
        Output("coverage", "number", "1", "share of the model's axis that was measured"),
    )


def run_outputs(labels: Sequence[str], map_points: int) -> Mapping[str, Sequence[Output]]:
    """Return the quantities of the streams about the run."""
    return {
        "refined": _refined(labels),
        "map": _map(len(labels), map_points),
        "unexplained": _UNEXPLAINED,
        "change_points": CHANGE_POINTS,
        "summary": _summary(labels),
    }


def _refined(labels: Sequence[str]) -> tuple[Output, ...]:
    phases: list[Output] = []
    for p in labels:
        phases += [
            Output(p, "estimate", "1", f"refined weight fraction of {p}", (), True, True),
            Output(f"{p}_strain", "estimate", "1", f"refined linear lattice strain of {p}"),
            Output(
                f"{p}_cell", "curve", "", f"a, b, c (angstrom), alpha, beta, gamma (degrees) of {p}", (6,)
            ),
            Output(
                f"{p}_cell_esd", "curve", "", "their standard deviations; 0 where symmetry fixes them", (6,)
            ),
            Output(f"{p}_size_nm", "estimate", "nm", f"refined crystallite size of {p}"),
            Output(f"{p}_march_r", "estimate", "1", f"refined March-Dollase r of {p}"),
            Output(f"{p}_textured", "flag", "", f"r of {p} lies more than 10 % from 1, with 95 % confidence"),
        ]
    return (
        Output("seq_num", "number", "", "reading that was refined"),
        *phases,
        Output("rwp", "number", "1", "weighted profile residual"),
        Output("rexp", "number", "1", "the value counting noise alone would give"),
        Output(
            "chi2_reduced", "number", "1", "reduced chi-square; esds are scaled by its root where above 1"
        ),
        Output("unexplained", "number", "1", "share of peak intensity that is left over"),
        Output("converged", "flag", "", "the descent ended by itself"),
        Output("differs", "flag", "", "a fraction differs from the fast answer by more than 3 sigma"),
        Output("said", "text", "", "which fractions differ and by how much, or why there is no refinement"),
    )


def _map(k: int, m: int) -> tuple[Output, ...]:
    return (
        Output("points", "number", "", "readings so far"),
        Output("regions", "number", "", "regions so far"),
        Output("seq_nums", "curve", "", "reading of each row; NaN: no row", (m,)),
        Output("places", "curve", "", "coordinates (start: map_axes)", (m, 3)),
        Output("labels", "curve", "", "number of the phase that the region is named after, from 0", (m,)),
        Output("confidence", "curve", "1", "probability of the label", (m,)),
        Output("shares", "curve", "1", "weight fraction of each phase", (m, k)),
    )


_UNEXPLAINED = (
    Output("number", "number", "", "counts the kinds; a later event of a number takes its place"),
    Output("points", "number", "", "readings of this kind so far"),
    Output("first_seq_num", "number", "", "first of them"),
    Output("last_seq_num", "number", "", "last of them"),
    Output(
        "where",
        "curve",
        "",
        "mean coordinates, weighted by the unexplained intensity (start: map_axes)",
        (3,),
    ),
    Output("lines_A", "curve", "angstrom", "spacings of the strongest lines", (LINES,)),
    Output("lines_area", "curve", "1", "their areas over the strongest", (LINES,)),
    Output("hint", "text", "", "crystal system and cells with probability, or empty: nothing can be said"),
)

CHANGE_POINTS = (
    Output("number", "number", "", "counts the change points; a later event of a number takes its place"),
    Output("series_key", "text", "", "motor or reading that the series runs over; position has its unit"),
    Output("quantity", "text", "", "what changes"),
    Output("position", "estimate", "", "where", (), True, True),
    Output("log10_bayes_factor", "number", "1", "for this change against none"),
    Output("kind", "text", "", "jump, kink, or gradual (from begin to end)"),
    Output("branch", "number", "", "0 until the series turns round, then 1, ..."),
    Output("significant", "flag", "", "false withdraws it"),
    Output("points", "number", "", "readings so far"),
    Output("begin", "number", "", "of a gradual change: where it begins"),
    Output("end", "number", "", "of a gradual change: where it ends"),
)


def _summary(labels: Sequence[str]) -> tuple[Output, ...]:
    means = [Output(f"{p}_mean", "number", "1", f"mean of {p} over points in domain") for p in labels]
    return (
        Output("points", "number", "", "readings answered"),
        Output("points_in_domain", "number", "", "of these, those for which the model may be believed"),
        Output("points_bad", "number", "", "of these, bad readings, of which nothing is said"),
        Output("points_refined", "number", "", "readings refined"),
        Output(
            "points_differ", "number", "", "of these, those where fast and refined differ by over 3 sigma"
        ),
        Output("regions", "number", "", "regions of the map"),
        Output("unexplained_kinds", "number", "", "kinds of unexplained patterns"),
        Output("change_points", "number", "", "change points that stand"),
        *means,
    )


def answer_report(result: FrameResult, labels: Sequence[str]) -> dict[str, Any]:
    """Return an answer as `streamproc predict` prints it."""
    values = result.values
    found = {k: v for k, v in values.items() if isinstance(v, Estimate)}
    phases = {
        p: {
            "fraction": found[p].value,
            "sigma": found[p].sigma,
            "interval90": list(found[p].interval90 or ()),
            "presence": values[f"{p}_presence"],
            **{s: _or_none(found[f"{p}_{s}"]) for s, *_ in _STATES},
        }
        for p in labels
    }
    return {
        "model": result.model_id,
        "phases": phases,
        "amorphous": found["amorphous"].value,
        "amorphous_sigma": found["amorphous"].sigma,
        "unknown": found["unknown"].value,
        "unknown_sigma": found["unknown"].sigma,
        "foreign": values["foreign"],
        "in_domain": result.in_domain,
        "reasons": list(result.reasons),
        "residual": {
            "rwp": values["rwp"],
            "unexplained": values["unexplained"],
            "classical": {p: values[f"{p}_classical"] for p in labels},
        },
        "coverage": values["coverage"],
    }


def _or_none(found: Estimate) -> list[float] | None:
    """Value and sigma; None where the pattern does not say."""
    return None if found.value != found.value else [found.value, found.sigma]
