"""Which letters a ``streamproc dlq`` command is about: its options, and the letters they mean."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from streamproc.cli.reading import parse_since, progress
from streamproc.cli.wiring import settings_of
from streamproc.errors import ConfigurationError
from streamproc.settings import Settings
from streamproc.transports.kafka.letters import read_letters
from streamproc.transports.letters import Letter, LetterBook, LetterFilter

__all__ = [
    "Choice",
    "choice_options",
    "chosen",
    "connection_options",
    "filter_options",
    "open_book",
]

_KINDS = ("undecodable", "refused", "unexpected", "frame", "unknown")


def connection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say where the letters are; the command gets ``settings`` and ``timeout_s``."""

    @functools.wraps(command)
    def with_settings(config: Path | None, bootstrap: str | None, beamline: str | None, **rest: Any) -> Any:
        return command(settings=settings_of(config, bootstrap, beamline), **rest)

    return _with(
        with_settings,
        click.option("--config", "-c", type=click.Path(path_type=Path), help="Settings file (TOML)."),
        click.option("--bootstrap", metavar="HOST:PORT", help="Broker, instead of the one in the settings."),
        click.option("--beamline", metavar="NAME", help="Beamline whose letters are meant."),
        click.option(
            "--timeout",
            "timeout_s",
            type=click.FloatRange(min=0, min_open=True),
            default=600.0,
            show_default=True,
            metavar="SECONDS",
            help="Deadline for reading the topic.",
        ),
    )


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which letters; the command gets them as ``wanted``, a LetterFilter."""

    @functools.wraps(command)
    def with_filter(
        run_uid: str | None, analysis: str | None, kind: str | None, reason: str | None, since: str | None,
        **rest: Any,
    ) -> Any:  # fmt: skip
        return command(wanted=LetterFilter(run_uid, analysis, kind, reason, parse_since(since)), **rest)

    return _with(
        with_filter,
        click.option(
            "--run", "run_uid", metavar="UID", help="Of this run (the beginning of its uid will do)."
        ),
        click.option("--analysis", metavar="NAME", help="Refused by this analysis."),
        click.option("--kind", type=click.Choice(_KINDS), help="Of this kind."),
        click.option("--reason", metavar="TEXT", help="With this text in the reason, in any case."),
        click.option(
            "--since", metavar="WHEN", help="Refused since then: 30m, 2h, 3d, or 2026-01-31[T12:00[+01:00]]."
        ),
    )


def choice_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add KEYs, filters and ``--all``; the command gets them as ``choice``, a Choice."""

    @functools.wraps(command)
    def with_choice(names: tuple[str, ...], wanted: LetterFilter, everything: bool, **rest: Any) -> Any:
        return command(choice=Choice(names, wanted, everything), **rest)

    return filter_options(
        _with(
            with_choice,
            click.argument("names", nargs=-1, metavar="[KEY]..."),
            click.option("--all", "everything", is_flag=True, help="Every open letter."),
        )
    )


def _with(command: Callable[..., Any], *options: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(options):
        command = option(command)
    return command


def open_book(settings: Settings, timeout_s: float) -> LetterBook:
    """Read the letters; when it takes long, say how far it is."""
    with progress(settings.topic("deadletters")) as tell:
        return read_letters(settings, timeout_s, tell)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters: by name, by filter, or all of them; one of the three (see :meth:`check`)."""

    names: tuple[str, ...]
    filter: LetterFilter
    everything: bool = False

    def check(self) -> None:
        """Refuse what could mean something else than was thought.

        Raises
        ------
        click.UsageError
            Nothing given, or names together with something else.
        """
        if self.names and (self.filter or self.everything):
            raise click.UsageError("give either KEYs, or filters (or --all), not both")
        if self.filter and self.everything:
            raise click.UsageError("give either filters or --all, not both")
        if not (self.names or self.filter or self.everything):
            raise click.UsageError(
                "say which letters: KEYs as `streamproc dlq list` shows them, filters (--run, --kind, ...) "
                "or --all"
            )


def chosen(book: LetterBook, choice: Choice, settings: Settings) -> list[Letter]:
    """Return the letters that are meant: settled ones only by name.

    Raises
    ------
    ConfigurationError
        There is no letter of a given name.
    """
    choice.check()
    if not choice.names:
        return list(choice.filter.apply(book.letters()))
    found = {name: book.find(name, settings.topic("raw")) for name in choice.names}
    _require(found, settings)
    return list(dict.fromkeys(letter for letters in found.values() for letter in letters))


def _require(found: Mapping[str, Sequence[Letter]], settings: Settings) -> None:
    missing = [name for name, letters in found.items() if not letters]
    if missing:
        more = f" (and {len(missing) - 3} more)" if len(missing) > 3 else ""
        raise ConfigurationError(
            f"no dead letter {', '.join(missing[:3])}{more} in topic {settings.topic('deadletters')}; "
            "`streamproc dlq list` shows them"
        )
