"""``streamproc hint``: crystal system and candidate cells of an unknown pattern, or that it cannot say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import click
import numpy as np
import numpy.typing as npt

from streamproc.errors import ConfigurationError, ContainedError, FrameFailed
from streamproc.frames.pattern_files import Pattern, read_pattern

__all__ = ["hint_command"]

Float = npt.NDArray[np.float64]

_AXES: dict[str, Literal["two_theta_deg", "q_invA"]] = {"2theta": "two_theta_deg", "q": "q_invA"}

_TOP_DEG = 120.0
"""Where the end of a q axis is put when no wavelength is given; spacings do not depend on it."""


@click.command("hint")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--wavelength", "wavelength_A", type=float, metavar="ANGSTROM", help="Wavelength (K-alpha1).")
@click.option("--ka2", is_flag=True, help="The beam holds K-alpha2 (Cr, Fe, Co, Cu, Mo, Ag).")
@click.option(
    "--axis", type=click.Choice(["2theta", "q"]), help="Axis of the pattern, where the file does not say."
)
@click.option(
    "--max-s", type=click.FloatRange(0.1, 3600), default=20.0, show_default=True, metavar="SECONDS",
    help="Time allowed for the search of one pattern.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per file, a line each.")
def hint_command(
    files: tuple[Path, ...],
    wavelength_A: float | None,
    ka2: bool,
    axis: str | None,
    max_s: float,
    as_json: bool,
) -> int:
    """Say what crystal the unknown pattern in each of FILES may come from.

    The peaks are looked for and indexed: probabilities of the crystal systems (cubic to monoclinic; trigonal
    counts as hexagonal) and candidate unit cells with figures of merit, or that nothing can be said.
    FILES are 1-D patterns (.xy .prn .xye .csv .chi .npz .xrdml .dat .txt) of one unknown phase; a few lines
    of others do not matter.

    \b
    Examples:
      streamproc hint unknown.xy --wavelength 1.5406 --ka2
      streamproc hint unknown.chi --axis q --json

    Exit code 1 when a file could not be read; saying nothing is an answer.
    """
    failed = False
    for file in files:
        try:
            answer = {"file": str(file), **_answer(file, wavelength_A, ka2, axis, max_s)}
        except ContainedError as error:
            answer, failed = {"file": str(file), "error": error.message}, True
        click.echo(json.dumps(answer) if as_json else "\n".join(_text(answer)))
    return 1 if failed else 0


def _answer(
    file: Path, wavelength_A: float | None, ka2: bool, axis: str | None, max_s: float
) -> dict[str, Any]:
    from streamproc.models.powder.emission import second_line
    from streamproc.models.powder.indexing import index_peaks
    from streamproc.models.powder.peaks import Doublet, find_peaks

    if not file.is_file():
        raise FrameFailed(f"{file}: no such file")
    pattern = read_pattern(file, _AXES.get(axis or ""), wavelength_A)
    two_theta, wavelength = _two_theta(file, pattern)
    beam = Doublet(wavelength, second_line(wavelength) if ka2 else None)
    variance = None if pattern.sigma is None else pattern.sigma**2
    found = find_peaks(two_theta, pattern.intensity, beam, variance)
    hint = index_peaks(found, wavelength, max_s)
    strongest = max((p.area for p in found.peaks), default=1.0)
    peaks = [
        {
            "position_deg": p.position_deg,
            "sigma_deg": p.sigma_deg,
            "d_A": p.d_A,
            "fwhm_deg": p.fwhm_deg,
            "relative_area": p.area / strongest,
            "significance": p.significance,
        }
        for p in found.peaks
    ]
    return {"wavelength_A": wavelength, "peaks": peaks, "hint": hint.as_dict()}


def _two_theta(file: Path, pattern: Pattern) -> tuple[Float, float]:
    """Axis in degrees two-theta, and the wavelength it belongs to."""
    if pattern.axis_kind == "two_theta_deg":
        if pattern.wavelength_A is None:
            raise ConfigurationError(
                f"{file}: a two-theta axis needs a wavelength: --wavelength ANGSTROM (1.5406 for Cu K-alpha1)"
            )
        return pattern.axis, pattern.wavelength_A
    top = float(pattern.axis[-1])
    wavelength = pattern.wavelength_A or 4 * np.pi * np.sin(np.deg2rad(_TOP_DEG / 2)) / top
    sine = pattern.axis * wavelength / (4 * np.pi)
    if sine[-1] >= 1:
        raise ConfigurationError(
            f"{file}: q up to {top:g} 1/angstrom cannot be reached with a wavelength of {wavelength:g} "
            "angstrom; leave --wavelength out, or give the right one"
        )
    return np.rad2deg(2 * np.arcsin(sine)), wavelength


def _text(answer: dict[str, Any]) -> Iterator[str]:
    yield click.style(answer["file"], bold=True)
    if "error" in answer:
        yield f"  {click.style('failed', fg='red')}: {answer['error']}"
        return
    hint = answer["hint"]
    yield f"  {len(answer['peaks'])} peaks, wavelength {answer['wavelength_A']:.5g} A"
    yield f"  {'2theta':>9} {'+-':>7} {'d (A)':>9} {'width':>7} {'area %':>7}"
    for p in answer["peaks"]:
        yield (
            f"  {p['position_deg']:9.3f} {p['sigma_deg']:7.4f} {p['d_A']:9.4f} {p['fwhm_deg']:7.3f}"
            f" {100 * p['relative_area']:7.1f}"
        )
    yield from _verdict(hint)


def _verdict(hint: dict[str, Any]) -> Iterator[str]:
    used = f"{hint['lines_used']} of {hint['lines_given']} lines used"
    if hint["abstained"]:
        yield f"  {click.style('cannot say', fg='yellow')}: {hint['abstained']} ({used})"
    likely = sorted(hint["systems"].items(), key=lambda kv: -kv[1])
    shares = ", ".join(f"{name} {share:.1%}" for name, share in likely if share >= 0.001)
    yield f"  system        {shares} (the highest that the lines allow; a lower one may have nearly its cell)"
    for i, c in enumerate(hint["cells"], 1):
        share = click.style(format(c["probability"], ".1%"), bold=True)
        lattice = f"{c['system']} {c['centring']}"
        yield f"  candidate {i}   {share}  {lattice}  {_cell(c)}  V = {c['volume_A3']:.1f} A^3"
        yield (
            f"                M{c['lines']} = {c['M']:.1f}, F{c['lines']} = {c['F']:.1f}; explains "
            f"{c['indexed']} of {c['used']} lines, predicts {c['predicted']}; "
            f"zero shift {c['zero_deg']:+.3f} deg"
        )
        for note in c["related"]:
            yield f"                {note}"
    for note in hint["unfinished"]:
        yield f"  {click.style('not finished', fg='yellow')}: {note}; allow more time with --max-s"


def _cell(candidate: dict[str, Any]) -> str:
    """The free numbers of a cell, with uncertainties."""
    a, b, c, _, beta, _ = (
        f"{v:.4f}({s:.4f})" for v, s in zip(candidate["cell"], candidate["sigma"], strict=True)
    )
    system = candidate["system"]
    if system == "cubic":
        return f"a = {a}"
    if system in ("hexagonal", "tetragonal"):
        return f"a = {a}, c = {c}"
    angle = f", beta = {beta}" if system == "monoclinic" else ""
    return f"a = {a}, b = {b}, c = {c}{angle}"
