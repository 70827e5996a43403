"""``streamproc train excitation-fit`` for a model of ``kind = "spectrum"``."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from streamproc.models.excitations.oscillators.case import read_case
from streamproc.models.excitations.oscillators.train import TrainSettings, train

__all__ = ["add_options", "main", "train_kind"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this kind to the command's parser; those that another kind has added are shared."""
    how = parser.add_argument_group("training of a model for spectra")
    for name in TrainSettings.__slots__:
        default = getattr(TrainSettings(), name)
        with suppress(argparse.ArgumentError):
            how.add_argument(f"--{name.replace('_', '-')}", type=int, default=None, help=f"default {default}")


def train_kind(arguments: argparse.Namespace) -> int:
    """Train; returns the exit code."""
    case = read_case(arguments.model)
    settings = TrainSettings().quick() if arguments.quick else TrainSettings()
    given = {k: v for k in TrainSettings.__slots__ if (v := getattr(arguments, k, None)) is not None}
    train(
        case, arguments.out, replace(settings, **given), resume=arguments.resume,
        command=shlex.join(arguments.command_line),
    )  # fmt: skip
    print(f"{arguments.out / 'report.html'}: what the model may be used for", file=sys.stderr)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of this kind alone; returns the exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="streamproc train excitation-fit", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="model.toml: what to fit")
    parser.add_argument("--out", type=Path, required=True, help="version folder: models/NAME/VERSION")
    parser.add_argument("--resume", action="store_true", help="go on after the training left in that folder")
    parser.add_argument("--quick", action="store_true", help="a tiny model, to try the whole way")
    add_options(parser)
    arguments = parser.parse_args(given)
    arguments.command_line = ["streamproc", "train", "excitation-fit", *given]
    return train_kind(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
