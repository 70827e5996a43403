"""What became of every message: the accounts of a fuzzed topic."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import streamproc
from streamproc import consumers, models
from streamproc.errors import DocumentRefused
from streamproc.testing.fuzzing import FuzzMessage
from streamproc.testing.watching import Access
from streamproc.transports.codec import DecodeLimits, decode
from streamproc.transports.deadletters import REINJECTED
from streamproc.validation import DOCUMENT_NAMES

ANALYSIS = b"phase-map"
CUT_BYTES = 1024 * 1024

Place = tuple[int, int]

_C_LIBRARY = ("/proc/sys/vm/overcommit_memory", "/sys/devices/system/cpu/online")
"""What the C library itself opens: when it gives memory back, and to count processors (for whatever asks
for the first time, such as a pool of threads)."""


@dataclass
class Ledger:
    """What was sent, by partition and offset, and what the service should have seen of it."""

    limits: DecodeLimits
    kinds: Counter[str] = field(default_factory=Counter)
    values: dict[Place, bytes] = field(default_factory=dict)
    undecodable: set[Place] = field(default_factory=set)
    elsewhere: set[Place] = field(default_factory=set)
    names: Counter[str] = field(default_factory=Counter)

    def sent(self, place: Place, message: FuzzMessage) -> None:
        """Enter a message."""
        value = message.value or b""
        self.kinds[message.kind] += 1
        self.values[place] = value if len(value) <= self.limits.message_bytes else value[:CUT_BYTES]
        again = dict(message.headers).get(REINJECTED)
        if again is not None and again != ANALYSIS:
            self.elsewhere.add(place)
            return
        try:
            name, _ = decode(value, self.limits)
        except DocumentRefused:
            self.undecodable.add(place)
        else:
            self.names[name if name in DOCUMENT_NAMES else "other"] += 1


@dataclass(frozen=True)
class Letter:
    """A dead letter as it lies in its topic."""

    place: Place | None
    kind: str
    reason: str
    value: bytes


def letters_of(records: Iterable[Any], topic: str) -> list[Letter]:
    """Return the letters of a topic's records; the place is None where a message claimed another's."""
    letters = []
    for record in records:
        if record.value is None:
            continue
        headers = {
            name: value.decode(errors="replace") for name, value in record.headers if value is not None
        }
        own = headers["topic"] == topic and headers["partition"].isdecimal() and headers["offset"].isdecimal()
        place = (int(headers["partition"]), int(headers["offset"])) if own else None
        letters.append(Letter(place, headers["kind"], headers["reason"], record.value))
    return letters


def account(
    ledger: Ledger, letters: Sequence[Letter], counts: Mapping[tuple[str, str], float]
) -> dict[str, Any]:
    """Return the sum of all messages and every fault in it.

    Each message is exactly one of: undecodable (a letter each), reinjected for another analysis (counted as
    skipped), or a document that was counted when it was taken in. Of those documents the refused and the
    unexpected have a letter each, the others were accepted or skipped with a count.
    """
    faults: list[str] = []
    by_kind = Counter(letter.kind for letter in letters)
    whole = [letter for letter in letters if letter.kind != "frame"]
    placed = Counter(letter.place for letter in whole if letter.place is not None)
    faults += [f"{n} letters for {place}" for place, n in placed.items() if n > 1]
    stray = Counter(letter.value for letter in letters if letter.place is None)
    known = Counter(ledger.values.values())
    faults += [f"letter with bytes nobody sent: {value[:60]!r}" for value in stray if not known[value]]
    faults += [
        f"letter of {letter.place} ({letter.kind}) has {len(letter.value)} bytes, not those of the message: "
        f"{letter.value[:40]!r}, {ledger.values.get(letter.place, b'')[:40]!r}"
        for letter in letters
        if letter.place is not None and ledger.values.get(letter.place) != letter.value
    ]
    faults += [f"letter of {letter.place} without a reason" for letter in letters if not letter.reason]
    faults += [
        f"unexpected: {letter.place} {letter.reason}" for letter in letters if letter.kind == "unexpected"
    ]
    read = {label: int(n) for (name, label), n in counts.items() if name == "streamproc_documents_total"}
    faults += [
        f"{ledger.names[name]} {name} sent, {read.get(name, 0)} counted"
        for name in sorted(ledger.names | read)
        if ledger.names[name] != read.get(name, 0)
    ]
    counted = {
        label: int(n) for (name, label), n in counts.items() if name == "streamproc_dead_letters_total"
    }
    faults += [
        f"{by_kind[kind]} letters of kind {kind}, {counted.get(kind, 0)} counted"
        for kind in sorted(by_kind | counted)
        if by_kind[kind] != counted.get(kind, 0)
    ]
    here = {x.place for x in whole if x.kind == "undecodable" and x.place is not None}
    claimed = sum(letter.place is None and letter.kind == "undecodable" for letter in whole)
    if len(ledger.undecodable - here) != claimed or here - ledger.undecodable:
        odd = {"without": sorted(ledger.undecodable - here), "unasked": sorted(here - ledger.undecodable)}
        faults.append(f"letters of undecodable messages, {claimed} of them elsewhere: {odd}")
    skipped = {
        label: int(n) for (name, label), n in counts.items() if name == "streamproc_documents_skipped_total"
    }
    if skipped.get("reinjected-elsewhere", 0) != len(ledger.elsewhere):
        faults.append(f"{len(ledger.elsewhere)} messages for other analyses, {skipped} skipped")
    documents = sum(read.values())
    letters_of_documents = by_kind["refused"] + by_kind["unexpected"]
    total = by_kind["undecodable"] + documents + skipped.get("reinjected-elsewhere", 0)
    if total != len(ledger.values):
        faults.append(f"{len(ledger.values)} messages sent, {total} accounted")
    return {
        "messages": len(ledger.values),
        "dead_letters": {k: by_kind[k] for k in ("undecodable", "refused", "unexpected")},
        "documents_without_a_letter": documents - letters_of_documents,
        "for_other_analyses": skipped.get("reinjected-elsewhere", 0),
        "accounted": total,
        "skipped_outcomes": skipped,
        "readings_with_a_letter": by_kind["frame"],
        "faults": faults,
    }


def strangers(
    accesses: Iterable[Access], since_s: float, roots: Sequence[Path], bait: Sequence[Path]
) -> dict[str, Any]:
    """Return what a service did after ``since_s`` that it must not do.

    Opening is allowed inside ``roots``, and of what the interpreter and its packages consist of; a file that
    was opened before may be opened again, unless it lies in ``bait``.
    """
    packages = (*streamproc.__path__, *consumers.__path__, *models.__path__)
    code = {str(Path(p).resolve()) for p in (sys.prefix, sys.base_prefix, *sys.path, *packages) if p}
    allowed = (*map(str, roots), *code, *_C_LIBRARY)
    before: set[str] = set()
    found: dict[str, Counter[str]] = {
        "open": Counter(),
        "start": Counter(),
        "connect": Counter(),
        "unpickle": Counter(),
    }
    again: Counter[str] = Counter()
    for access in accesses:
        what = os.path.realpath(access.what) if access.kind == "open" else access.what
        if access.time_s <= since_s:
            before.add(what)
            continue
        if access.kind == "open" and _inside(what, allowed):
            continue
        if what in before and not _inside(what, tuple(map(str, bait))):
            again[what] += 1
        elif access.kind in found:
            found[access.kind][what] += 1
    return {**{kind: dict(count) for kind, count in found.items()}, "known_from_before": dict(again)}


def _inside(path: str, folders: Sequence[str]) -> bool:
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)
