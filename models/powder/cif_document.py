"""CIF files as tagged values with line numbers; the syntax is gemmi's business, the encoding is ours."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamproc.errors import ConfigurationError

__all__ = ["Block", "Column", "Note", "Value", "number", "read_blocks", "uncertainty"]

_MOST_BYTES = 100_000_000
_LOOKALIKES = str.maketrans("\u2212\u2013\u00a0\u2018\u2019\u201c\u201d", "-- ''\"\"")
"""Characters a word processor puts in place of CIF's own."""
_TOKEN = re.compile(
    r"(?P<skip>#[^\n]*|[ \t\n]+)|(?P<text>(?<![^\n]);[^\n]*\n(?:(?!;)[^\n]*\n)*;)"
    r"|(?P<quoted>'(?:[^'\n]|'(?=\S))*'|\"(?:[^\"\n]|\"(?=\S))*\")|(?P<bare>\S+)"
)
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?:\(\d*\))?$")
_FRACTION = re.compile(r"([+-]?\d+)/([1-9]\d*)$")


@dataclass(frozen=True, slots=True)
class Note:
    """Something that was noticed in a CIF and does not stop its use.

    Attributes
    ----------
    kind : str
        One word for programs: ``"b-default"``, ``"formula"``, ``"symmetry"``, ...
    text : str
        The sentence for people.
    line : int, optional
        Line of the file.
    """

    kind: str
    text: str
    line: int | None = None

    def __str__(self) -> str:
        return self.text if self.line is None else f"{self.text} (line {self.line})"


@dataclass(frozen=True, slots=True)
class Value:
    """A value that stands alone: its text, its tag as written, its line."""

    text: str
    tag: str
    line: int


@dataclass(frozen=True, slots=True)
class Column:
    """Values of one tag: several in a loop, one otherwise; None where the file says '?' or '.'."""

    tag: str
    values: tuple[str | None, ...]
    line: int
    place: int = -1
    width: int = 0

    @property
    def looped(self) -> bool:
        """Whether the tag belongs to a loop."""
        return self.width > 0


@dataclass(frozen=True, slots=True)
class Block:
    """One data block.

    Attributes
    ----------
    file : str
        File name, for messages.
    name : str
        Name of the block, without ``data_``.
    columns : mapping of str to Column
        By tag in lower case with underscores for dots, so that old and new dictionaries read alike.
    text : str
        The whole file.
    """

    file: str
    name: str
    columns: Mapping[str, Column] = field(repr=False)
    text: str = field(repr=False)

    def column(self, *tags: str) -> Column | None:
        """Return the first of the columns that has a value at all."""
        for tag in tags:
            found = self.columns.get(tag)
            if found is not None and any(v is not None for v in found.values):
                return found
        return None

    def value(self, *tags: str) -> Value | None:
        """Return the first value given under one of the tags."""
        found = self.column(*tags)
        if found is None:
            return None
        row = next(i for i, v in enumerate(found.values) if v is not None)
        return Value(str(found.values[row]), found.tag, self.line_of(found, row))

    def line_of(self, column: Column, row: int) -> int:
        """Return the line a value starts on; inside loops by counting the tokens before it."""
        if not column.looped:
            return column.line
        start = 0
        for _ in range(column.line - 1):
            start = self.text.index("\n", start) + 1
        wanted = 1 + column.width + row * column.width + column.place
        for index, match in enumerate(_tokens(self.text, start)):
            if index == wanted:
                return self.text.count("\n", 0, match.start()) + 1
        return column.line

    def error(self, message: str, line: int | None = None, tag: str | None = None) -> ConfigurationError:
        """Return the error that says where in the file the message belongs."""
        where = [self.file if line is None else f"{self.file} line {line}", f"data_{self.name}"]
        return ConfigurationError(f"{', '.join([*where, *([tag] if tag else [])])}: {message}")


def number(text: str) -> float | None:
    """Return the number a CIF value writes: an uncertainty in brackets is left out, 1/3 is a third."""
    match = _NUMBER.fullmatch(text.strip())
    if match:
        value = float(match[1])
        return value if abs(value) < 1e300 else None
    fraction = _FRACTION.fullmatch(text.strip())
    return float(fraction[1]) / float(fraction[2]) if fraction else None


