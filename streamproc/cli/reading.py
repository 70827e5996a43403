"""The topics of a beamline, read for `streamproc status` and `streamproc audit`; progress on stderr."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import click

from streamproc.audit.lookup import find_run
from streamproc.audit.published import ResultIndex
from streamproc.documents import Document
from streamproc.errors import ConfigurationError, DocumentRefused
from streamproc.settings import Settings
from streamproc.transports.codec import decode
from streamproc.transports.kafka.reading import TopicReader
from streamproc.transports.letters import Letter, LetterBook

__all__ = ["Found", "Topics", "parse_since", "progress"]

Which = Literal["raw", "results", "deadletters"]

_STARTS = (b"\x92\xa5start", b"\x92\xd9\x05start")
"""How the message of a start document begins; all others need not be decoded to know where runs begin."""

_CLOCKS_S = 300.0
"""How far the clocks of an acquisition machine and of a broker's clients may be apart (s)."""

_AGE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhdw]?)")
_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

_TERMINAL_S, _FILE_S = 0.2, 10.0
"""How often progress is told (s)."""


@dataclass(frozen=True, slots=True)
class Found:
    """A raw run, and from when on (Unix s) its documents and its results lie in the topics.

    ``results_since_s`` is None when it has no results; ``raw_since_s`` is None when that is not known.
    """

    run_uid: str
    results_since_s: float | None
    raw_since_s: float | None


class Topics:
    """Reads the topics of one beamline to the end they have now.

    Parameters
    ----------
    settings : Settings
        Broker and topic names.
    timeout_s : float
        Deadline for reading one topic (s).
    """

    def __init__(self, settings: Settings, timeout_s: float) -> None:
        self.settings = settings
        self._timeout_s = timeout_s

    @property
    def at_least_once(self) -> bool:
        """Whether the settings say that identical repeats may happen."""
        return self.settings.service.delivery == "at-least-once"

    @contextmanager
    def reader(self, which: Which, since_s: float | None = None) -> Iterator[TopicReader]:
        """Open one topic; a missing dead-letter topic counts as empty."""
        topic = self.settings.topic(which)
        with (
            progress(topic) as tell,
            TopicReader(
                self.settings.kafka,
                topic,
                since_s=since_s,
                timeout_s=self._timeout_s,
                progress=tell,
                missing_ok=which == "deadletters",
            ) as reader,
        ):
            yield reader

    def letters(self) -> list[Letter]:
        """Return the dead letters that are not settled."""
        book = LetterBook()
        with self.reader("deadletters") as reader:
            for message in reader.messages():
                book.add(message)
        return book.letters()

    def find(self, uid: str, index: ResultIndex) -> Found:
        """Say which run is meant; ``index`` is filled with the starts of all result runs.

        The raw topic, which may be large, is searched only for a run that has no results.

        Raises
        ------
        ConfigurationError
            No such run, or several that begin like this.
        """
        for document in self._starts("results"):
            index.add(document.doc, document.published_s)
        entries = index.entries.values()
        known = {e.uid: e.raw_uid for e in entries} | {e.raw_uid: e.raw_uid for e in entries}
        run_uid = find_run(uid, known)
        if run_uid is not None:
            mine = [e for e in entries if e.raw_uid == run_uid]
            published_s = min(e.published_s or 0.0 for e in mine)
            return Found(run_uid, published_s - 1.0, max(0.0, min(e.time_s for e in mine) - _CLOCKS_S))
        return self._find_raw(uid)

    def _find_raw(self, uid: str) -> Found:
        times_s = {str(d.doc.get("uid", "")): d.published_s for d in self._starts("raw")}
        run_uid = find_run(uid, {own: own for own in times_s})
        if run_uid is None:
            raw, results = self.settings.topic("raw"), self.settings.topic("results")
            raise ConfigurationError(
                f"run {uid!r} is neither in {raw} nor in {results} at {self.settings.kafka.bootstrap}; "
                "check the uid, --beamline, and how long the topics keep documents"
            )
        published_s = times_s[run_uid]
        return Found(run_uid, None, None if published_s is None else published_s - 1.0)

    def _starts(self, which: Which) -> Iterator[Document]:
        with self.reader(which) as reader:
            for message in reader.messages():
                if message.value is not None and message.value.startswith(_STARTS):
                    try:
                        name, doc = decode(message.value)
                    except DocumentRefused:
                        continue
                    yield Document(name, doc, message.position, published_s=message.timestamp_s)


def parse_since(text: str | None, now_s: float | None = None) -> float | None:
    """Return the Unix time (s) of an age or a date; None of None.

    Parameters
    ----------
    text : str or None
        ``30m``, ``2h``, ``3d``, ``1w`` or seconds; or ISO 8601, local where it has no zone.
    now_s : float or None
        Unix time (s) that ages count from; None: the clock's.

    Raises
    ------
    ConfigurationError
        It is neither.
    """
    if text is None:
        return None
    if age := _AGE.fullmatch(text):
        return (time.time() if now_s is None else now_s) - float(age[1]) * _UNITS_S[age[2]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ConfigurationError(
            f"--since {text!r}: expected an age such as 30m, 2h, 3d or seconds, or a time such as "
            "2026-01-31T18:00"
        ) from None


@contextmanager
def progress(topic: str) -> Iterator[Callable[[int, int], None]]:
    """Tell on stderr how far the reading of a topic is, when it takes long enough to wonder."""
    terminal = sys.stderr.isatty()
    every_s = _TERMINAL_S if terminal else _FILE_S
    last_s, shown = time.monotonic(), False

    def tell(passed: int, total: int) -> None:
        nonlocal last_s, shown
        now_s = time.monotonic()
        if now_s - last_s >= every_s:
            last_s, shown = now_s, True
            text = f"reading {topic}: {passed:,} of {total:,}"
            click.echo(f"\r{text}" if terminal else text, err=True, nl=not terminal)

    try:
        yield tell
    finally:
        if shown and terminal:
            click.echo("\r\033[K", err=True, nl=False)
