"""``streamproc train excitation-fit`` for a model of ``kind = "spectrum"``."""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from dataclasses import replace

from streamproc.models.excitations.oscillators.case import read_case
from streamproc.models.excitations.oscillators.publish import calibrate_again
from streamproc.models.excitations.oscillators.train import TrainSettings, train
from streamproc.models.networks.command_line import only_for_calibration
from streamproc.models.networks.course import progress_line

__all__ = ["add_options", "train_kind"]

_CALIBRATION = ("hold_out",)
"""Settings that a calibration without training has."""


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
    if arguments.calibrate:
        only_for_calibration(given, _CALIBRATION)
        calibrate_again(arguments.out, case, given, progress_line)
    else:
        train(
            case, arguments.out, replace(settings, **given), resume=arguments.resume,
            command=arguments.command_line,
        )  # fmt: skip
    print(f"{arguments.out / 'report.html'}: what the model may be used for", file=sys.stderr)
    return 0
