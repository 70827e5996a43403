"""``streamproc train defect-flags``: from a CIF file to a calibrated model of a metal's defects."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from streamproc.models.defects.cake.library import CakeSystem
from streamproc.models.defects.cake.pair import declare_pair
from streamproc.models.defects.cake.rings import rings_of
from streamproc.models.defects.cake.train import CAKE_SETTINGS, quick_settings, train_cake
from streamproc.models.defects.material import material_of
from streamproc.models.defects.network.library import DefectSystem
from streamproc.models.defects.network.ranges import DefectRanges
from streamproc.models.defects.network.train import TrainSettings, train
from streamproc.models.defects.standard import instrument_from_standard
from streamproc.models.networks.command_line import published_command
from streamproc.models.powder.cif import read_cif
from streamproc.models.powder.crystal import Structure
from streamproc.models.powder.emission import second_line
from streamproc.models.powder.floor import estimate_noise
from streamproc.models.powder.instrument import read_instrument
from streamproc.models.powder.optics import Instrument
from streamproc.models.powder.structures import structure
from streamproc.models.powder.tables import d_min_of

from streamproc.errors import ConfigurationError
from streamproc.frames.pattern_files import read_pattern

__all__ = ["main"]

_DESCRIPTION = """\
Train a model that reads lattice defects of one fcc or bcc metal from powder patterns.

Dislocation density, domain size, microstrain, contrast parameter, static displacements, texture, amorphous
share, and for fcc deformation and twin fault probabilities, each with a calibrated interval. With it, in the
folder `cake`, its pair for images: texture strength and grain statistics from the rings over azimuth.
"""
_EXAMPLES = """\
examples:
  streamproc train defect-flags --cif fe.cif --wavelength 1.5406 --ka2 --range 38 142 \\
      --instrument lab6.xy --out models/my_iron/1
  streamproc train defect-flags --cif cu.cif --instrument lab.toml --range 38 145 --out models/my_copper/1
  streamproc train defect-flags --cif cu.cif --wavelength 0.2 --only cake --out models/my_copper/1
