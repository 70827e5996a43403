"""``streamproc train excitation-fit``: from a `model.toml` to a calibrated model with its report."""

from __future__ import annotations

import argparse
import importlib
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from streamproc.models.networks.command_line import published_command

from streamproc.errors import ConfigurationError

__all__ = ["KINDS", "main"]

KINDS = {
    "spin-model": "streamproc.models.excitations.map_training.command",
    "lattice-model": "streamproc.models.excitations.map_training.command",
    "spectrum": "streamproc.models.excitations.oscillators.command",
}
"""Module of each kind of model; it has ``add_options(parser)`` and ``train_kind(arguments)``."""

_DESCRIPTION = """\
Train the model of an excitation fit.

A spin model (kind = "spin-model"): maps S(Q,E) are simulated by linear spin-wave theory for thousands of
couplings, paths, resolutions and counts, and an ensemble of networks learns to read the couplings from the
columns that are there. It is then calibrated on maps it has not seen, scored, and written with card and
report.

A lattice model (kind = "lattice-model"): the same with S(|Q|,E) of a powder, simulated by Born-von Karman
lattice dynamics for thousands of force constants, resolutions, temperatures and counts.

A model for spectra (kind = "spectrum"): spectra of up to four damped oscillators are simulated for the axes,
resolutions, temperatures and strengths that the file names; the rest goes the same way.
"""
_EXAMPLES = """\
examples:
  streamproc train excitation-fit --model models/magnon-square/model.toml --out models/magnon-square/1
  streamproc train excitation-fit --model my-magnet.toml --out models/my-magnet/1 --seed 3
  streamproc train excitation-fit --model models/phonon-fcc/model.toml --out models/phonon-fcc/1
  streamproc train excitation-fit --model models/dho/model.toml --out models/dho/1
  streamproc train excitation-fit --model models/dho/model.toml --out models/dho/1 --calibrate

Ctrl-C stops; the same command with --resume goes on.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    given = list(sys.argv[3:] if argv is None else argv)
    parser = _parser()
    arguments = parser.parse_args(given)
    arguments.command_line = published_command("excitation-fit", given)
    kind = _kind(arguments.model)
    try:
        return int(importlib.import_module(KINDS[kind]).train_kind(arguments))
    except KeyboardInterrupt:
        print("stopped; the same command with --resume goes on", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="streamproc train excitation-fit",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="model.toml: what to fit")
    parser.add_argument(
        "--out", type=Path, required=True, help="version folder to write: models/NAME/VERSION"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in that folder")
    parser.add_argument(
        "--quick", action="store_true", help="a tiny model in about a minute, to try the whole way"
    )
    parser.add_argument(
        "--calibrate", action="store_true",
        help="calibrate and score the model in --out again; its network and its limits for what is out of "
        "domain stay",
    )  # fmt: skip
    for module in dict.fromkeys(KINDS.values()):
        importlib.import_module(module).add_options(parser)
    return parser


def _kind(path: Path) -> str:
    try:
        kind = tomllib.loads(path.read_text(encoding="utf-8")).get("kind")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: not a TOML file: {error}") from error
    if kind not in KINDS:
        raise ConfigurationError(f"{path}: kind = {kind!r}; there are {', '.join(map(repr, KINDS))}")
    return str(kind)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
