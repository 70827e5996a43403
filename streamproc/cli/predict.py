"""``streamproc predict``: an analysis on files, without a broker."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from streamproc.analysis import Analysis, Frame, FrameFailure
from streamproc.cli.wiring import load_analysis, settings_of
from streamproc.documents import Position
from streamproc.errors import ConfigurationError, ContainedError, FrameFailed
from streamproc.frames.pattern_files import PATTERN_SUFFIXES, is_image, read_image, read_pattern
from streamproc.frames.pattern_text import read_columns
from streamproc.loading import find_analysis
from streamproc.reduction.geometry import load_geometry
from streamproc.runs import Run
from streamproc.settings import Settings, merge_tables

__all__ = ["predict_command"]

_KEY = "frame"
_AXIS, _ERROR = "axis", "error"
_AXES: dict[str, Literal["two_theta_deg", "q_invA"]] = {"2theta": "two_theta_deg", "q": "q_invA"}


@dataclass(frozen=True, slots=True)
class _Input:
    """What a file holds, as a frame and the settings that go with it."""

    frame: Frame
    settings: dict[str, Any]


@click.command("predict")
@click.argument("analysis")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--config",
    "-c",
    type=click.Path(path_type=Path),
    help="Settings file, for [analysis.NAME] and [inference].",
)
@click.option("--model", help="NAME, NAME:VERSION or an .onnx file; overrides the settings.")
@click.option("--poni", type=click.Path(path_type=Path), help="Geometry (.poni) of detector images.")
@click.option("--mask", type=click.Path(path_type=Path), help="Mask of detector images (non-zero: not used).")
@click.option(
    "--flip",
    type=click.Choice(["none", "rows", "columns", "both"]),
    help="How detector images lie to the geometry (Dioptas calibrations need rows).",
)
@click.option(
    "--axis", type=click.Choice(["2theta", "q"]), help="Axis of 1-D patterns, where the file does not say."
)
@click.option(
    "--wavelength", "wavelength_A", type=float, metavar="ANGSTROM", help="Wavelength of 1-D patterns."
)
@click.option(
    "--temperature", "temperature_K", type=click.FloatRange(min=0), metavar="KELVIN",
    help="Temperature of the sample, for spectra.",
)  # fmt: skip
@click.option(
    "--resolution", "fwhm", type=click.FloatRange(min=0, min_open=True), metavar="FWHM",
    help="Gaussian resolution of spectra, in the unit of their energies.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per file, a line each.")
def predict_command(
    analysis: str,
    files: tuple[Path, ...],
    config: Path | None,
    model: str | None,
    poni: Path | None,
    mask: Path | None,
    flip: str | None,
    axis: str | None,
    wavelength_A: float | None,
    temperature_K: float | None,
    fwhm: float | None,
    as_json: bool,
) -> int:
    """Run ANALYSIS on FILES: the same reduction and model as the live service.

    FILES are detector images (.tif .edf .cbf .npy, or file.h5::/dataset) with --poni, or 1-D patterns
    (.xy .prn .xye .csv .chi .npz .xrdml .dat .txt), axis 2theta in degrees or q in 1/angstrom. For
    excitation-fit they are spectra in text files: energy loss, counts, and an error where the title says so.

    \b
    Examples:
      streamproc predict phase-map sample.xy
      streamproc predict phase-map frame_0001.tif --poni geometry.poni --json
      streamproc predict excitation-fit phonon.dat --temperature 300 --resolution 1.5

    Exit code 1 when a file could not be read or analysed (the others are answered).
    """
    settings = settings_of(config)
    extra = _reduction(poni, mask, flip) | ({"model": _absolute(model)} if model else {})
    extra |= {"temperature_K": temperature_K} if temperature_K is not None else {}
    extra |= {"resolution": {"fwhm": fwhm}} if fwhm is not None else {}
    loaded: dict[str, Analysis] = {}
    failed = False
    for file in files:
        answer = {"file": str(file), **_answer(analysis, file, settings, extra, axis, wavelength_A, loaded)}
        failed = failed or "error" in answer
        click.echo(json.dumps(_plain(answer)) if as_json else "\n".join(_lines(answer)))
    return 1 if failed else 0


def _answer(
    name: str, file: Path, settings: Settings, extra: dict[str, Any], axis: str | None,
    wavelength_A: float | None, loaded: dict[str, Analysis],
) -> dict[str, Any]:  # fmt: skip
    try:
        if _reads_spectra(name):
            given = _spectrum(file)
        else:
            given = _read(file, axis, wavelength_A, _geometry(name, settings, extra))
        table = merge_tables(given.settings, extra)
        kind = json.dumps(table, sort_keys=True, default=str)
        if kind not in loaded:
            loaded[kind] = load_analysis(name, settings, table)
        analysis = loaded[kind]
        result = analysis.begin(_run(given.frame)).process([given.frame])[0]
    except ContainedError as error:
        return {"error": error.message}
    if isinstance(result, FrameFailure):
        return {"error": result.reason}
    return dict(analysis.report(result))


def _reads_spectra(name: str) -> bool:
    """Whether the axis of an analysis's frames is an energy."""
    return "energy_units" in getattr(find_analysis(name).Settings, "model_fields", {})


