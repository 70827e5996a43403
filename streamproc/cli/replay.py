"""``streamproc replay``: archived runs through the live service's own loop."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamproc.errors import ConfigurationError

if TYPE_CHECKING:
    from streamproc.cli.replaying import Task

__all__ = ["replay_command", "stopping"]

_EPILOGUE = 128


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
    "--model", metavar="NAME:VERSION", help="NAME, NAME:VERSION or an .onnx file; overrides the settings."
)
@click.option(
    "--speed", default="max", show_default=True, metavar="real|10x|max",
    help="real keeps the times between events, 10x (any number) is so many times faster.",
)  # fmt: skip
@click.option(
    "--to", "target", default="none", show_default=True, metavar="kafka|FILE.jsonl|URL|none",
    help="Where the result documents go: the results topic, a file, a Tiled catalog (http://... or "
    "profile:NAME), or nowhere.",
)  # fmt: skip
@click.option(
    "--verify", metavar="RESULTS",
    help="Compare with these results: a .jsonl or .msgpack file, kafka or kafka:TOPIC, a Tiled catalog.",
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
      http://HOST:8000/raw               a Tiled server (key in TILED_API_KEY)
      profile:NAME[/raw]                 a databroker or Tiled profile
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
    the same documents). Ctrl-Z pauses, fg goes on.

    Exit codes: 0 every run complete, no reading failed and (with --verify) equal; 1 a reading failed, an
    archive is damaged or unfinished, or results differ; 2 something you gave is missing or wrong; 3 the
    target does not take results; 130 and 143 interrupted.
    """
    from streamproc.cli.replay_text import listing_lines, outcome_json, outcome_lines
    from streamproc.cli.replaying import Task, replay_all

    task = Task(**given)
    task.configure()
    if task.only_list:
        for line in listing_lines(task.selected()):
            click.echo(line)
        return 0
    with stopping() as (stop, caught):
        results = []
        for done in replay_all(task, stop):
            results.append(done)
            if not task.as_json:
                click.echo("\n".join(outcome_lines(done)))
    if task.as_json:
        click.echo(json.dumps([outcome_json(done) for done in results], indent=2, default=str))
    return _ended(task, caught, all(done.good for done in results), stop.is_set())


def _ended(task: Task, caught: Sequence[int], good: bool, stopped: bool) -> int:
    if stopped:
        click.echo(f"streamproc: interrupted; {task.how_to_resume()}", err=True)
        return _EPILOGUE + caught[0] if caught else 1
    return 0 if good else 1


@contextmanager
def stopping() -> Iterator[tuple[threading.Event, list[int]]]:
    """Turn the first Ctrl-C or SIGTERM into an event; a second one ends at once."""
    stop, caught = threading.Event(), []  # type: ignore[var-annotated]
    numbers = (signal.SIGINT, signal.SIGTERM)
    main = threading.current_thread() is threading.main_thread()
    before = {n: signal.getsignal(n) for n in numbers} if main else {}

    def end(number: int, frame: Any) -> None:
        if caught:
            sys.exit(_EPILOGUE + number)
        caught.append(number)
        stop.set()

    for number in before:
        signal.signal(number, end)
    try:
        yield stop, caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def parse_speed(text: str) -> float:
    """Return how many times faster: ``real`` 1, ``10x`` 10, ``max`` infinite.

    Raises
    ------
    ConfigurationError
        None of these.
    """
    known = {"real": 1.0, "max": float("inf")}
    try:
        speed = known[text] if text in known else float(text.removesuffix("x"))
    except ValueError:
        speed = 0.0
    if not speed > 0:
        raise ConfigurationError(f"--speed {text!r}: expected real, max, or a number such as 10x")
    return speed
