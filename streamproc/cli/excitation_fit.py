"""``streamproc excitation-fit --joint``: one set of couplings for several archived runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamproc.cli.archived_options import archived_run_options
from streamproc.errors import ConfigurationError

if TYPE_CHECKING:
    from streamproc.cli.replay_task import Task

__all__ = ["excitation_fit_command"]

_FILE_COLUMNS = 160


@click.command("excitation-fit")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--joint", is_flag=True, help="Share the couplings of all the runs.")
@click.option(
    "--source", "sources", multiple=True, metavar="WHERE",
    help="Where the runs are archived, as for `streamproc replay`: once for all, or once for each run in "
    "turn. Default: the raw topic.",
)  # fmt: skip
@click.option("--model", metavar="MODEL", help="NAME, NAME:VERSION or an .onnx file; overrides the settings.")
@click.option(
    "--temperature", "temperatures", multiple=True, metavar="RUN=KELVIN",
    help="Temperature of a run, where it is not that of the settings.",
)  # fmt: skip
@click.option(
    "--threshold", type=click.FloatRange(min=0, min_open=True), default=3.0, show_default=True, metavar="N",
    help="Runs that are further apart than N standard deviations disagree.",
)  # fmt: skip
@archived_run_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def excitation_fit_command(
    runs: tuple[str, ...], joint: bool, sources: tuple[str, ...], model: str | None,
    temperatures: tuple[str, ...], threshold: float, roots: tuple[Path, ...], mapped: tuple[str, ...],
    config: Path | None, bootstrap: str | None, beamline: str | None, as_json: bool,
) -> int:  # fmt: skip
    """Fit one set of exchange or force constants to several runs: two paths, two temperatures, two crystals.

    A RUN is a uid (or its first six characters), a scan number, or -1 for the newest. Each run keeps its own
    intensity scale, background and resolution. Told are the shared constants, how much of the information
    comes from each run, and by how many standard deviations each differs from the others.

    \b
    Examples:
      streamproc excitation-fit --joint 3f2a91 77c0de -c beamline.toml
      streamproc excitation-fit --joint 41 42 --temperature 42=150 --source tiled -c beamline.toml --json

    Exit codes: 0 the runs agree, 1 some differ beyond --threshold or are no runs of this model, 2 something
    you gave is missing or wrong.
    """
    if not joint or len(runs) < 2:
        raise ConfigurationError(
            f"got {len(runs)} run(s){'' if joint else ' without --joint'}: --joint shares the couplings of "
            "two or more runs; one run by itself is answered by `streamproc replay`"
        )
    if len(sources) not in (0, 1, len(runs)):
        raise ConfigurationError(
            f"--source {len(sources)} times for {len(runs)} runs: once, or once for each"
        )
    kelvin = dict(_kelvin(text, runs) for text in temperatures)
    places = list(sources) * (len(runs) if len(sources) == 1 else 1) or ["kafka"] * len(runs)
    more: dict[str, Any] = {"config": config, "bootstrap": bootstrap, "beamline": beamline, "model": model}
    report = _fitted(runs, places, kelvin, {"roots": roots, "mapped": mapped, **more}, as_json)
    agree = report["tension_sigma"] <= threshold and all(
        r["tension_sigma"] <= threshold and r["in_domain"] for r in report["runs"]
    )
    report["agree"] = agree
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        _print(report, threshold)
    return 0 if agree else 1


def _kelvin(text: str, runs: Sequence[str]) -> tuple[str, float]:
    run, equals, value = text.rpartition("=")
    try:
        kelvin = float(value)
    except ValueError:
        kelvin = -1.0
    if not equals or run not in runs or not kelvin >= 0:
        raise ConfigurationError(f"--temperature {text}: expected RUN=KELVIN with one of {', '.join(runs)}")
    return run, kelvin


def _fitted(
    runs: Sequence[str], places: Sequence[str], kelvin: dict[str, float], more: dict[str, Any], quiet: bool
) -> dict[str, Any]:
    from streamproc.cli.replay_task import Task

    tasks = [
        Task(source=where, runs=(run,), analysis="excitation-fit", **more)
        for run, where in zip(runs, places, strict=True)
    ]
    for task in tasks:
        task.configure()
    analysis: Any = tasks[0].loaded()
    if not hasattr(analysis, "collector"):
        raise ConfigurationError(
            f"{analysis.provenance().details.get('model')} reads spectra; a joint fit shares the couplings "
            "of a spin model, or the force constants of a lattice: name one with --model or "
            "analysis.excitation-fit.model"
        )
    usual = float(analysis.settings.map.temperature_K)
    gathered = [_gathered(task, analysis, kelvin.get(task.runs[0], usual), quiet) for task in tasks]
    names = [g.name for g in gathered]
    if len(set(names)) < len(names):
        raise ConfigurationError(f"the same run twice: {', '.join(names)}")
    return dict(analysis.joint(gathered))


def _gathered(task: Task, analysis: Any, temperature_K: float, quiet: bool) -> Any:
    """Return the map of one run."""
    from streamproc.cli.controls import stopping
    from streamproc.cli.progress import run_progress
    from streamproc.replay import NoTarget, replay_run
    from streamproc.transports.archive.opening import open_archive

    archive, collector = open_archive(task.source, task.settings), analysis.collector()
    try:
        ref = next(iter(archive.runs(task.query)))
        with stopping() as (stop, caught), run_progress(ref, quiet) as told:
            outcome = replay_run(
                archive, ref, collector, NoTarget(), settings=task.settings, progress=told, stop=stop
            )
        if caught:
            raise click.Abort
    finally:
        archive.close()
    so_far = collector.maps.get(ref.uid)
    measured = so_far.map() if so_far is not None else None
    if measured is None:
        failed = collector.failed.get(ref.uid, [])
        why = failed[0] if failed else outcome.reason or "it has too few readings for a map"
        raise ConfigurationError(f"run {ref.uid} in {task.source}: no map of it: {why}")
    return collector.gathered(ref.uid, measured, temperature_K)


def _print(report: dict[str, Any], threshold: float) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=_FILE_COLUMNS)
    names = list(report["joint"])
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for head in ("run", *(f"{n} alone" for n in names), "share", "apart (sigma)", "tension", "chi2"):
        table.add_column(head, justify="left" if head == "run" else "right", no_wrap=True)
    for run in report["runs"]:
        alone = [f"{run['alone'][n]['value']:.3f}±{run['alone'][n]['sigma']:.3f}" for n in names]
        apart = " ".join(f"{run['apart_sigma'][n]:+.1f}" for n in names)
        flag = "" if run["tension_sigma"] <= threshold else " !"
        table.add_row(
            run["run"][:12], *alone, f"{run['share']:.0%}", apart, f"{run['tension_sigma']:.1f}{flag}",
            f"{run['chi2_reduced']:.2f}",
        )  # fmt: skip
    console.print(table)
    for name, found in {**report["joint"], **report["derived"]}.items():
        unit = report["units"] if name in report["joint"] else "meV"
        low, high = found["interval90"]
        console.print(
            f"{name:>14}  {found['value']:.4f} ± {found['sigma']:.4f} {unit}   90 %: {low:.4f} to {high:.4f}",
            highlight=False,
        )
    console.print(f"{report['model']}; {report['convention']}", highlight=False, style="dim")
    for run in report["runs"]:
        for reason in run["reasons"]:
            console.print(f"run {run['run']}: {reason}", style="bold red", highlight=False, markup=False)
    excess, tension = report["excess_chi2"], report["tension_sigma"]
    console.print(
        f"shared {report['parameters']} cost {excess:.1f} of chi-square, {tension:.1f} sigma",
        style="bold green" if report["agree"] else "bold red",
        highlight=False,
    )
