"""``streamproc replay``: archived runs through the live service's own loop."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamproc.cli.leaving import leave_at_once

if TYPE_CHECKING:
    from streamproc.cli.controls import Controls
    from streamproc.cli.replay_task import Task
    from streamproc.cli.replaying import Done

__all__ = ["replay_command"]

_REFUSED = 3


@click.command("replay")
@click.argument("source")
@click.option(
    "--run", "runs", multiple=True, metavar="UID|SCAN_ID|-1",
    help="Which run: uid or its beginning, scan_id, or -1 for the newest. Several times for several. "
    "Without this and the next three: the newest.",
)  # fmt: skip
@click.option("--since", metavar="WHEN", help="Runs begun since: 30m, 2h, 3d, or 2026-01-31[T12:00[+01:00]].")
@click.option("--until", metavar="WHEN", help="Runs begun until then.")
@click.option(
    "--search", multiple=True, metavar="KEY=VALUE", help="Runs whose start document has this value."
)
@click.option("--list", "only_list", is_flag=True, help="Say which runs are meant and replay none.")
@click.option(
    "--analysis", default="phase-map", show_default=True, metavar="NAME", help="What to do with them."
)
@click.option(
    "--model",
    metavar="VERSION",
    help="Version of the model of the settings, NAME, NAME:VERSION or an .onnx file.",
)
@click.option(
    "--speed", default="max", show_default=True, metavar="real|10x|max",
    help="real keeps the times between events, 10x (any number) is so many times faster.",
)  # fmt: skip
@click.option(
    "--to", "target", default="none", show_default=True, metavar="kafka|FILE.jsonl|tiled|none",
    help="Where the result documents go: the results topic, a file, a Tiled catalog (tiled: that of the "
    "settings; or http://..., profile:NAME), or nowhere.",
)  # fmt: skip
@click.option(
    "--verify", metavar="RESULTS",
    help="Compare with these results: a .jsonl or .msgpack file, kafka or kafka:TOPIC, tiled, another Tiled "
    "catalog.",
)  # fmt: skip
@click.option(
    "--frames", "roots", multiple=True, type=click.Path(path_type=Path, file_okay=False),
    help="A folder that frames may be read from, beside frames.roots of the settings.",
)  # fmt: skip
@click.option(
    "--map", "mapped", multiple=True, metavar="OLD=NEW", help="Path prefixes as documents have them -> here."
)
@click.option(
    "--overwrite", is_flag=True, help="Begin FILE.jsonl anew, and forget an interrupted replay into it."
)
@click.option(
    "--resume-file", type=click.Path(path_type=Path, dir_okay=False),
    help="Where an interrupted replay is kept to go on later; default FILE.jsonl.resume.",
)  # fmt: skip
@click.option(
    "--config", "-c", type=click.Path(path_type=Path), help="Settings file (TOML), the live service's own."
)
@click.option("--bootstrap", metavar="HOST:PORT", help="Broker; overrides the file.")
@click.option("--beamline", metavar="NAME", help="Short name that begins every topic; overrides the file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with everything.")
def replay_command(**given: Any) -> int:
    """Analyse archived runs with the same loop, model and settings as the live service.

    SOURCE is one of

    \b
      run.msgpack, run.jsonl, a folder   suitcase-msgpack or suitcase-jsonl files
      a folder of `streamproc record`    with its frames, checksums are checked
      tiled                              the catalog of the settings (tiled.catalog)
      http://HOST:8000/raw               a Tiled server (key in TILED_API_KEY)
      profile:NAME[/raw]                 a databroker or Tiled profile
      python:FILE.py:NAME                a catalog that a Python file makes, databroker.v2.temp() say
      kafka[:TOPIC[@PART:FROM-TO]]       a topic, whole or by offsets; --since by time

    A run gives the same result documents, byte for byte, as it gave live, at any speed, wherever SOURCE kept
    what that needs; --verify shows it field by field, and says why where it is not so. What SOURCE lost is
    undone as far as can be and listed.

    \b
    Examples:
      streamproc replay my-demo/documents --config my-demo/beamline.toml \\
          --verify my-demo/documents/results.msgpack
      streamproc replay http://tiled.facility:8000/raw --run 1234 --to again.jsonl
      streamproc replay profile:xpd/raw --since 2d --search sample=LaB6 --list
      streamproc replay kafka --run -1 --speed real --to kafka --beamline test

    Ctrl-C or SIGTERM finishes what is in work and ends the result run with a complete ledger; the same
    command again goes on where it ended (into a FILE.jsonl, or with --resume-file; else it begins anew, with
    the same documents). p on a terminal, or SIGUSR1, pauses and goes on; so do Ctrl-Z and fg. Of several
    runs, what goes wrong with one does not keep the others from their turn.

    Exit codes: 0 every run complete, no reading failed and (with --verify) equal; 1 a reading failed, an
    archive is damaged or unfinished, or results differ; 2 something you gave is missing or wrong; 3 the
    target does not take results, or refuses a run; 130 and 143 interrupted.
    """
    from streamproc.cli.controls import controlled
    from streamproc.cli.replay_task import Task
    from streamproc.cli.replay_text import listing_lines, outcome_json, outcome_lines
    from streamproc.cli.replaying import replay_all

    task = Task(**given)
    task.configure()
    if task.only_list:
        for line in listing_lines(task.selected()):
            click.echo(line)
        return 0
    with controlled() as controls:
        results = []
        for done in replay_all(task, controls):
            results.append(done)
            if not task.as_json:
                click.echo("\n".join(outcome_lines(done)))
    if task.as_json:
        click.echo(json.dumps([outcome_json(done) for done in results], indent=2, default=str))
    code = _ended(task, controls, results)
    if any(done.outcome.ending == "hangs" for done in results):
        leave_at_once(code)
    return code


def _ended(task: Task, controls: Controls, results: Sequence[Done]) -> int:
    from streamproc.cli.controls import EPILOGUE

    if controls.stop.is_set():
        click.echo(f"streamproc: interrupted; {task.how_to_resume()}", err=True)
        return EPILOGUE + controls.caught[0] if controls.caught else 1
    good = sum(done.good for done in results)
    if len(results) > 1 and not task.as_json:
        click.echo(f"{good} of {len(results)} runs good")
    if any(done.outcome.ending == "refused" for done in results):
        return _REFUSED
    return 0 if good == len(results) else 1
