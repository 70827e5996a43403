"""``streamproc record``: a live topic as files, to be replayed anywhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from streamproc.replay.recording import RecordReport

__all__ = ["record_command"]

_TELL_S = 0.2


@click.command("record")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder to record into."
)
@click.option("--topic", metavar="NAME", help="Topic; by default the raw topic of the settings.")
@click.option("--frames", is_flag=True, help="Copy the detector files that documents point to, too.")
@click.option(
    "--until-idle", "until_idle_s", type=click.FloatRange(min=0), metavar="SECONDS",
    help="End when nothing has come for so long; without it: go on until Ctrl-C.",
)  # fmt: skip
@click.option("--since", metavar="WHEN", help="A new recording begins then: 30m, 2h, or 2026-01-31T12:00.")
@click.option("--config", "-c", type=click.Path(path_type=Path), help="Settings file (TOML).")
@click.option("--bootstrap", metavar="HOST:PORT", help="Broker; overrides the file.")
@click.option("--beamline", metavar="NAME", help="Short name that begins every topic; overrides the file.")
def record_command(
    out: Path,
    topic: str | None,
    frames: bool,
    until_idle_s: float | None,
    since: str | None,
    config: Path | None,
    bootstrap: str | None,
    beamline: str | None,
) -> int:
    """Archive a live topic so that any of its runs can be replayed elsewhere.

    One file per run in OUT/runs, with the messages as they came; OUT/manifest.json has positions and SHA-256
    checksums. With --frames the detector files are copied to OUT/frames when their run ends (they must lie in
    frames.roots), and a replay finds them there. Nothing is committed to the broker.

    \b
    Examples:
      streamproc record --out /archive/today --frames --config beamline.toml
      streamproc record --out sample-7 --topic xpd.bluesky.runengine.documents --since 2h --until-idle 5
      streamproc replay sample-7 --run -1 --config beamline.toml

    The same command again goes on where it ended, also after a crash or kill -9: nothing is doubled or left
    out.

    Exit codes: 0 recorded, 1 frames could not be copied (the documents are), 2 something you gave is missing
    or wrong, 3 the folder cannot be written.
    """
    from streamproc.cli.controls import stopping
    from streamproc.cli.reading import parse_since
    from streamproc.cli.wiring import settings_of
    from streamproc.observability.logs import configure_logs
    from streamproc.replay.recording import Recorder

    settings = settings_of(config, bootstrap, beamline)
    configure_logs(settings.observability.model_copy(update={"log_level": "error"}))
    name = topic or settings.topic("raw")
    recorder = Recorder(settings, name, out, frames=frames, since_s=parse_since(since))
    with stopping() as (stop, _):
        report = recorder.run(until_idle_s=until_idle_s, stop=stop, tell=_teller())
    click.echo(_summary(report, name, out))
    for text in report.missing:
        click.echo(f"not copied: {text}")
    return 1 if report.missing else 0


def _summary(report: RecordReport, topic: str, out: Path) -> str:
    parts = [
        f"{report.messages:,} messages of {topic}: {report.runs} run(s) complete, {report.open_runs} open"
    ]
    if report.frame_files:
        parts.append(f"{report.frame_files} frame file(s), {report.frame_bytes / 1e6:,.1f} MB")
    if report.strays:
        parts.append(f"{report.strays} document(s) of runs that began before or had ended were left out")
    if report.undecodable:
        parts.append(f"{report.undecodable} message(s) are no documents")
    return f"{'; '.join(parts)}; in {out}"


def _teller() -> Callable[[RecordReport], None] | None:
    """Show on a terminal how far it is."""
    if not sys.stderr.isatty():
        return None
    last_s = 0.0

    def tell(report: RecordReport) -> None:
        nonlocal last_s
        now_s = time.monotonic()
        if now_s - last_s >= _TELL_S:
            last_s = now_s
            text = f"recording: {report.messages:,} messages, {report.runs} run(s) complete"
            click.echo(f"\r{text}", err=True, nl=False)

    return tell
