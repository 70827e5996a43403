"""verify: result documents of a replay held against those of another run of the analysis, field by field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from streamproc.replay.alike import in_bytes, only_added, paired, same, same_names, shown
from streamproc.replay.verdict import KINDS, FieldVerdict, Kind, Verdict
from streamproc.results import NamedDocument, is_interrupted
from streamproc.transports.archive.repair import as_array
from streamproc.transports.codec import encode

__all__ = ["Verifier"]

_MAKERS = ("analysis", "version", "model_sha256", "settings_sha256", "calibration_sha256")
_FOLLOWING = ("uid", "run_start", "descriptor")
_SYNTHETIC_UIDS = "uids of events"

Key = tuple[str, str, int]
"""Name, stream and seq_num of a document; stream empty and seq_num 0 where it has none."""


class Verifier:
    """Takes the documents of a reference first, then those of the replay as they come.

    Parameters
    ----------
    run_uid : str
        The raw run.
    reference : iterable of (name, doc)
        The result run it is held against. A document that comes again replaces the one before, in its place;
        another in its stead (the stop after that of an interrupted replay) comes where it comes.
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
            if key in self._expected and self._expected[key].get("uid") != doc.get("uid"):
                del self._expected[key]
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

    def verdict(self, cut_short: str = "") -> Verdict:
        """Return the comparison; call it when the replay is over.

        Parameters
        ----------
        cut_short : str
            Why not all of the run could be replayed; empty where it could.
        """
        missing = [_title(key) for key in self._expected if key not in self._seen]
        for one in self._fields.values():
            if one.kind != "equal bytes":
                one.why = self._why(one, cut_short)
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
        for path, one, other in paired(expected, got, 2 if key[0] in ("event", "stop") else 1):
            name = f"{title}: {path}"
            verdict = self._fields.setdefault(name, FieldVerdict(name))
            verdict.documents += 1
            kind = self._kind(path, one, other)
            if kind != "equal bytes":
                verdict.differing += 1
            if KINDS.index(kind) > KINDS.index(verdict.kind):
                verdict.kind = kind
                verdict.example = f"{shown(one)} expected, {shown(other)} got"
                if key[2]:
                    verdict.example += f" (seq_num {key[2]})"

    def _kind(self, path: str, one: Any, other: Any) -> Kind:
        if in_bytes(one) == in_bytes(other):
            return "equal bytes"
        if same(one, other) or (path == "object_keys" and same_names(one, other)):
            return "equal values"
        synthetic = any(_SYNTHETIC_UIDS in note for note in self._reference_notes)
        if synthetic and (path in ("uid", "filled", "descriptor") or only_added(one, other)):
            return "not kept"
        return "differs"

    # -- why ----------------------------------------------------------------------------------------------

    def _note_makers(self, expected: Mapping[str, Any], got: Mapping[str, Any]) -> None:
        one, other = expected.get("streamproc") or {}, got.get("streamproc") or {}
        for maker in _MAKERS:
            if one.get(maker) != other.get(maker):
                self._made[maker] = f"{shown(one.get(maker))} then, {shown(other.get(maker))} now"

    def _why(self, one: FieldVerdict, cut_short: str) -> str:
        if one.kind == "not kept":
            return "the reference's store does not keep it"
        if one.kind == "equal values":
            return "another type or container, the same values"
        if self._made:
            made = "; ".join(f"{name}: {text}" for name, text in self._made.items())
            follows = one.name.rpartition(": ")[2].split(".")[0] in _FOLLOWING
            return f"{'follows from' if follows else 'made with'} another {made}"
        if cut_short:
            return f"not all of the run could be replayed: {cut_short}"
        lost = [note for note in self._source_notes if "stored as" in note or "not kept" in note]
        return "; ".join(lost) if lost else "same program, model, settings and calibration: the input differs"


def _title(key: Key) -> str:
    name, stream, seq_num = key
    return " ".join(str(part) for part in (name, stream, seq_num or "") if part)
