"""verify: result documents of a replay held against those of another run of the analysis, field by field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from streamproc.results import NamedDocument, is_interrupted
from streamproc.transports.archive.repair import as_array
from streamproc.transports.codec import encode

__all__ = ["FieldVerdict", "Verdict", "Verifier"]

Kind = Literal["equal bytes", "equal values", "not kept", "differs"]

_ORDER: tuple[Kind, ...] = ("equal bytes", "equal values", "not kept", "differs")
_MAKERS = ("analysis", "version", "model_sha256", "settings_sha256", "calibration_sha256")
_FOLLOWING = ("uid", "run_start", "descriptor")
_SYNTHETIC_UIDS = "uids of events"
_SHOWN_CHARS = 80

Key = tuple[str, str, int]
"""Name, stream and seq_num of a document; stream empty and seq_num 0 where it has none."""


@dataclass(slots=True)
class FieldVerdict:
    """What became of one field over all documents that have it.

    Attributes
    ----------
    name : str
        As in ``event primary: data.corundum``.
    kind : str
        The worst there was: ``equal bytes``, ``equal values`` (another type or container, the same values),
        ``not kept`` (the store of the reference has no place for it) or ``differs``.
    documents, differing : int
        How many documents were compared, and in how many it is not of equal bytes.
    example : str
        Of the first that differs: expected and got.
    why : str
        As far as it is known.
    """

    name: str
    kind: Kind = "equal bytes"
    documents: int = 0
    differing: int = 0
    example: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The comparison of one result run.

    Attributes
    ----------
    run_uid : str
        The raw run.
    fields : tuple of FieldVerdict
        In the order of the documents.
    missing, extra : tuple of str
        Documents that only the reference has, or only the replay.
    identical : bool
        Whether all documents are byte for byte the same and in the same order.
    documents : int
        Documents compared.
    """

    run_uid: str
    fields: tuple[FieldVerdict, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    identical: bool
    documents: int

    @property
    def equal(self) -> bool:
        """Whether nothing differs in value (what the reference's store cannot keep is no difference)."""
        differs = any(f.kind == "differs" for f in self.fields)
        return bool(self.documents) and not (differs or self.missing or self.extra)

    def words(self) -> str:
        """Return the verdict in a sentence."""
        if not self.documents and not self.extra:
            return "nothing to compare"
        if self.identical:
            return f"byte-identical: {self.documents} documents"
        counts = {kind: sum(f.kind == kind for f in self.fields) for kind in _ORDER}
        told = [f"{n} field(s) {kind}" for kind, n in counts.items() if n]
        told += [f"{len(self.missing)} document(s) missing"] if self.missing else []
        told += [f"{len(self.extra)} document(s) too many"] if self.extra else []
        return f"{'equal' if self.equal else 'DIFFERS'}: {', '.join(told)}"


class Verifier:
    """Takes the documents of a reference first, then those of the replay as they come.

    Parameters
    ----------
    run_uid : str
        The raw run.
    reference : iterable of (name, doc)
        The result run it is held against. A document that comes again replaces the one before (the stop of
        an interrupted run is followed by another).
    reference_notes, source_notes : sequence of str
        What the store of the reference, and the archive that is replayed, have lost; for the reasons. The
        lists may still grow.
    """

    def __init__(
        self,
        run_uid: str,
        reference: Iterable[NamedDocument | tuple[str, Mapping[str, Any]]],
        reference_notes: Iterable[str] = (),
        source_notes: Iterable[str] = (),
    ) -> None:
        self._run_uid = run_uid
        self._reference_notes, self._source_notes = reference_notes, source_notes
        self._expected: dict[Key, Mapping[str, Any]] = {}
        self._fields: dict[str, FieldVerdict] = {}
        self._extra: list[str] = []
        self._streams: dict[str, str] = {}
        self._seen: set[Key] = set()
        self._identical, self._count, self._order = True, 0, 0
        self._made: dict[str, str] = {}
        self._keys: dict[str, Mapping[str, Any]] = {}
        for name, doc in reference:
            key = self._key(name, doc)
            if is_interrupted(doc) and key in self._expected:
                continue
            self._expected.pop(key, None)
            self._expected[key] = self._whole(name, doc)
        self._places = {key: number for number, key in enumerate(self._expected)}

    def feed(self, name: str, doc: Mapping[str, Any]) -> None:
        """Compare one document of the replay."""
        key = self._key(name, doc)
        expected = self._expected.get(key)
        if expected is None or key in self._seen:
            self._identical = False
            self._extra.append(_title(key))
            return
        self._seen.add(key)
        self._count += 1
        if encode(name, expected) != encode(name, doc) or self._places[key] != self._order:
            self._identical = False
        self._order += 1
        if name == "start":
            self._note_makers(expected, doc)
        self._compare(key, expected, doc)

    def verdict(self) -> Verdict:
        """Return the comparison; call it when the replay is over."""
        missing = [_title(key) for key in self._expected if key not in self._seen]
        for one in self._fields.values():
            if one.kind != "equal bytes":
                one.why = self._why(one)
        return Verdict(
            self._run_uid, tuple(self._fields.values()), tuple(missing), tuple(self._extra),
            self._identical and not missing and bool(self._count), self._count,
        )  # fmt: skip

    # -- one document -------------------------------------------------------------------------------------

    def _key(self, name: str, doc: Mapping[str, Any]) -> Key:
        if name == "descriptor":
            self._streams[str(doc["uid"])] = str(doc["name"])
            return (name, str(doc["name"]), 0)
        if name == "event":
            return (name, self._streams.get(str(doc["descriptor"]), "?"), int(doc["seq_num"]))
        return (name, "", 0)

    def _whole(self, name: str, doc: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a reference document with the arrays it had."""
        if name == "descriptor":
            self._keys[str(doc["uid"])] = doc.get("data_keys") or {}
        if name != "event":
            return doc
        entries = self._keys.get(str(doc["descriptor"]), {})
        data = {
            k: as_array(v, entries.get(k) or {}) if isinstance(v, list) else v for k, v in doc["data"].items()
        }
        return {**doc, "data": data}

    def _compare(self, key: Key, expected: Mapping[str, Any], got: Mapping[str, Any]) -> None:
        title = f"{key[0]} {key[1]}".strip()
        for path, one, other in _paired(expected, got, 2 if key[0] in ("event", "stop") else 1):
            name = f"{title}: {path}"
            verdict = self._fields.setdefault(name, FieldVerdict(name))
            verdict.documents += 1
            kind = self._kind(path, one, other)
            if kind != "equal bytes":
                verdict.differing += 1
            if _ORDER.index(kind) > _ORDER.index(verdict.kind):
                verdict.kind = kind
                verdict.example = f"{_shown(one)} expected, {_shown(other)} got"
                if key[2]:
                    verdict.example += f" (seq_num {key[2]})"

    def _kind(self, path: str, one: Any, other: Any) -> Kind:
        if _bytes(one) == _bytes(other):
            return "equal bytes"
        if _same(one, other):
            return "equal values"
        synthetic = any(_SYNTHETIC_UIDS in note for note in self._reference_notes)
        if synthetic and (path in ("uid", "filled", "descriptor") or _only_added(one, other)):
            return "not kept"
        return "differs"

    # -- why ----------------------------------------------------------------------------------------------

    def _note_makers(self, expected: Mapping[str, Any], got: Mapping[str, Any]) -> None:
        one, other = expected.get("streamproc") or {}, got.get("streamproc") or {}
        for maker in _MAKERS:
            if one.get(maker) != other.get(maker):
                self._made[maker] = f"{_shown(one.get(maker))} then, {_shown(other.get(maker))} now"

    def _why(self, one: FieldVerdict) -> str:
        if one.kind == "not kept":
            return "the reference's store does not keep it"
        if one.kind == "equal values":
            return "another type or container, the same values"
        if self._made:
            made = "; ".join(f"{name}: {text}" for name, text in self._made.items())
            follows = one.name.rpartition(": ")[2].split(".")[0] in _FOLLOWING
            return f"{'follows from' if follows else 'made with'} another {made}"
        lost = [note for note in self._source_notes if "stored as" in note or "not kept" in note]
        return "; ".join(lost) if lost else "same program, model, settings and calibration: the input differs"


def _paired(
    one: Mapping[str, Any], other: Mapping[str, Any], depth: int, path: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    for key in dict.fromkeys([*one, *other]):
        first, second = one.get(key, _Absent), other.get(key, _Absent)
        maps = isinstance(first, Mapping) and isinstance(second, Mapping) and (first or second)
        if depth > 1 and maps and key != "timestamps":
            yield from _paired(first, second, depth - 1, f"{path}{key}.")
        else:
            yield f"{path}{key}", first, second


class _Absent:
    """Stands for a field that is not there."""


def _bytes(value: Any) -> bytes:
    return b"" if value is _Absent else encode("", {"v": value})


def _same(one: Any, other: Any) -> bool:
    """Tell whether two values are the same, whatever their container or number type."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        try:
            first, second = np.asarray(one), np.asarray(other)
            floats = first.dtype.kind in "fc" and second.dtype.kind in "fc"
            return first.shape == second.shape and bool(np.array_equal(first, second, equal_nan=floats))
        except (ValueError, TypeError):
            return False
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(_same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, float) and isinstance(other, float) and one != one and other != other:
        return True
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _only_added(one: Any, other: Any) -> bool:
    """Tell whether the reference's store only added to a mapping, or has no such field."""
    if one is _Absent or other is _Absent:
        return True
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        shared = one.keys() & other.keys()
        return all(_same(one[k], other[k]) or _only_added(one[k], other[k]) for k in shared)
    return False


def _title(key: Key) -> str:
    name, stream, seq_num = key
    return " ".join(str(part) for part in (name, stream, seq_num or "") if part)


def _shown(value: Any) -> str:
    text = "nothing" if value is _Absent else " ".join(repr(value).split())
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 3]}..."
