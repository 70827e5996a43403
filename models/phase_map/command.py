"""``streamproc train phase-map``: from CIF files to a calibrated model with its report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from streamproc.models.networks.command_line import published_command
from streamproc.models.phase_map.from_cif import Measurement, system_from_cifs
from streamproc.models.phase_map.measured import Measured, read_truth
from streamproc.models.phase_map.system import System
from streamproc.models.phase_map.train import TrainSettings, train
from streamproc.models.powder.ranges import Span

from streamproc.errors import ConfigurationError

__all__ = ["main"]

_DESCRIPTION = """\
Train a phase-mapping model for one material system, from its CIF files.

Patterns of every phase are simulated for thousands of instruments and states of the grains, mixed afresh at
every step with unknown material, glass, background and counting noise, and an ensemble of networks learns to
read them. It is then calibrated on simulations it has not seen, scored, and written with card and report.
"""
_EXAMPLES = """\
examples:
  streamproc train phase-map --cif corundum.cif zincite.cif fluorite.cif --wavelength 1.5406 --ka2 \\
      --range 20 100 --out models/mysystem/1
  streamproc train phase-map --cif *.cif --wavelength 0.1839 --range 1 12 --geometry debye-scherrer \\
      --also-unknown other-cifs/ --span '*=0.01' --span Ti_136=0.02 --out models/battery/1
  streamproc train phase-map --cif *.cif --instrument lab.toml --range 15 90 \\
      --validate measured/ truth.csv --out models/mysystem/2

Without --cif the shipped four-phase system is trained. Ctrl-C stops; the same command with --resume goes on.
The table of measured patterns is CSV: file, one column per phase (a weight, 'x' for present, empty for
absent) and, if wanted, 'use': score; stop (chooses when the training ends) or calibrate (widens the intervals
until they hold on it), which are not counted.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    arguments = _parser().parse_args(argv)
    system, notes = _system(arguments)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    settings = _settings(arguments, system)
    measured = _measured(arguments, system)
    line = published_command("phase-map", sys.argv[3:] if argv is None else argv)
    try:
        train(
            system,
            arguments.out,
            settings,
            measured=measured,
            resume=arguments.resume,
            notes=notes,
            command=line,
        )
    except KeyboardInterrupt:
        print("stopped; the same command with --resume goes on", file=sys.stderr)
        return 130
    print(f"{arguments.out / 'report.html'}: what the model may be used for", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="streamproc train phase-map",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    phases = parser.add_argument_group("phases")
    phases.add_argument(
        "--cif", type=Path, nargs="+", metavar="FILE", help="CIF files, one phase each, up to 60"
    )
    phases.add_argument(
        "--also-unknown",
        type=Path,
        metavar="DIR",
        help="folder of CIFs of materials that may be there as well",
    )
    phases.add_argument(
        "--span", action="append", default=[], metavar="PHASE=S or PHASE=A,B,C",
        help="relative lattice span of a phase, '*' for all others (default 0.004): solid solutions, heating",
    )  # fmt: skip
    measurement = parser.add_argument_group("measurement")
    measurement.add_argument("--wavelength", type=float, metavar="A", help="angstrom; K-alpha1 of a tube")
    measurement.add_argument("--ka2", action="store_true", help="with K-alpha2, half as strong")
    measurement.add_argument(
        "--range",
        type=float,
        nargs=2,
        default=(20.0, 100.0),
        metavar=("FIRST", "LAST"),
        help="2theta, degrees",
    )
    measurement.add_argument(
        "--geometry",
        metavar="G",
        help="bragg-brentano, debye-scherrer or FILE.poni; either of the first by default",
    )
    measurement.add_argument(
        "--instrument", type=Path, metavar="FILE", help=".toml, .instprm or .poni: profile and shifts to span"
    )
    measurement.add_argument("--points", type=int, default=2000, help="points of the axis (default 2000)")
    parser.add_argument(
        "--validate", type=Path, nargs="+", metavar=("DIR", "TRUTH.csv"),
        help="folder of measured patterns and the table of what is in them (default DIR/truth.csv)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, required=True, help="version folder to write: models/NAME/VERSION"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in that folder")
    parser.add_argument(
        "--quick", action="store_true", help="a tiny model in about a minute, to try the whole way"
    )
    how = parser.add_argument_group("training (defaults depend on the number of phases)")
    for name in ("seed", "library", "steps", "members", "hidden", "features", "threads"):
        how.add_argument(
            f"--{name}", type=int, default=None, help=f"default for four: {getattr(TrainSettings(), name)}"
        )
    return parser


def _system(arguments: argparse.Namespace) -> tuple[System, list[str]]:
    if arguments.cif is None:
        from streamproc.models.phase_qpa.system import four_phases

        return replace(four_phases(), name=_name(arguments.out)), []
    measurement = Measurement(
        arguments.wavelength, arguments.ka2, tuple(arguments.range), arguments.geometry, arguments.instrument,
        dict(map(_span, arguments.span)), _points(arguments.points),
    )  # fmt: skip
    return system_from_cifs(
        _name(arguments.out), arguments.cif, _also_unknown(arguments.also_unknown), measurement
    )


def _name(out: Path) -> str:
    return out.resolve().parent.name or "phase_map"


def _points(points: int) -> int:
    if not 200 <= points <= 8000:
        raise ConfigurationError(f"--points {points}: expected 200 to 8000")
    return points


def _span(text: str) -> tuple[str, Span]:
    label, _, numbers = text.rpartition("=")
    try:
        values = [float(v) for v in numbers.split(",")]
    except ValueError:
        values = []
    if not label or len(values) not in (1, 3) or not all(0 <= v < 0.2 for v in values):
        raise ConfigurationError(f"--span {text}: expected PHASE=S or PHASE=A,B,C with 0 <= S < 0.2")
    return label, values[0] if len(values) == 1 else (values[0], values[1], values[2])


def _also_unknown(folder: Path | None) -> list[Path]:
    if folder is None:
        return []
    found = sorted(folder.glob("*.cif"))
    if not found:
        raise ConfigurationError(f"--also-unknown {folder}: there is no .cif file in this folder")
    return found


def _settings(arguments: argparse.Namespace, system: System) -> TrainSettings:
    settings = TrainSettings.for_phases(len(system.phases))
    settings = settings.quick() if arguments.quick else settings
    given = {k: v for k, v in vars(arguments).items() if v is not None and k in TrainSettings.__slots__}
    return replace(settings, **given)


def _measured(arguments: argparse.Namespace, system: System) -> list[Measured]:
    if arguments.validate is None:
        return []
    if len(arguments.validate) > 2:
        raise ConfigurationError("--validate takes a folder and a table of what is in its patterns")
    folder, *table = arguments.validate
    return read_truth(folder, table[0] if table else folder / "truth.csv", system.labels)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
