"""The command line: the only place that wires concrete things together, one module per command."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from streamproc import __version__
from streamproc.cli.leaving import leave_at_once
from streamproc.errors import AnalysisHangs, StreamprocError

__all__ = ["main"]

_COMMANDS = {
    "archive": ("streamproc.cli.archive", "archive_command", "Store result runs in Tiled."),
    "audit": ("streamproc.cli.audit", "audit_command", "Compare raw and result documents, one by one."),
    "broker": ("streamproc.cli.broker", "broker_command", "Run Apache Kafka on this machine."),
    "check": ("streamproc.cli.check", "check_command", "Try one analysis with the conformance checks."),
    "compare": ("streamproc.cli.compare", "compare_command", "Hold two models against each other."),
    "config": ("streamproc.cli.config", "config_group", "Show, explain and check the settings."),
    "demo": ("streamproc.cli.demo", "demo_command", "Watch a simulated experiment being understood."),
    "dlq": ("streamproc.cli.dlq", "dlq_group", "Look at dead letters, try them again, settle them."),
    "doctor": ("streamproc.cli.doctor", "doctor_command", "Say what is missing before a service can run."),
    "excitation-fit": (
        "streamproc.cli.excitation_fit",
        "excitation_fit_command",
        "Fit one set of couplings to several runs.",
    ),
    "hint": ("streamproc.cli.hint", "hint_command", "Say what crystal an unknown pattern may come from."),
    "models": ("streamproc.cli.models", "models_group", "List, show and check models; reports of trainings."),
    "predict": ("streamproc.cli.predict", "predict_command", "Run an analysis on files, without a broker."),
    "record": ("streamproc.cli.record", "record_command", "Archive a live topic: documents and frames."),
    "replay": ("streamproc.cli.replay", "replay_command", "Analyse archived runs as if they were live."),
    "results": ("streamproc.cli.results", "results_command", "Get the numbers of a run out."),
    "run": ("streamproc.cli.run", "run_command", "Analyse live runs: the service."),
    "status": ("streamproc.cli.status", "status_command", "Say how far the analyses of a run are."),
    "topics": ("streamproc.cli.topics", "topics_group", "Create and check the Kafka topics."),
    "torture": ("streamproc.cli.torture", "torture_command", "Break things and count every frame."),
    "train": ("streamproc.cli.train", "train_command", "Train a model."),
    "watch": ("streamproc.cli.watch", "watch_command", "Watch the results of any results topic."),
}


class _Commands(click.Group):
    """Imports a command only when it is asked for, so that ``--help`` answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in _COMMANDS.items()])


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="streamproc")
def _group() -> None:
    """Live inverse models on Bluesky document streams.

    Start with `streamproc demo`; at a beamline, `streamproc config show` and `streamproc run`.
    """


def main(argv: list[str] | None = None) -> None:
    """Run the command line; an expected failure is one sentence on stderr and its exit code."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        # Frames side by side beat threads inside one, and sums split among threads may round differently.
        os.environ.setdefault(variable, "1")
    try:
        result: Any = _group.main(args=argv, prog_name="streamproc", standalone_mode=False)
    except AnalysisHangs as error:
        click.echo(f"streamproc: {error}", err=True)
        leave_at_once(error.exit_code)
    except StreamprocError as error:
        click.echo(f"streamproc: {error}", err=True)
        sys.exit(getattr(error, "exit_code", 1))
    except click.exceptions.Exit as request:
        sys.exit(request.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("streamproc: interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)
    sys.exit(result if isinstance(result, int) else 0)
