"""What is said of lattice defects: outputs and values of the events, flags, alarms and checks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from streamproc.consumers._cake_reader import CakeLook
from streamproc.consumers._defect_reader import Look
from streamproc.models.defects.evidence import ReflectionEvidence
from streamproc.models.defects.network.estimate import Estimate as Found
from streamproc.models.defects.scan_alarms import Alarm

from streamproc.analysis import Estimate, Output, RunResult

__all__ = [
    "ALARMS",
    "CAKE_ESTIMATES",
    "CHECKS",
    "ESTIMATES",
    "FLAGS",
    "SUMMARY",
    "alarm_said",
    "cake_outputs",
    "cake_values",
    "defect_run_outputs",
    "estimate_outputs",
    "estimate_values",
    "evidence_text",
]

FLAGS, ALARMS, CHECKS, SUMMARY = "defect_flags", "alarms", "defect_checks", "summary"

_NAN = float("nan")
_MOST_LINES = 4
CAKE_ESTIMATES = {
    "texture": ("1", "texture strength: sqrt(J - 1) of a fibre, 0 without"),
    "spottiness": ("1", "relative scatter of the first ring's intensity by its number of grains"),
    "spots": ("1", "grains that diffract into the first ring"),
    "grains": ("1", "grains in the beam, for the acceptance of the settings"),
}
"""What the pair of a defect model says of the rings of an image."""

_SHOWN = ("texture", "spottiness", "density_per_m2", "size_nm", "microstrain", "deformation", "growth")

ESTIMATES = {
    "density_per_m2": ("1/m^2", "dislocation density"),
    "size_nm": ("nm", "area-weighted mean diameter of coherent domains"),
    "microstrain": ("1", "root mean square strain along h00 over 10 nm"),
    "q": ("1", "contrast parameter of the dislocations: edge or screw"),
    "static_b_A2": ("Angstrom^2", "static displacements, point defects: what they add to B"),
    "march_r": ("1", "texture: March-Dollase r, 1 without"),
    "deformation": ("1", "stacking faults per layer (intrinsic)"),
    "growth": ("1", "twin faults per layer"),
    "amorphous": ("1", "amorphous share of the intensity"),
}


def estimate_outputs(names: Sequence[str]) -> tuple[Output, ...]:
    """Return the outputs of every event: an estimate each, and whether they may be used."""
    rows = [
        Output(f"defect_{name}", "estimate", *ESTIMATES.get(name, ("", name)), (), True, name in _SHOWN)
        for name in names
    ]
    return (
        *rows,
        Output(
            "defect_strain", "number", "1", "lattice strain against the model's cell; NaN: too few lines say"
        ),
        Output("defect_in_domain", "flag", "", "the defect estimates may be used"),
    )


def estimate_values(names: Sequence[str], look: Look, bad: bool, model_id: str) -> dict[str, Any]:
    """Return the values of :func:`estimate_outputs`; NaN for a bad reading and out of domain."""
    usable = look.usable and not bad
    found = look.reading.estimates if usable and look.reading is not None else {}
    values: dict[str, Any] = {f"defect_{name}": _published(found.get(name), model_id) for name in names}
    return values | {"defect_in_domain": usable, "defect_strain": look.strain if usable else _NAN}


def cake_outputs(names: Sequence[str]) -> tuple[Output, ...]:
    """Return the outputs of every event about the rings of an image."""
    rows = [
        Output(f"defect_{n}", "estimate", *CAKE_ESTIMATES.get(n, ("", n)), (), True, n in _SHOWN)
        for n in names
    ]
    return (
        *rows,
        Output("defect_cake_in_domain", "flag", "", "the estimates from the rings may be used"),
        Output("defect_cake_absent", "text", "", "why there are no rings over azimuth; empty: there are"),
    )


def cake_values(names: Sequence[str], look: CakeLook, bad: bool, model_id: str) -> dict[str, Any]:
    """Return the values of :func:`cake_outputs`; NaN for a bad reading, out of domain and without a cake."""
    usable = look.usable and not bad
    found = look.reading.estimates if usable and look.reading is not None else {}
    values: dict[str, Any] = {f"defect_{name}": _published(found.get(name), model_id) for name in names}
    return values | {"defect_cake_in_domain": usable, "defect_cake_absent": look.absent}


def _published(found: Found | None, model_id: str) -> Estimate:
    """An estimate as events have it; NaN where there is none."""
    if found is None:
        return Estimate(_NAN, _NAN, False, model_id, (_NAN, _NAN))
    return Estimate(found.value, found.sigma, found.says_something, model_id, (found.low, found.high))


def evidence_text(evidence: Mapping[str, Sequence[ReflectionEvidence]]) -> str:
    """Return the reflections of each defect as JSON: [indices, support], the strongest first."""
    listed = {n: [[r.hkl, r.support] for r in rows[:_MOST_LINES]] for n, rows in evidence.items()}
    return json.dumps(listed, sort_keys=True) if listed else ""


def defect_run_outputs(
    limits: Sequence[str], watched: Sequence[str], with_rings: bool = False
) -> dict[str, tuple[Output, ...]]:
    """Return the streams about the run."""
    known = ESTIMATES | CAKE_ESTIMATES
    flags = [
        Output(
            f"defect_flag_{n}",
            "flag",
            "",
            f"{known.get(n, ('', n))[1]} is beyond its limit",
            (),
            False,
            True,
        )
        for n in limits
    ]
    sums = [
        o
        for n in watched
        for o in (
            Output(f"defect_cusum_{n}", "number", "1", f"cumulative sum of {n} over its limit"),
            Output(f"defect_alarm_{n}", "flag", "", f"{n} has begun to change; stays up"),
        )
    ]
    reading = Output("seq_num", "number", "", "reading that is judged")
    return {
        FLAGS: (
            reading,
            Output("defect_judged", "flag", "", "good data, and the model may be believed"),
            *([Output("defect_cake_judged", "flag", "", "the same for the rings")] if with_rings else []),
            *flags,
            *sums,
            Output(
                "defect_evidence", "text", "", "JSON: reflections that carry each flag, and their support"
            ),
            Output("reasons", "text", "", "why the reading is not judged, or which flags are up"),
        ),
        ALARMS: _ALARM,
        CHECKS: _CHECK,
        SUMMARY: _SUMMARY,
    }


def _numbers(*rows: tuple[str, str, str]) -> tuple[Output, ...]:
    return tuple(Output(name, "number", units, said) for name, units, said in rows)


_ALARM = (
    Output("quantity", "text", "", "estimate that has begun to change"),
    *_numbers(
        ("seq_num", "", "reading at which the alarm rose"),
        ("onset_seq_num", "", "reading since which it has been changing"),
        ("frames_before", "1", "good readings before the onset"),
    ),
    Output("value", "estimate", "", "the estimate at the alarm", (), True, True),
    *_numbers(
        ("before", "", "mean before the onset, in the estimate's unit"),
        ("change_sigma", "1", "change over the scatter before the onset"),
        ("cusum", "1", "cumulative sum"),
        ("limit", "1", "its limit"),
        (
            "frames_per_false_alarm",
            "1",
            "good readings between false alarms, all quantities together",
        ),
    ),
    Output("evidence", "text", "", "JSON: reflections that carry it, and their support"),
    Output("said", "text", "", "the alarm in a sentence"),
)

_CHECK = (
    Output("seq_num", "number", "", "reading that was checked"),
    Output("why", "text", "", "why this reading"),
    *_numbers(
        ("lines", "1", "lines that stand alone"),
        ("wh_size_nm", "nm", "Williamson-Hall: volume-weighted size"),
        ("wh_strain", "1", "Williamson-Hall: strain"),
        ("wh_misfit", "1", "Williamson-Hall: misfit over the mean breadth"),
        ("mwh_size_nm", "nm", "modified Williamson-Hall: volume-weighted size"),
        ("mwh_density_per_m2", "1/m^2", "modified Williamson-Hall: dislocation density for M = 1"),
        ("mwh_misfit", "1", "modified Williamson-Hall: misfit over the mean breadth"),
        ("warren_deformation", "1", "stacking faults by Warren's shifts"),
        ("warren_deformation_sigma", "1", "its standard deviation"),
        ("warren_broadening", "1", "1.5 alpha + beta by Warren's broadening"),
        ("network_density_per_m2", "1/m^2", "the model's dislocation density"),
        ("network_size_nm", "nm", "the model's area-weighted size"),
        ("network_deformation", "1", "the model's stacking faults"),
        ("network_broadening", "1", "1.5 alpha + beta of the model's estimates"),
    ),
    Output("evidence", "text", "", "JSON: reflections that carry each estimate, and their support"),
    Output("said", "text", "", "why there is no check; empty: there is one"),
)

_SUMMARY = (
    *_numbers(
        ("readings", "1", "readings of the run"),
        ("bad", "1", "of them with bad data"),
        ("out_of_domain", "1", "of the others, those the model may not be believed for"),
        ("judged", "1", "readings whose defects were judged"),
        ("flagged", "1", "readings with a defect flag"),
        ("alarms", "1", "alarms that rose"),
    ),
    Output("said", "text", "", "what happened, in sentences"),
)


def alarm_said(
    alarm: Alarm, look: Look, frames_per_false_alarm: float, evidence: str, model_id: str
) -> RunResult:
    """Return the event of stream ``alarms``."""
    found = look.estimates()[alarm.quantity]  # an alarm rises on a judged reading only
    before = found.in_units(alarm.before)
    change = (alarm.now - alarm.before) / alarm.scatter if alarm.scatter > 0 else float("inf")
    name = (ESTIMATES | CAKE_ESTIMATES).get(alarm.quantity, ("", alarm.quantity))[1]
    said = (
        f"{name} ({alarm.quantity}) is {found.value:.3g}, was {before:.3g} over {alarm.frames} readings; "
        f"changing since reading {alarm.onset_seq_num}"
    )
    return RunResult(
        ALARMS,
        {
            "quantity": alarm.quantity,
            "seq_num": float(alarm.seq_num),
            "onset_seq_num": float(alarm.onset_seq_num),
            "frames_before": float(alarm.frames),
            "value": Estimate(found.value, found.sigma, True, model_id, (found.low, found.high)),
            "before": before,
            "change_sigma": change,
            "cusum": alarm.total,
            "limit": alarm.limit,
            "frames_per_false_alarm": frames_per_false_alarm,
            "evidence": evidence,
            "said": said,
        },
    )