def uncertainty(text: str) -> float:
    """Return the standard uncertainty in brackets behind a number: 0.52(3) gives 0.03, 0.52 gives 0."""
    match = re.fullmatch(r"[+-]?(\d*)\.?(\d*)\((\d+)\)", text.strip())
    return float(match[3]) / 10 ** len(match[2]) if match else 0.0


def read_blocks(path: Path) -> tuple[list[Block], list[Note]]:
    """Read the data blocks of a CIF file.

    Returns
    -------
    list of Block, list of Note
        The blocks, and what was noticed about the encoding.

    Raises
    ------
    ConfigurationError
        When the file is missing, empty, too large, binary or no CIF; the message names file and line.
    """
    try:
        import gemmi
    except ImportError as error:
        raise ConfigurationError("reading CIF files needs gemmi: pip install 'streamproc[train]'") from error
    text, notes = _text_of(path)
    try:
        document = gemmi.cif.read_string(text)
    except (RuntimeError, ValueError) as error:
        raise _syntax_error(path, str(error)) from error
    if not len(document):
        raise ConfigurationError(f"{path}: no data block (a line 'data_NAME') in it, so it is no CIF file")
    return [Block(path.name, block.name.strip(), _columns(block), text) for block in document], notes


def _text_of(path: Path) -> tuple[str, list[Note]]:
    """Decode a file: UTF-8, UTF-16 with its mark, or else Windows-1252; line ends become line feeds."""
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise ConfigurationError(
                f"{path}: {size:,} bytes, at most {_MOST_BYTES:,} are read as a CIF file"
            )
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror or error}") from error
    if data[:2] in (b"\x1f\x8b", b"PK"):
        raise ConfigurationError(f"{path}: is compressed; unpack it first")
    notes = []
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = data.decode("utf-16", errors="replace")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("cp1252", errors="replace")
            notes.append(Note("encoding", f"{path.name} is not UTF-8; read as Windows-1252"))
    if "\0" in text:
        raise ConfigurationError(f"{path}: holds zero bytes, so it is no text file; a CIF file is expected")
    if not text.strip():
        raise ConfigurationError(f"{path}: is empty; a CIF file is expected")
    text = re.sub("\r\n?", "\n", text).translate(_LOOKALIKES)
    # what the grammar of CIF has no place for: control characters, in comments and names of old files
    return re.sub(r"[\x01-\x08\x0b-\x1f\x7f]", " ", text), notes


def _syntax_error(path: Path, message: str) -> ConfigurationError:
    match = re.match(r"string(?::(\d+)(?::\d+\(\d+\))?)?(?: in (data_\S*))?:? *(.*)", message, re.S)
    line, block, what = match.groups() if match else (None, None, message)
    at = f"{path.name} line {line}" if line else path.name
    return ConfigurationError(
        f"{at}{f', {block}' if block else ''}: {what.strip() or 'not understood'}; this is not the "
        "syntax of a CIF 1.1 file (quotes, text fields and loops must be closed, and every tag be given "
        "once)"
    )


def _columns(block: Any) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    for item in block:
        if item.pair is not None:
            tag, raw = item.pair
            columns.setdefault(_key(tag), Column(tag, (_plain(raw),), item.line_number))
        elif item.loop is not None:
            tags, values = item.loop.tags, item.loop.values
            for place, tag in enumerate(tags):
                own = tuple(_plain(raw) for raw in values[place :: len(tags)])
                columns.setdefault(_key(tag), Column(tag, own, item.line_number, place, len(tags)))
    return columns


def _key(tag: str) -> str:
    return tag.lower().replace(".", "_")


def _plain(raw: str) -> str | None:
    import gemmi

    return None if gemmi.cif.is_null(raw) else gemmi.cif.as_string(raw).strip()


def _tokens(text: str, start: int) -> Iterator[re.Match[str]]:
    for match in _TOKEN.finditer(text, start):
        if match.lastgroup != "skip":
            yield match
