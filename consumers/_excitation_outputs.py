"""What the excitation fit of spectra declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streamproc.models.excitations.oscillators.parameters import MOST_MODES, PER_MODE

from streamproc.analysis import Output

__all__ = ["frame_outputs", "run_outputs"]

_MEANING = {
    "energy": "energy W of mode {}",
    "width": "full width at half maximum G of mode {}; overdamped where G > 2 W",
    "amplitude": "area of mode {} at T = 0 on the loss side if it were sharp (Z), per monitor count if any",
}


def frame_outputs(units: str) -> tuple[Output, ...]:
    """Return the quantities of every result event; energies in ``units``."""
    per = {"energy": units, "width": units, "amplitude": f"intensity {units}"}
    modes: list[Output] = []
    for k in range(1, MOST_MODES + 1):
        for name in PER_MODE:
            said = f"{_MEANING[name].format(k)}; NaN: no such mode"
            modes.append(Output(f"{name}_{k}", "estimate", per[name], said, (), True, name == "energy"))
        modes.append(Output(f"overdamped_{k}", "flag", "", f"mode {k} does not oscillate any more"))
        modes += [
            Output(f"{name}_{k}_classical", "number", per[name], f"{name} {k} by the independent fit")
            for name in PER_MODE
        ]
    return (
        Output("modes", "number", "1", "number of modes", (), False, False),
        Output("modes_probability", "number", "1", "probability of that number, by the network"),
        Output("modes_classical", "number", "1", "number by the independent fit (BIC); NaN: not asked"),
        *modes,
        Output("covariance", "curve", "", "of energy_1, width_1, amplitude_1, energy_2, ...", _COVARIANCE),
        Output("zero", "estimate", units, "where energy loss 0 is on the axis"),
        Output("elastic", "estimate", f"intensity {units}", "area of the elastic line"),
        Output("background", "estimate", "intensity", "constant background"),
        Output("differs", "flag", "", "the independent fit differs by more than 3 sigma"),
        Output("searched", "flag", "", "the network's start did not explain the spectrum; a search did"),
        Output("chi2_reduced", "number", "1", "Pearson's chi-square per degree of freedom"),
        Output("distance", "number", "1", "distance of the spectrum from those of the training"),
        Output("misfit", "number", "1", "chi-square beyond its expectation, in its standard deviations"),
        Output("leftover", "number", "1", "largest line or dip that the fit leaves over (sigmas)"),
        Output("counts", "number", "1", "counts in the spectrum (equivalent ones where errors were given)"),
        Output("counts_needed", "number", "1", "counts still needed for target_energy_sigma; NaN: no target"),
        Output("time_needed_s", "number", "s", "time still needed for it; NaN: no target or no time_key"),
        Output("next_energy", "number", units, "where one more second tells most about the modes"),
    )


_COVARIANCE = (3 * MOST_MODES, 3 * MOST_MODES)


def run_outputs(units: str, form: str, points: int) -> Mapping[str, Sequence[Output]]:
    """Return the quantities of the streams about the run."""
    k, m = MOST_MODES, points
    scale = {"linear": f"slope of the branch ({units} per unit of q)", "none": "no branch is fitted"}
    return {
        "dispersion": (
            Output("points", "number", "", "readings so far"),
            Output("seq_nums", "curve", "", "reading of each row; NaN: no row", (m,)),
            Output("q", "curve", "", "momentum or motor from q_zero (start: q_key)", (m,)),
            Output("energies", "curve", units, "energy of each mode; NaN: no mode", (m, k)),
            Output("energies_sigma", "curve", units, "its sigma", (m, k)),
            Output("widths", "curve", units, "width of each mode", (m, k)),
            Output("widths_sigma", "curve", units, "its sigma", (m, k)),
            Output("branch_mode", "curve", "", "which mode belongs to the branch, from 1; NaN: none", (m,)),
            Output(
                "branch", "estimate", units, scale.get(form, f"energy at the zone boundary ({units})"),
                (), True, True,
            ),
            Output("branch_chi2_reduced", "number", "1", "of the branch; its sigma is widened where above 1"),
        ),
        "summary": (
            Output("points", "number", "", "readings answered"),
            Output("points_in_domain", "number", "", "of these, those for which the fit may be believed"),
            Output("points_differ", "number", "", "where the independent fit differs by more than 3 sigma"),
            Output("points_searched", "number", "", "where the search took over from the network's start"),
            Output("most_modes", "number", "", "largest number of modes in a reading in domain"),
        ),
    }  # fmt: skip
