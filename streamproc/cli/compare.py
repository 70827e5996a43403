"""``streamproc compare``: two models on the same frames."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamproc.cli.archived_options import archived_run_options
from streamproc.errors import ConfigurationError

if TYPE_CHECKING:
    from streamproc.comparison.comparison import Comparison

__all__ = ["compare_command"]

_MOST_LISTED = 10
_FILE_COLUMNS = 160
"""Width of what goes to a file or pipe: nothing is cut off."""


@click.command("compare")
@click.option("--run", "run", required=True, metavar="UID", help="Uid, or its beginning, scan number, or -1.")
@click.option(
    "--model", "models", multiple=True, metavar="MODEL",
    help="Twice: NAME, NAME:VERSION or an .onnx file; what the second says is held against the first.",
)  # fmt: skip
@click.option(
    "--source", metavar="WHERE",
    help="Where the run is archived, as for `streamproc replay`; default: the raw topic. With --published: "
    "where the results are, as for `streamproc results`.",
)  # fmt: skip
@click.option(
    "--published", is_flag=True, help="Compare results that are published already; nothing is computed."
)
@click.option("--analysis", default="phase-map", show_default=True, metavar="NAME", help="The analysis.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the report.")
@click.option(
    "--threshold", type=click.FloatRange(min=0, min_open=True), default=3.0, show_default=True, metavar="N",
    help="Differences beyond N combined standard uncertainties count.",
)  # fmt: skip
@click.option(
    "--share", type=click.FloatRange(0, 1), default=0.0, show_default=True, metavar="SHARE",
    help="Share of the points that may differ beyond the threshold.",
)  # fmt: skip
@archived_run_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def compare_command(
    run: str, models: tuple[str, ...], source: str | None, published: bool, analysis: str, out: Path | None,
    threshold: float, share: float, roots: tuple[Path, ...], mapped: tuple[str, ...], config: Path | None,
    bootstrap: str | None, beamline: str | None, as_json: bool,
) -> int:  # fmt: skip
    """Hold two models against each other on the frames of one run.

    Both go over the same frames with the loop of the live service; or, with --published, the result runs of
    both are taken as they are (a shadow's, say). Points count that both models may be believed for. Printed:
    agreement by quantity, where they differ most and by how many combined standard uncertainties, in which
    domain the points are, what each model costs. --out writes HTML, PNG, JSON and CSV.

    \b
    Examples:
      streamproc compare --run -1 --model phase_qpa:4 --model new.onnx --config beamline.toml --out report
      streamproc compare --run 3f2a91 --model phase_qpa:4 --model phase_qpa:5 --published -c beamline.toml

    Exit codes: 0 they agree, 1 more points than --share differ beyond --threshold, or nothing could be
    compared, 2 something you gave is missing or wrong.
    """
    if len(models) != 2:
        raise ConfigurationError(f"give --model twice, not {len(models)} time(s): first and second model")
    if models[0] == models[1]:
        raise ConfigurationError(f"--model {models[0]} twice: nothing to compare")
    where: dict[str, Any] = {"config": config, "bootstrap": bootstrap, "beamline": beamline}
    if published:
        comparison = _published(run, (models[0], models[1]), source, analysis, threshold, where)
    else:
        more = {"roots": roots, "mapped": mapped, **where}
        comparison = _replayed(run, (models[0], models[1]), source, analysis, threshold, more, as_json)
    written = []
    if out is not None:
        from streamproc.comparison.page import write_report

        written = write_report(comparison, out)
    if as_json:
        click.echo(json.dumps(_finite(comparison.to_json()), indent=2))
    else:
        print_comparison(comparison)
        if written:
            click.echo(f"report: {written[0]}")
    return 1 if comparison.share > share or not comparison.in_domain["both"] else 0


def _replayed(
    run: str, models: tuple[str, str], source: str | None, analysis: str, threshold: float, more: Any,
    quiet: bool,
) -> Comparison:  # fmt: skip
    from streamproc.cli.controls import stopping
    from streamproc.cli.progress import run_progress
    from streamproc.cli.replay_task import Task
    from streamproc.comparison.judge import compare_tables
    from streamproc.comparison.runs import answer_run
    from streamproc.transports.archive.opening import open_archive

    tasks = [Task(source=source or "kafka", runs=(run,), analysis=analysis, model=m, **more) for m in models]
    for task in tasks:
        task.configure()
    settings = tasks[0].settings
    loaded = [task.loaded() for task in tasks]
    ids = [str(a.provenance().details.get("model", m)) for a, m in zip(loaded, models, strict=True)]
    if ids[0] == ids[1]:
        raise ConfigurationError(f"{models[0]} and {models[1]} are the same model, {ids[0]}")
    archive = open_archive(tasks[0].source, settings)
    answers = []
    try:
        ref = next(iter(archive.runs(tasks[0].query)))
        with stopping() as (stop, caught):
            for one in loaded:
                with run_progress(ref, quiet) as told:
                    answers.append(answer_run(archive, ref, one, settings, progress=told, stop=stop))
        if caught:
            raise click.Abort
    finally:
        archive.close()
    (first, fast), (second, slow) = answers
    return compare_tables(first, second, models=(ids[0], ids[1]), threshold=threshold, timings=(fast, slow))


def _published(
    run: str, models: tuple[str, str], source: str | None, analysis: str, threshold: float, where: Any
) -> Comparison:
    from streamproc.cli.wiring import settings_of
    from streamproc.comparison.judge import compare_tables
    from streamproc.export import read_table

    opened: Any = source if source is not None else settings_of(**where)
    tables = [read_table(opened, run, analysis=analysis, model=m) for m in models]
    ids = [str(t.starts[0]["streamproc"].get("model", m)) for t, m in zip(tables, models, strict=True)]
    return compare_tables(*tables, models=(ids[0], ids[1]), threshold=threshold)


# -- for people -------------------------------------------------------------------------------------------


def print_comparison(c: Comparison) -> None:
    """Print tables and verdict."""
    from rich.console import Console
    from rich.table import Table

    from streamproc.comparison.page import HEAD, number, quantity_rows

    console = Console()
    if not console.is_terminal:
        console = Console(width=_FILE_COLUMNS)
    console.print(f"run {c.run_uid}: second {c.models[1]} against first {c.models[0]}", highlight=False)
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for name in HEAD:
        table.add_column(name, justify="left" if name in ("quantity", "units") else "right", no_wrap=True)
    for row in quantity_rows(c):
        table.add_row(*row)
    console.print(table)
    domain = c.in_domain
    console.print(
        f"answered by both {c.common}, only by the first {c.only_first}, only by the second {c.only_second}; "
        f"in both domains {domain['both']}, only the first's {domain['only_first']}, only the second's "
        f"{domain['only_second']}, neither {domain['neither']}",
        highlight=False,
    )
    for model, t in zip(c.models, c.timings, strict=False):
        console.print(
            f"{model}: median {number(t.median_ms)} ms a frame, 95 % below {number(t.p95_ms)} ms, "
            f"{number(t.frames_per_s)} frames/s",
            highlight=False,
        )
    for d in c.differing[:_MOST_LISTED]:
        place = " ".join(f"{k}={v:.6g}" if isinstance(v, float) else f"{k}={v}" for k, v in d.motors.items())
        console.print(
            f"  seq_num {d.seq_num} {place} {d.quantity}: {number(d.first)} and {number(d.second)}, "
            f"{d.z:+.1f} sigma",
            highlight=False, markup=False,
        )  # fmt: skip
    for note in c.notes:
        console.print(f"note: {note}", highlight=False, markup=False)
    if not domain["both"]:
        console.print("no point is in the domains of both: nothing could be compared", style="bold red")
    else:
        style = "bold red" if c.differing_points else "bold green"
        console.print(
            f"{c.differing_points} of {domain['both']} points differ by more than {c.threshold:g} sigma",
            style=style,
        )


def _finite(value: Any) -> Any:
    """JSON has no NaN: what is not known is null."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
