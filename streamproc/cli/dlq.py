"""``streamproc dlq``: look at dead letters, try them again, or settle them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import click

from streamproc.cli.dlq_answers import Purge, Reinjecting, Told
from streamproc.cli.dlq_choice import (
    Choice,
    choice_options,
    chosen,
    connection_options,
    filter_options,
    open_book,
)
from streamproc.cli.dlq_files import check_free, write_files
from streamproc.cli.dlq_text import facts, page, report, size_text, table, totals
from streamproc.errors import ConfigurationError, DocumentRefused
from streamproc.loading import analysis_names
from streamproc.settings import Settings
from streamproc.transports.codec import DecodeLimits, decode
from streamproc.transports.kafka import check_topics
from streamproc.transports.kafka.letters import letter_messages
from streamproc.transports.letters import Letter, LetterFilter

__all__ = ["dlq_group"]

_DRY_RUN = click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")


@click.group("dlq")
def dlq_group() -> None:
    """Dead letters: messages that could not be used, kept byte for byte with the reason.

    \b
    What is there, why, and all about one of them:
      streamproc dlq list --config beamline.toml
      streamproc dlq show demo.bluesky.runengine.documents/0@123
    Once the cause is gone, analyse them after all (try --dry-run first); or let them go:
      streamproc dlq reinject --kind frame --since 2h
      streamproc dlq purge --reason "not a decodable document"

    KEY is where the original message was, topic/partition@offset; partition@offset means the raw topic.
    """


@dlq_group.command("list", short_help="List the letters; how many by kind and reason.")
@connection_options
@filter_options
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the newest N.")
@click.option("--all", "--settled", "with_settled", is_flag=True, help="The settled ones too.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object per letter, one a line.")
def list_command(
    settings: Settings,
    timeout_s: float,
    wanted: LetterFilter,
    limit: int | None,
    with_settled: bool,
    as_json: bool,
) -> None:
    """List dead letters, the newest last; how many by kind and reason goes to stderr.

    Letters of one message are joined: first and last time, how often, the newest reason. Kinds: undecodable
    (no document), refused (a document that is wrong), unexpected (an error nobody foresaw), frame (a reading
    that failed), unknown (written before letters had kinds). Times are local.

    \b
    Examples:
      streamproc dlq list --config beamline.toml --since 1d
      streamproc dlq list --kind frame --run 4f2a --json

    Exit codes: 0 also when there are none; 2 no topic, no right to read it, or no broker.
    """
    letters = list(wanted.apply(open_book(settings, timeout_s).letters(settled=with_settled)))
    shown = letters[-limit:] if limit else letters
    lines = (json.dumps(facts(x)) for x in shown) if as_json else table(shown) if shown else ()
    for line in lines:
        click.echo(line)
    for line in totals(letters):
        click.echo(line, err=True)


@dlq_group.command("show", short_help="Show everything about one letter.")
@connection_options
@click.argument("name", metavar="KEY")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object, nothing cut.")
def show_command(settings: Settings, timeout_s: float, name: str, as_json: bool) -> None:
    """Show everything about one letter: the reason, times, headers, and the document.

    Arrays are told by dtype, shape, least and greatest value. Where the bytes are no document: why not, and
    the first of them. Nothing in a letter is executed or opened; control characters are shown escaped.

    \b
    Example:
      streamproc dlq show demo.bluesky.runengine.documents/0@123

    Exit codes: 0; 2 no such letter, or the topic cannot be read.
    """
    letters = chosen(open_book(settings, timeout_s), Choice((name,), LetterFilter()), settings)
    for letter, message in letter_messages(settings, letters, timeout_s):
        if message is None:
            raise ConfigurationError(f"dead letter {letter.name} has gone meanwhile")
        if as_json:
            click.echo(json.dumps(report(letter, message, _limits(settings)), indent=2))
        else:
            click.echo("\n".join(page(letter, message, _limits(settings))))


@dlq_group.command("export", short_help="Write letters as files.")
@connection_options
@choice_options
@click.option(
    "--to", "folder", type=click.Path(path_type=Path), required=True, help="Folder; made if need be."
)
@click.option("--force", is_flag=True, help="Replace files that are there.")
def export_command(settings: Settings, timeout_s: float, choice: Choice, folder: Path, force: bool) -> int:
    """Write letters as files: the original bytes (.msgpack), and what is known of each (.json).

    The .json has the headers and, where the bytes decode, the document (arrays told by dtype, shape and
    range). File names come from the position alone, never from what a message says.

    \b
    Examples:
      streamproc dlq export demo.bluesky.runengine.documents/0@123 --to letters
      streamproc dlq export --kind undecodable --to letters

    Exit codes: 0; 1 some letters have gone meanwhile; 2 no such letter, a file is there already (nothing is
    written then), or the topic cannot be read.
    """
    choice.check()
    letters = chosen(open_book(settings, timeout_s), choice, settings)
    if not force:
        check_free(folder, letters)
    found = letter_messages(settings, letters, timeout_s)
    written: list[Letter] = []
    for letter, path in write_files(folder, found, _limits(settings), force=force):
        click.echo(f"{letter.name}: {path or 'not written: it has gone meanwhile'}")
        written += [letter] if path else []
    _total(f"letters written to {folder}", written, letters)
    return 0 if len(written) == len(letters) else 1


@dlq_group.command("reinject", short_help="Write letters to the raw topic again.")
@connection_options
@choice_options
@_DRY_RUN
@click.option(
    "--file",
    type=click.Path(path_type=Path),
    help="A repaired message (.msgpack) in place of the kept bytes; with one KEY.",
)
def reinject_command(
    settings: Settings, timeout_s: float, choice: Choice, dry_run: bool, file: Path | None
) -> int:
    """Write letters to the raw topic again, for the analyses that refused them.

    Same bytes, partition and key, in the original order; other analyses pass them by, other consumers of
    the topic see a document twice. The service answers in the same result run while the run is open, else
    in a supplementary run linked to it, and settles the letter then; refused again, it stays, with the new
    reason.

    With KEYs, --analysis names who is to take them; with filters it also chooses the letters it refused.

    \b
    Examples:
      streamproc dlq reinject --kind frame --run 4f2a --dry-run
      streamproc dlq reinject demo.bluesky.runengine.documents/0@123 --file repaired.msgpack

    Exit codes: 0; 1 some could not be reinjected (each line says why); 2 no such letter, no raw topic, a file
    that is no document, or no right to write; 3 the broker did not answer.
    """
    analysis = choice.filter.analysis
    if choice.names:
        choice = replace(choice, filter=replace(choice.filter, analysis=None))
    choice.check()
    if file is not None and len(choice.names) != 1:
        raise click.UsageError("--file takes the place of one message: give one KEY")
    repaired = None if file is None else _repaired(file, _limits(settings))
    partitions = _raw_partitions(settings)
    letters = chosen(open_book(settings, timeout_s), choice, settings)
    _doubt(analysis, letters)
    work = Reinjecting(settings, letters, partitions, analysis, repaired, timeout_s)
    _tell(work.refused())
    done = _tell(work.would() if dry_run else work.write())
    _total("letters that would be reinjected" if dry_run else "letters reinjected", done, letters)
    return 0 if len(done) == len(letters) else 1


@dlq_group.command("purge", short_help="Settle letters: they are not listed any more.")
@connection_options
@choice_options
@_DRY_RUN
@click.option("--yes", is_flag=True, help="Do not ask.")
def purge_command(settings: Settings, timeout_s: float, choice: Choice, dry_run: bool, yes: bool) -> int:
    """Settle letters: they are not listed any more and cannot be reinjected.

    A mark with the letter's key is written; the broker drops the bytes when it compacts the topic. What lies
    before the oldest open letter of a partition is deleted at once.

    \b
    Examples:
      streamproc dlq purge --kind undecodable --dry-run
      streamproc dlq purge --all --yes

    Exit codes: 0; 1 some could not be settled (each line says why), or the answer was no; 2 no such letter,
    no right to write, or no terminal to ask at (--yes); 3 the broker did not answer.
    """
    choice.check()
    if not (dry_run or yes or sys.stdin.isatty()):
        raise click.UsageError("purge asks before it settles letters, and there is no terminal: give --yes")
    book = open_book(settings, timeout_s)
    letters = chosen(book, choice, settings)
    work = Purge(settings, book, letters)
    _tell(work.refused())
    if not (dry_run or yes) and not _agreed(settings, work.possible()):
        return 1
    done = _tell(work.would() if dry_run else work.write())
    for line in work.would_free(done) if dry_run else work.free(done):
        click.echo(line)
    _total("letters that would be settled" if dry_run else "letters settled", done, letters)
    return 0 if len(done) == len(letters) else 1


def _limits(settings: Settings) -> DecodeLimits:
    return DecodeLimits(message_bytes=settings.kafka.max_message_bytes)


def _repaired(file: Path, limits: DecodeLimits) -> bytes:
    try:
        raw = file.read_bytes()
        decode(raw, limits)
    except OSError as error:
        raise ConfigurationError(f"--file {file}: {error}") from error
    except DocumentRefused as error:
        raise ConfigurationError(f"--file {file}: {error.message}; nothing was written") from error
    return raw


def _raw_partitions(settings: Settings) -> int:
    (raw,) = [report for report in check_topics(settings) if report.role == "raw"]
    if not raw.partitions:
        raise ConfigurationError(
            f"topic {raw.name} does not exist at {settings.kafka.bootstrap} (or may not be seen); "
            "check --beamline and kafka.raw_topic"
        )
    return raw.partitions


def _doubt(analysis: str | None, letters: Iterable[Letter]) -> None:
    """Point out a name that no letter and no installed analysis has: nobody might take the messages."""
    known = {name for letter in letters for name in letter.analyses} | set(analysis_names())
    if analysis is not None and analysis not in known:
        click.echo(
            f"no installed analysis is named {analysis}: only a service of that name takes them", err=True
        )


def _agreed(settings: Settings, letters: Sequence[Letter]) -> bool:
    size, topic = size_text(_bytes(letters)), settings.topic("deadletters")
    return not letters or click.confirm(f"Settle {len(letters)} letters, {size}, in {topic}?", err=True)


def _tell(outcomes: Iterable[Told]) -> list[Letter]:
    """Print a line for each as it comes, which is the progress too; return those wholly done."""
    told: dict[Letter, bool] = {}
    for outcome in outcomes:
        click.echo(f"{outcome.letter.name}: {outcome.text}")
        told[outcome.letter] = told.get(outcome.letter, True) and outcome.done
    return [letter for letter, done in told.items() if done]


def _total(what: str, done: Sequence[Letter], letters: Sequence[Letter]) -> None:
    rest = f"; not: {len(letters) - len(done)}" if len(done) < len(letters) else ""
    click.echo(f"{what}: {len(done)}, {size_text(_bytes(done))}{rest}", err=True)


def _bytes(letters: Iterable[Letter]) -> int:
    return sum(letter.size for letter in letters)