def _spectrum(file: Path) -> _Input:
    """Read energy loss, intensity and, where a title names it, its error."""
    if not file.is_file():
        raise FrameFailed(f"{file}: no such file")
    columns = read_columns(file)
    rows = columns.rows
    readings: dict[str, Any] = {_AXIS: rows[:, 0]}
    table = {"axis_key": _AXIS}
    if columns.third == "sigma" and rows.shape[1] > 2:
        readings[_ERROR] = rows[:, 2]
        table["error_key"] = _ERROR
    return _Input(_frame(rows[:, 1], readings), table)


def _read(file: Path, axis: str | None, wavelength_A: float | None, geometry: Path | None) -> _Input:
    name = str(file).partition("::")[0]
    if not Path(name).is_file():
        raise FrameFailed(f"{name}: no such file")
    if Path(name).suffix.lower() in PATTERN_SUFFIXES:
        pattern = read_pattern(file, _AXES.get(axis or ""), wavelength_A)
        frame = _frame(pattern.intensity, {_AXIS: pattern.axis})
        table = {"axis_key": _AXIS, "axis_kind": pattern.axis_kind, "wavelength_A": pattern.wavelength_A}
        return _Input(frame, table)
    if not is_image(file):
        raise FrameFailed(
            f"{file}: neither a detector image nor a pattern file ({' '.join(sorted(PATTERN_SUFFIXES))})"
        )
    if geometry is None:
        raise ConfigurationError(f"{file}: a detector image needs its geometry: --poni FILE")
    image = read_image(file)
    sized = load_geometry(geometry).shape is not None
    return _Input(_frame(image, {}), {} if sized else {"reduction": {"shape": list(image.shape)}})


def _frame(array: Any, readings: dict[str, Any]) -> Frame:
    return Frame("file", "primary", 1, _KEY, array, 0.0, readings)


def _run(frame: Frame) -> Run:
    run = Run("file", {"uid": "file", "time": 0.0}, Position("file", 0, 0))
    keys = {_KEY: {"source": "file", "dtype": "array", "shape": list(frame.array.shape)}}
    run.descriptors["file"] = {"uid": "file", "name": frame.stream, "data_keys": keys, "time": 0.0}
    return run


def _reduction(poni: Path | None, mask: Path | None, flip: str | None) -> dict[str, Any]:
    named = {"poni": poni, "mask": mask}
    table = {k: str(v.resolve()) for k, v in named.items() if v is not None}
    table |= {"flip": flip} if flip else {}
    return {"reduction": table} if table else {}


def _geometry(name: str, settings: Settings, extra: dict[str, Any]) -> Path | None:
    table = merge_tables(settings.analysis.get(name, {}), extra)
    poni = table.get("reduction", {}).get("poni")
    return Path(table.get("base_dir", ".")) / poni if poni else None


def _absolute(model: str) -> str:
    return str(Path(model).resolve()) if model.endswith(".onnx") else model


def _plain(value: Any) -> Any:
    """JSON has no NaN: what is not known is null."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _lines(answer: dict[str, Any]) -> Iterator[str]:
    yield click.style(answer["file"], bold=True)
    if "error" in answer:
        yield f"  {click.style('failed', fg='red')}: {answer['error']}"
        return
    for name, phase in answer.get("phases", {}).items():
        low, high = phase["interval90"]
        yield (
            f"  {name:<12} {phase['fraction']:7.2%} +- {phase['sigma']:.2%}   90 %: {low:.2%} to {high:.2%}"
            f"   there: {phase['presence']:.1%}"
        )
        if states := _states(phase):
            yield f"  {'':<12} {states}"
    for name in ("amorphous", "unknown"):
        if name in answer:
            yield f"  {name:<12} {answer[name]:7.2%}"
    if "foreign" in answer:
        yield f"  foreign      {answer['foreign']:7.2%} probable"
    for name, found in answer.items():
        if isinstance(found, dict) and "sigma" in found:
            ends = found.get("interval90")
            told = f"   90 %: {ends[0]:.4g} to {ends[1]:.4g}" if ends else ""
            yield f"  {name:<12} {found['value']:.4g} +- {found['sigma']:.2g}{told}"
    yield f"  model        {answer.get('model')}"
    if answer.get("in_domain"):
        yield f"  {click.style('in domain', fg='green')}"
    else:
        yield f"  {click.style('out of domain', fg='yellow')}: {'; '.join(answer.get('reasons', []))}"


def _states(phase: dict[str, Any]) -> str:
    """Strain, size and texture, as far as the pattern tells them."""
    forms = (("strain", "strain {:.1e} +- {:.0e}"), ("size_nm", "size {:.0f} +- {:.0f} nm"),
             ("march_r", "March r {:.2f} +- {:.2f}"))  # fmt: skip
    return "   ".join(form.format(*phase[name]) for name, form in forms if phase.get(name))