"""
_NUMBERS = ("seed", "library", "steps", "members", "hidden", "features", "threads")
_PROFILES = (".toml", ".instprm", ".poni")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    arguments = _parser().parse_args(argv)
    optics, notes = _optics(arguments)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    first, last = arguments.range
    if not 0 < first < last < 180:
        raise ConfigurationError(f"--range must be two rising angles within 0 to 180, got {first:g} {last:g}")
    found, source = _structure(arguments)
    line = published_command("defect-flags", sys.argv[3:] if argv is None else argv)
    name = f"defects_{found.name}".lower().replace(" ", "_")
    try:
        if arguments.only != "cake":
            _train_pattern(arguments, optics, found, name, source, line)
        if arguments.only != "pattern":
            _train_cake(arguments, optics, found, name, source, line)
    except KeyboardInterrupt:
        print("stopped; the same command with --resume keeps the rendered library", file=sys.stderr)
        return 130
    return 0


def _train_pattern(
    arguments: argparse.Namespace, optics: Instrument, found: Structure, name: str, source: str, line: str
) -> None:
    first, last = arguments.range
    d_min = d_min_of(optics.wavelength_A, min(last + 15.0, 175.0))
    material = material_of(found, optics.wavelength_A, d_min, arguments.elastic)
    if material.lattice == "fluorite":
        raise ConfigurationError(
            f"{found.name}: networks are trained for metals with one atom per lattice point; crystals of the "
            "fluorite structure are for the fit (streamproc.models.defects.fit) and for --only cake"
        )
    system = DefectSystem(material, optics, first, last, arguments.points, _ranges(arguments))
    settings = _settings(arguments, TrainSettings().quick() if arguments.quick else TrainSettings())
    train(system, arguments.out, settings, name=name, source=source, command=line, resume=arguments.resume)
    declare_pair(arguments.out)


def _train_cake(
    arguments: argparse.Namespace, optics: Instrument, found: Structure, name: str, source: str, line: str
) -> None:
    settings = quick_settings(CAKE_SETTINGS) if arguments.quick else CAKE_SETTINGS
    system = CakeSystem(rings_of(found, optics.wavelength_A))
    # sizes that were given for the model of patterns are not those of its pair
    settings = _settings(arguments, settings, _NUMBERS if arguments.only == "cake" else ("seed", "threads"))
    train_cake(system, arguments.out, settings, name=name, source=source, command=line)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="streamproc train defect-flags", description=_DESCRIPTION, epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    metal = parser.add_mutually_exclusive_group(required=True)
    metal.add_argument("--cif", type=Path, metavar="FILE", help="the metal; fcc or bcc, one site")
    metal.add_argument(
        "--structure", metavar="NAME", help="one of the built-in metals, such as iron or copper"
    )
    parser.add_argument(
        "--elastic", type=float, nargs=3, metavar=("C11", "C12", "C44"), help="GPa, where they are not known"
    )
    parser.add_argument("--wavelength", type=float, metavar="A", help="angstrom; K-alpha1 of a tube")
    parser.add_argument("--ka2", action="store_true", help="with K-alpha2, half as strong")
    parser.add_argument(
        "--instrument", type=Path, metavar="FILE",
        help="pattern of a standard (any pattern file), or a profile: .toml, .instprm, .poni; by default a "
        "usual laboratory diffractometer",
    )  # fmt: skip
    parser.add_argument("--standard", type=Path, metavar="CIF", help="the standard; LaB6 by default")
    parser.add_argument("--range", type=float, nargs=2, default=(38.0, 142.0), metavar=("FIRST", "LAST"),
                        help="2theta, degrees (default 38 142)")  # fmt: skip
    parser.add_argument("--points", type=int, default=1400, help="points of the axis (default 1400)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="RANGE=LOW,HIGH",
        help="another training range, such as density_per_m2=1e12,1e15",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, required=True, help="version folder to write: models/NAME/VERSION"
    )
    parser.add_argument("--resume", action="store_true", help="keep the library rendered in that folder")
    parser.add_argument("--quick", action="store_true", help="a tiny model, to try the whole way")
    parser.add_argument(
        "--only", choices=("pattern", "cake"),
        help="train one half of the pair: for patterns, or for rings over azimuth (any cubic crystal); the "
        "numbers below are those of that half, else of the one for patterns",
    )  # fmt: skip
    for name in _NUMBERS:
        parser.add_argument(f"--{name}", type=int, help=f"default {getattr(TrainSettings(), name)}")
    return parser


def _settings(
    arguments: argparse.Namespace, settings: TrainSettings, names: Sequence[str] = _NUMBERS
) -> TrainSettings:
    given = {n: getattr(arguments, n) for n in names if getattr(arguments, n) is not None}
    wrong = [n for n, v in given.items() if v < 1 and n != "seed"]
    if wrong:
        raise ConfigurationError(f"--{wrong[0]} must be at least 1, got {given[wrong[0]]}")
    return replace(settings, **given)


def _ranges(arguments: argparse.Namespace) -> DefectRanges:
    changed = {}
    for text in arguments.set:
        name, _, values = text.partition("=")
        if name not in DefectRanges.__dataclass_fields__:
            known = ", ".join(DefectRanges.__dataclass_fields__)
            raise ConfigurationError(f"--set {text}: no range is called {name!r}; there are {known}")
        try:
            numbers = tuple(float(v) for v in values.split(","))
        except ValueError:
            raise ConfigurationError(f"--set {text}: expected one or two numbers after '='") from None
        wanted = 2 if isinstance(getattr(DefectRanges(), name), tuple) else 1
        if len(numbers) != wanted:
            raise ConfigurationError(f"--set {text}: {name} needs {wanted} numbers, got {len(numbers)}")
        changed[name] = numbers if wanted == 2 else numbers[0]
    return replace(DefectRanges(), **changed)  # type: ignore[arg-type]


def _optics(arguments: argparse.Namespace) -> tuple[Instrument, list[str]]:
    """The instrument, from a profile, a standard's pattern, or the usual one."""
    file = arguments.instrument
    if file is not None and file.suffix.lower() in _PROFILES:
        read = read_instrument(file)
        return read.instrument, list(read.notes)
    if arguments.wavelength is None:
        raise ConfigurationError("--wavelength (angstrom) is needed, or --instrument FILE.toml that says it")
    second = second_line(arguments.wavelength) if arguments.ka2 else arguments.wavelength
    base = Instrument(
        wavelength_A=arguments.wavelength, wavelength2_A=second, ka2_ratio=0.5 if arguments.ka2 else 0.0,
        asymmetry_deg=0.0,
    )  # fmt: skip
    if file is None:
        return base, ["no --instrument: the widths of a usual laboratory diffractometer are assumed"]
    pattern = read_pattern(file, "two_theta_deg", arguments.wavelength)
    axis, y = np.asarray(pattern.axis, float), np.asarray(pattern.intensity, float)
    constant, gain = estimate_noise(y)
    material = (
        read_cif(arguments.standard).structure if arguments.standard else structure("lanthanum hexaboride")
    )
    found = instrument_from_standard(axis, y, constant + gain * np.maximum(y, 0), material, base)
    return found, [
        f"instrument from {file.name}: U {found.u_deg2:.4f}, V {found.v_deg2:.4f}, W {found.w_deg2:.4f}, X "
        f"{found.lorentz_x_deg:.4f}, Y {found.lorentz_y_deg:.4f}, zero {found.zero_deg:.4f} degrees"
    ]


def _structure(arguments: argparse.Namespace) -> tuple[Structure, str]:
    """The crystal, and where it comes from."""
    if arguments.cif is not None:
        return read_cif(arguments.cif).structure, f"{arguments.cif.name}"
    try:
        found = structure(arguments.structure)
    except KeyError as error:
        raise ConfigurationError(str(error.args[0])) from None
    return found, found.source
