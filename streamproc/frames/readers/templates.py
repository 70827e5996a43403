"""File names from templates, both the ``%s%s_%6.6d.tiff`` and the ``name_{:06d}.tiff`` style.

Templates come from documents, so they are never given to ``%`` or ``str.format`` as a whole:
``{:9999999999d}`` would fill the memory and ``{0.__class__}`` reaches into objects.
Only text and integer fields are filled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from streamproc.errors import FrameFailed
from streamproc.frames.readers.asks import Ask

__all__ = ["expand", "file_names"]

_FIELD = re.compile(
    r"%%|%s|%[-+#0 ]*\d{0,3}(?:\.\d{1,3})?[di]|\{:?s\}|\{0?(?::[<>+ ]?0?\d{0,3}d?)?\}|\{\{|\}\}"
)
_MOST_FILES = 10_000
_LEFT_OVER = re.compile(r"[%{}]")


def expand(template: str, texts: tuple[str, ...], number: int) -> str:
    """Fill a template's text fields with ``texts`` in order and its one integer field with ``number``.

    Raises
    ------
    FrameFailed
        A field of another kind, more text fields than texts, or not exactly one integer field.
    """
    words = iter(texts)
    counts = {"number": 0}

    def fill(match: re.Match[str]) -> str:
        return _filled(match[0], words, number, counts, template)

    rest = _FIELD.sub("", template)
    if len(template) > 1000 or _LEFT_OVER.search(rest):
        raise FrameFailed(
            f"the file name template {template!r:.200} has fields that are not %s, %d or {{:d}}"
        )
    name = _FIELD.sub(fill, template)
    if counts["number"] != 1:
        raise FrameFailed(f"the file name template {template!r:.200} needs exactly one number field")
    return name


def _filled(found: str, words: Iterator[str], number: int, counts: dict[str, int], template: str) -> str:
    if found in ("%%", "{{", "}}"):
        return found[0]
    if found.endswith("s") or found == "{:s}" or found == "{s}":
        word = next(words, None)
        if word is None:
            raise FrameFailed(f"the file name template {template!r:.200} has too many text fields")
        return word
    counts["number"] += 1
    if found.startswith("%"):
        return found % number
    return format(number, found.strip("{}").partition(":")[2])


def file_names(ask: Ask, files_per_reading: int) -> list[str]:
    """Return the local paths (unchecked) of the files of one reading.

    Without a template the base itself is the one file. Stream style joins the expanded template to the URI
    as it stands, with a slash where the URI is an existing folder; datum style is
    ``template % (folder + "/", filename, number)`` as databroker's handlers do it.

    Raises
    ------
    FrameFailed
        A template or filename that cannot be used, or more files for one reading than are ever meant.
    """
    if files_per_reading > _MOST_FILES:
        raise FrameFailed(f"one reading in {files_per_reading} files: at most {_MOST_FILES} are read")
    template = ask.parameters.get("template")
    if template is None:
        return [ask.base]
    filename = ask.parameters.get("filename") or ""
    if not isinstance(template, str) or not isinstance(filename, str):
        raise FrameFailed("template and filename must be text")
    first = ask.index * files_per_reading
    return [_named(ask, template, filename, n) for n in range(first, first + files_per_reading)]


def _named(ask: Ask, template: str, filename: str, number: int) -> str:
    if ask.datum_style:
        return expand(template, (ask.base.rstrip("/") + "/", filename), number)
    texts = ("", filename) if template.count("%s") == 2 else (filename,)
    tail = expand(template, texts, number)
    if ask.base.endswith("/") or tail.startswith("/"):
        return ask.base.rstrip("/") + "/" + tail.lstrip("/")
    return ask.base + ("/" if Path(ask.base).is_dir() else "") + tail
