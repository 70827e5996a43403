"""What ``streamproc dlq reinject`` and ``purge`` do, letter by letter, or would do."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from streamproc.cli.dlq_text import plain, shorten, size_text
from streamproc.settings import Settings
from streamproc.transports.deadletters import settled_letter
from streamproc.transports.kafka.letters import Poster, free_partitions, letter_messages
from streamproc.transports.letters import Letter, LetterBook
from streamproc.transports.ports import Outgoing
from streamproc.transports.reinjection import Reinjection, refusal, reinjections

__all__ = ["Purge", "Reinjecting", "Told"]


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a letter, or would: a sentence, and whether it is what was asked for."""

    letter: Letter
    done: bool
    text: str


@dataclass(frozen=True, slots=True)
class Reinjecting:
    """Letters on their way to the raw topic.

    Parameters
    ----------
    settings : Settings
        Broker and topics.
    letters : sequence of Letter
        Which; they are written in the order of the original messages.
    partitions : int
        Partitions of the raw topic.
    analysis : str or None
        Who is to take them; None: those who refused them.
    repaired : bytes or None
        Written in the place of what was kept.
    timeout_s : float
        Deadline of reading their bytes (s).
    """

    settings: Settings
    letters: Sequence[Letter]
    partitions: int
    analysis: str | None
    repaired: bytes | None
    timeout_s: float
    _gone: list[Letter] = field(default_factory=list)

    def refused(self) -> Iterator[Told]:
        """Yield the letters that cannot be reinjected."""
        for letter in self.letters:
            if reason := self._refusal(letter):
                yield Told(letter, False, f"not reinjected: {reason}")

    def would(self) -> Iterator[Told]:
        """Yield what :meth:`write` would do."""
        for letter in self._possible():
            size = letter.size if self.repaired is None else len(self.repaired)
            place = "" if letter.origin is None else f"{letter.origin.topic}/{letter.origin.partition}"
            for analysis in [self.analysis] if self.analysis else letter.analyses:
                yield Told(letter, True, self._text(letter, "would be written", place, analysis, size))

    def write(self) -> Iterator[Told]:
        """Write them and yield what became of each."""
        with Poster(self.settings) as poster:
            for posted in poster.post(self._messages()):
                letter, analysis, size = posted.item
                if posted.error is not None:
                    yield Told(letter, False, f"not reinjected: the broker refuses it: {posted.error}")
                else:
                    text = self._text(letter, "written", str(posted.place), analysis, size)
                    yield Told(letter, True, text)
        for letter in self._gone:
            yield Told(letter, False, "not reinjected: it has gone meanwhile (by age, or refused again)")

    def _refusal(self, letter: Letter) -> str | None:
        topic, repaired = self.settings.topic("raw"), self.repaired is not None
        return refusal(letter, topic, self.partitions, self.analysis, repaired=repaired)

    def _possible(self) -> list[Letter]:
        possible = [letter for letter in self.letters if self._refusal(letter) is None]
        return sorted(possible, key=lambda letter: letter.origin or letter.place)

    def _messages(self) -> Iterator[tuple[tuple[Letter, str, int], Reinjection]]:
        for letter, value in self._values():
            names = [self.analysis] if self.analysis else letter.analyses
            messages = reinjections(letter, value, self.analysis)
            yield from (((letter, n, len(value)), m) for n, m in zip(names, messages, strict=True))

    def _values(self) -> Iterator[tuple[Letter, bytes]]:
        if self.repaired is not None:
            yield from ((letter, self.repaired) for letter in self._possible())
            return
        for letter, message in letter_messages(self.settings, self._possible(), self.timeout_s):
            if message is None or message.value is None:
                self._gone.append(letter)
            else:
                yield letter, message.value

    def _text(self, letter: Letter, what: str, place: str, analysis: str, size: int) -> str:
        key = "without a key"
        if letter.message_key is not None:
            key = f"key {letter.message_key.decode(errors='backslashreplace')}"
        note = ""
        if letter.kind == "undecodable" and self.repaired is None:
            note = "; as it is undecodable, it can only succeed with another version or other limits"
        return plain(f"{what} to {place} for {analysis}, {key}, {size_text(size)}{note}")


class Purge:
    """Letters that are to be settled.

    Parameters
    ----------
    settings : Settings
        Broker and topic.
    book : LetterBook
        All letters, for what shares a key and what can be freed.
    letters : sequence of Letter
        Which.
    """

    def __init__(self, settings: Settings, book: LetterBook, letters: Sequence[Letter]) -> None:
        self._settings, self._book, self._letters = settings, book, letters
        self._places = {letter.place for letter in letters}
        self._left: dict[tuple[int, bytes], list[str]] = {}

    def refused(self) -> Iterator[Told]:
        """Yield the letters that cannot be settled."""
        for letter in self._letters:
            if reason := self._refusal(letter):
                yield Told(letter, False, f"not settled: {reason}")

    def possible(self) -> list[Letter]:
        """Return the letters that can be settled."""
        return [letter for letter in self._letters if self._refusal(letter) is None]

    def would(self) -> Iterator[Told]:
        """Yield what :meth:`write` would do."""
        return (Told(x, True, _text(x, "would be settled")) for x in self.possible())

    def write(self) -> Iterator[Told]:
        """Write the marks and yield what became of each letter."""
        topic = self._settings.topic("deadletters")
        marks = ((x, _mark(topic, x)) for x in self.possible())
        with Poster(self._settings) as poster:
            for posted in poster.post(marks):
                if posted.error is not None:
                    text = f"not settled: the broker refuses the mark: {posted.error}"
                    yield Told(posted.item, False, plain(text))
                else:
                    yield Told(posted.item, True, _text(posted.item, "settled"))

    def would_free(self, settled: Collection[Letter]) -> Iterator[str]:
        """Yield a sentence per partition that :meth:`free` would free."""
        for partition, offset in sorted(self._book.free_offsets(settled).items()):
            yield f"partition {partition} would be freed below offset {offset}"

    def free(self, settled: Collection[Letter]) -> Iterator[str]:
        """Free the partitions up to their oldest open letter and yield a sentence for each."""
        offsets = self._book.free_offsets(settled)
        error = free_partitions(self._settings, offsets) if offsets else None
        if error is not None:
            yield plain(f"the broker frees nothing now ({error}); it does by age, and where it compacts")
            return
        for partition, offset in sorted(offsets.items()):
            yield f"partition {partition} freed below offset {offset}"

    def _refusal(self, letter: Letter) -> str | None:
        if letter.settled:
            return "it is settled already"
        if letter.key is None:
            return "it has no key that a mark could name; it goes by age"
        left = self._not_chosen(letter, letter.key)
        if left:
            return (
                f"its mark would settle {len(left)} older letters with the same key as well, e.g. {left[0]}"
            )
        return None

    def _not_chosen(self, letter: Letter, key: bytes) -> list[str]:
        """Return the letters that share the key and are not to be settled; asked once for each key."""
        place = (letter.place.partition, key)
        if place not in self._left:
            sharing = self._book.sharing(letter)
            self._left[place] = [other.name for other in sharing if other.place not in self._places]
        return self._left[place]


def _mark(topic: str, letter: Letter) -> Outgoing:
    # A topic may have been given more partitions since: the mark belongs where the letter lies.
    return replace(settled_letter(topic, letter.key or b""), partition=letter.place.partition)


def _text(letter: Letter, what: str) -> str:
    return plain(f"{what}, {letter.kind}, {size_text(letter.size)}: {shorten(letter.reason)}")
