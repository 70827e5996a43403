"""Fuzzed messages: real documents broken in every way a topic can carry, the same for the same seed.

A :class:`Fuzzer` gives single broken messages and whole hostile runs, interleaved, without end. What must
become of each is not said (for that see :mod:`streamproc.testing.hostile`): none of them may end a service,
execute anything, open a file outside the allowed folders, or disturb the good runs between them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from streamproc.testing.fuzzed_documents import FuzzedDocuments
from streamproc.testing.fuzzed_values import NAMES, odd_value
from streamproc.testing.hostile import hostile_messages, wire
from streamproc.testing.makers import Pair, datum_run, fly_run, inline_run, page_run, stream_run, with_darks
from streamproc.transports.codec import encode

__all__ = ["FuzzMessage", "Fuzzer", "sample_documents"]

Headers = tuple[tuple[str, bytes | None], ...]

_LARGEST_CORPUS_BYTES = 256 * 1024
_LARGEST_SIDE = 40
_RUNS_AT_ONCE = 8
_REMEMBERED = 64
_LENGTH_CODES = (
    b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff",
    b"\xc9\xff\xff\xff\xff\x01", b"\xdc\xff\xff", b"\xde\xff\xff", b"\xc1", b"\xd6\xff", b"\x9f", b"\x8f",
)  # fmt: skip
_HEADER_NAMES = (
    "streamproc-reinjected", "streamproc-origin", "latency_ms", "produced_s", "reason", "", "\x00", "ä" * 300,
    "\udcff\udcfe",
)  # fmt: skip
_HEADER_VALUES = (
    None, b"", b"phase-map", b"no-such-analysis", b"\xff\xfe", b"a/0@1", b"/@", b"x/9999999999@-1", b"nan",
    b"x" * 2000,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FuzzMessage:
    """One message as a producer would send it.

    Attributes
    ----------
    kind : str
        What was done to it: ``flip``, ``splice``, ``random``, ``bomb``, ``run``, ...
    value : bytes or None
        The message.
    key : bytes or None
        The message key.
    headers : tuple of (str, bytes or None)
        The message headers; surrogates in a name stand for bytes that are no UTF-8 (``surrogateescape``).
    """

    kind: str
    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()


class Fuzzer:
    """Makes broken messages, reproducibly.

    Parameters
    ----------
    documents : sequence of Pair
        Sound documents to break (see :func:`sample_documents`).
    seed : int
        The same seed and arguments give the same messages.
    canary : Path
        A file that does not exist; pickles among the messages create it when something executes them.
    paths : sequence of str
        URIs and paths to put where documents name files, beside the fixed ones of the hostile corpus.
    large_bytes : int or None
        Length of the few oversized messages (bytes); None for none.
    """

    def __init__(
        self,
        documents: Sequence[Pair],
        seed: int,
        canary: Path,
        paths: Sequence[str] = (),
        large_bytes: int | None = None,
    ) -> None:
        self._random = random.Random(seed)
        self._samples = [encode(*pair) for pair in documents]
        self._documents = FuzzedDocuments(documents, self._random, canary, paths)
        corpus = (m.raw for m in hostile_messages(canary, seed=seed, large=False))
        self._corpus = [raw for raw in corpus if len(raw) <= _LARGEST_CORPUS_BYTES]
        self._large_bytes = large_bytes
        self._runs: list[tuple[bytes, Iterator[Pair]]] = []
        self._own_key: bytes | None = None
        self._sound: list[FuzzMessage] = []
        self._kinds: dict[str, tuple[int, Callable[[], bytes | None]]] = {
            "run": (30, self._of_a_run),
            "field": (14, lambda: wire(*self._documents.changed())),
            "reference": (6, lambda: wire(*self._documents.foreign())),
            "array": (6, lambda: wire(*self._documents.array())),
            "name": (3, lambda: wire(*self._documents.renamed())),
            "flip": (10, self._flipped),
            "truncate": (4, self._truncated),
            "insert": (4, self._inserted),
            "splice": (5, self._spliced),
            "length": (4, self._lengths),
            "random": (6, self._noise),
            "structure": (4, self._structure),
            "bomb": (2, self._bomb),
            "corpus": (6, lambda: self._random.choice(self._corpus)),
            "repeat": (2, self._repeated),
            "empty": (1, lambda: self._random.choice((None, b""))),
        }

    def messages(self, count: int) -> Iterator[FuzzMessage]:
        """Return ``count`` messages, going on where the last call ended."""
        return islice(self._endless(), count)

    def tell(self, message: FuzzMessage) -> None:
        """Name a sound message that was sent just now; it may come again, byte for byte, with its key."""
        self._sound = [*self._sound[-_REMEMBERED:], message]

    def _endless(self) -> Iterator[FuzzMessage]:
        names = list(self._kinds)
        weights = [weight for weight, _ in self._kinds.values()]
        while True:
            kind = self._random.choices(names, weights)[0]
            if self._large_bytes is not None and self._random.random() < 0.0002:
                yield FuzzMessage("large", self._large(self._large_bytes))
                continue
            value = self._kinds[kind][1]()
            together = kind == "repeat" or (kind == "run" and self._random.random() < 0.9)
            yield FuzzMessage(kind, value, self._own_key if together else self._key(), self._headers())

    # -- documents ----------------------------------------------------------------------------------------

    def _of_a_run(self) -> bytes:
        while len(self._runs) < _RUNS_AT_ONCE:
            self._runs.append((self._random.randbytes(4), self._documents.run()))
        number = self._random.randrange(len(self._runs))
        self._own_key, pairs = self._runs[number]
        pair = next(pairs, None)
        if pair is None:
            del self._runs[number]
            return self._of_a_run()
        return wire(*pair)

    def _repeated(self) -> bytes | None:
        if not self._sound:
            return bytes(self._sample())
        message = self._random.choice(self._sound)
        self._own_key = message.key
        return message.value

    # -- bytes --------------------------------------------------------------------------------------------

    def _sample(self) -> bytearray:
        return bytearray(self._random.choice(self._samples))

    def _flipped(self) -> bytes:
        raw = self._sample()
        for _ in range(self._random.choice((1, 1, 1, 2, 4, 16))):
            raw[self._random.randrange(len(raw))] ^= 1 << self._random.randrange(8)
        return bytes(raw)

    def _truncated(self) -> bytes:
        raw = self._sample()
        return bytes(raw[: self._random.randrange(len(raw))])

    def _inserted(self) -> bytes:
        raw, at = self._sample(), self._random.random()
        place = int(at * len(raw))
        if self._random.random() < 0.5:
            del raw[place : place + self._random.randrange(1, 64)]
        else:
            raw[place:place] = self._random.randbytes(self._random.randrange(1, 64))
        return bytes(raw)

    def _spliced(self) -> bytes:
        one, other = self._sample(), self._sample()
        cut, paste = self._random.randrange(len(one)), self._random.randrange(len(other))
        return bytes(one[:cut] + other[paste:])

    def _lengths(self) -> bytes:
        raw, code = self._sample(), self._random.choice(_LENGTH_CODES)
        place = self._random.randrange(len(raw))
        raw[place : place + len(code)] = code
        return bytes(raw)

    def _noise(self) -> bytes:
        return self._random.randbytes(int(2 ** self._random.uniform(0, 16.5)))

    def _structure(self) -> bytes:
        """Return random msgpack, with luck under the name of a document."""
        return wire(self._random.choice((*NAMES, 3, None)), odd_value(self._random))

    def _bomb(self) -> bytes:
        head = self._random.choice((b"", b"\x92\xa5start", b"\x92\xa5event\x81\xa4data"))
        if self._random.random() < 0.5:
            level = self._random.choice(
                (b"\x91", b"\x81\xa1k", b"\xdc\x00\x01", b"\xdf\x00\x00\x00\x01\xa1k")
            )
            return head + level * int(2 ** self._random.uniform(4, 15)) + b"\xc0"
        many = int(2 ** self._random.uniform(4, 17))
        return (
            head + b"\xdd" + many.to_bytes(4, "big") + self._random.choice((b"\x90", b"\x80", b"\xc0")) * many
        )

    def _large(self, size: int) -> bytes:
        if self._random.random() < 0.5:
            return b"\xc1" + self._random.randbytes(size - 1)
        event = {"uid": "large", "data": {"det": np.zeros(size, "u1")}, "descriptor": "large"}
        return wire("event", event)

    # -- what goes with a message -------------------------------------------------------------------------

    def _key(self) -> bytes | None:
        chance = self._random.random()
        if chance < 0.4:
            return None
        return (
            b"run-%d" % self._random.randrange(50)
            if chance < 0.9
            else self._random.randbytes(int(chance * 40))
        )

    def _headers(self) -> Headers:
        if self._random.random() < 0.9:
            return ()
        pick = self._random.choice
        return tuple((pick(_HEADER_NAMES), pick(_HEADER_VALUES)) for _ in range(pick((1, 1, 2, 5, 200))))


def sample_documents(folder: Path, measured: Path | None = None) -> list[Pair]:
    """Return sound documents of every name: runs of the makers and, where present, real ones.

    Parameters
    ----------
    folder : Path
        Where the makers' frame files are written.
    measured : Path, optional
        Folder with real documents as JSON lists; placeholders in them are filled.
    """
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 1000, (4, 6, 8)).astype("u2")
    wide = rng.normal(size=(1, 95, 95))  # just large enough for the codec's other way
    runs = [
        inline_run(frames, uid="sample-inline"),
        inline_run(wide, uid="sample-wide"),
        page_run(frames, uid="sample-page"),
        stream_run(frames, folder / "sample-stream.h5", uid="sample-stream"),
        fly_run(frames, folder / "sample-fly.h5", [1, 3], uid="sample-fly"),
        datum_run(frames, folder, uid="sample-datum"),
        with_darks(inline_run(frames, uid="sample-dark"), {0: frames[0]}),
    ]
    pairs = [pair for run in runs for pair in run]
    for path in sorted(measured.glob("*.json")) if measured is not None else ():
        pairs += _real(path, folder)
    return pairs


def _real(path: Path, folder: Path) -> Iterator[Pair]:
    text = path.read_text().replace("{{ uuid }}", "5a0ee1f0-1234-1234-1234")
    entries = json.loads(text.replace("{{ root_path }}", str(folder)))
    if isinstance(entries, dict):
        entries = [("start", entries)]
    for entry in entries:
        name, doc = (entry["name"], entry["doc"]) if isinstance(entry, dict) else entry
        yield name, _filled(doc)


def _filled(value: Any) -> Any:
    """Put arrays (small ones) and bytes where the JSON files have placeholders."""
    if isinstance(value, dict):
        if "__array__" in value:
            return np.zeros([min(n, _LARGEST_SIDE) for n in value["__array__"]], value["dtype"])
        if "__bytes__" in value:
            return value["__bytes__"].encode()
        return {key: _filled(item) for key, item in value.items()}
    return [_filled(item) for item in value] if isinstance(value, list) else value
