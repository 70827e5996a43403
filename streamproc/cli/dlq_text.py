"""How dead letters are told: lines, totals, and documents that nobody may trust."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from streamproc.errors import DocumentRefused
from streamproc.transports.codec import DecodeLimits, decode
from streamproc.transports.kafka.reading import Message
from streamproc.transports.letters import Letter

__all__ = ["facts", "page", "plain", "report", "shorten", "size_text", "table", "totals"]

_MOST_REASONS = 10
_REASON_CHARS = 90
_DUMPED_BYTES = 256
_SHOWN_ITEMS = 20
_SHOWN_CHARS = 500


def plain(text: str) -> str:
    """Return text with everything escaped that could steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def size_text(size: int) -> str:
    """Return a number of bytes in words."""
    if size < 1000:
        return f"{size} B"
    power = 1 + (size >= 999_950) + (size >= 999_950_000)
    return f"{size / 1000**power:.1f} {('kB', 'MB', 'GB')[power - 1]}"


def table(letters: Sequence[Letter]) -> Iterator[str]:
    """Yield a heading and a line per letter; the key comes first and can be copied."""
    rows = [
        (
            plain(x.name), plain(x.kind), _subject(x), _time(x.first_s), _time(x.last_s), str(x.count),
            size_text(x.size), ("settled: " if x.settled else "") + shorten(plain(x.reason)),
        )
        for x in letters
    ]  # fmt: skip
    heading = ("KEY", "KIND", "RUN/SEQ_NUM", "FIRST", "LAST", "COUNT", "SIZE", "REASON")
    widths = [max(len(row[i]) for row in (heading, *rows)) for i in range(len(heading) - 1)]
    for row in (heading, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        yield "  ".join((*cells, row[-1]))


def totals(letters: Sequence[Letter]) -> Iterator[str]:
    """Yield how many letters there are, by kind and by reason."""
    kinds = Counter(x.kind for x in letters)
    by_kind = ", ".join(f"{plain(kind)} {n}" for kind, n in kinds.most_common())
    yield f"letters: {len(letters)}, {size_text(sum(x.size for x in letters))}" + f" ({by_kind})" * bool(
        kinds
    )
    reasons = Counter((x.kind, x.reason) for x in letters)
    for (kind, reason), n in reasons.most_common(_MOST_REASONS):
        yield f"{n:7}  {plain(kind)}: {shorten(plain(reason))}"
    rest = reasons.most_common()[_MOST_REASONS:]
    if rest:
        yield f"{sum(n for _, n in rest):7}  for {len(rest)} other reasons"


def facts(letter: Letter) -> dict[str, Any]:
    """Return what is known of a letter as plain values."""
    origin = letter.origin
    return {
        "key": letter.name,
        "kind": letter.kind,
        "reason": letter.reason,
        "topic": None if origin is None else origin.topic,
        "partition": None if origin is None else origin.partition,
        "offset": None if origin is None else origin.offset,
        "message_key": _text(letter.message_key),
        "analyses": list(letter.analyses),
        "run_uid": letter.run_uid,
        "stream": letter.stream,
        "seq_nums": list(letter.seq_nums),
        "first_s": letter.first_s,
        "last_s": letter.last_s,
        "count": letter.count,
        "size": letter.size,
        "cut": letter.cut,
        "settled": letter.settled,
        "lies_at": str(letter.place),
    }


def report(letter: Letter, message: Message, limits: DecodeLimits) -> dict[str, Any]:
    """Return everything about a letter as plain values: facts, headers, the document where it decodes."""
    told = facts(letter) | {"headers": [[k, _text(v)] for k, v in message.headers]}
    try:
        name, doc = decode(message.value or b"", limits)
    except DocumentRefused as error:
        return told | {"undecodable": error.message}
    return told | {"name": name, "document": _summary(doc)}


def page(letter: Letter, message: Message, limits: DecodeLimits) -> Iterator[str]:
    """Yield the lines that show everything about a letter; what is long is cut."""
    told = facts(letter)
    told |= {"first_s": _time(letter.first_s), "last_s": _time(letter.last_s)}
    for name, value in told.items():
        if value not in (None, [], ""):
            shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            yield f"{name.removesuffix('_s'):12} {plain(shown)}"
    yield "headers"
    for name, raw in message.headers:
        yield f"  {plain(name):10} {plain(_text(raw) or '')}"
    value = message.value or b""
    try:
        name, doc = decode(value, limits)
    except DocumentRefused as error:
        yield f"undecodable  {plain(error.message)}"
        yield from hex_lines(value[:_DUMPED_BYTES])
        if len(value) > _DUMPED_BYTES:
            yield f"... {len(value) - _DUMPED_BYTES} more bytes; `streamproc dlq export` writes them all"
        return
    yield f"document     {plain(name)}"
    summary = _summary(doc, _SHOWN_ITEMS, _SHOWN_CHARS)
    yield from (plain(line) for line in json.dumps(summary, indent=2, ensure_ascii=False).split("\n"))


def hex_lines(raw: bytes) -> Iterator[str]:
    """Yield bytes as hexadecimal numbers and as text, sixteen a line."""
    for at in range(0, len(raw), 16):
        row = raw[at : at + 16]
        text = "".join(chr(b) if 32 <= b < 127 else "." for b in row)
        yield f"  {at:06x}  {row.hex(' '):47}  {text}"


def _subject(letter: Letter) -> str:
    seq_nums = [str(n) for n in letter.seq_nums]
    if len(seq_nums) > 3:
        seq_nums = [f"{seq_nums[0]}..{seq_nums[-1]}"]
    parts = [(letter.run_uid or "-")[:8], *([",".join(seq_nums)] if seq_nums else [])]
    return plain("/".join(parts))


def _time(time_s: float | None) -> str:
    """Return a time as the clock of this machine has it."""
    try:
        return datetime.fromtimestamp(time_s).isoformat(" ", "seconds") if time_s is not None else "-"
    except (ValueError, OverflowError, OSError):
        return f"{time_s:g}"


def shorten(text: str, most: int = _REASON_CHARS) -> str:
    """Return the beginning of a text."""
    return text if len(text) <= most else text[: most - 3] + "..."


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode("utf-8", "backslashreplace")


def _summary(value: Any, items: int | None = None, chars: int | None = None) -> Any:
    """Return a decoded value for JSON: arrays as what they are; long lists, maps and texts cut if asked."""
    if isinstance(value, np.ndarray):
        return {"array": _array_facts(value)}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        shown = {str(k): _summary(v, items, chars) for k, v in list(value.items())[:items]}
        return shown if len(shown) == len(value) else {**shown, "...": f"{len(value) - len(shown)} more"}
    if isinstance(value, list | tuple):
        kept = [_summary(v, items, chars) for v in value[:items]]
        return kept if len(kept) == len(value) else [*kept, f"... {len(value) - len(kept)} more"]
    if isinstance(value, bytes):
        return {"bytes": len(value), "hex": value[:16].hex(" ")}
    if isinstance(value, str):
        return value if chars is None else shorten(value, chars)
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)  # complex numbers, NaN, infinity: JSON has no word for them


def _array_facts(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"dtype": str(array.dtype), "shape": list(array.shape)}
    if array.dtype.kind in "biuf" and array.size:
        finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
        if finite.size < array.size:
            told["not_finite"] = array.size - finite.size
        if finite.size:
            number = float if array.dtype.kind == "f" else int
            told |= {"min": number(finite.min()), "max": number(finite.max())}
    return told
