from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.errors import ArchiveDamaged, ConfigurationError
from streamproc.testing.makers import inline_run, page_run
from streamproc.transports.archive.files import FileArchive, FileSpan, read_documents
from streamproc.transports.archive.ports import Query
from streamproc.transports.codec import encode

FRAMES = [np.full((3, 4), n, dtype=np.uint16) for n in range(5)]


def raws(*uids):
    return [encode(*p) for uid in uids for p in inline_run(FRAMES, uid=uid)]


def write(path: Path, data: list[bytes]) -> Path:
    path.write_bytes(b"".join(data))
    return path


def test_several_runs_in_one_file_are_told_apart(tmp_path):
    archive = FileArchive(write(tmp_path / "a.msgpack", raws("run-1", "run-2")))
    refs = list(archive.runs(Query()))
    assert {r.uid for r in refs} == {"run-1", "run-2"} and all(r.stop for r in refs)
    for ref in refs:
        documents = list(archive.documents(ref))
        assert [encode(*d) for d in documents] == raws(ref.uid)


def test_interleaved_runs_are_told_apart(tmp_path):
    one, two = raws("run-1"), raws("run-2")
    mixed = [raw for pair in zip(one, two, strict=True) for raw in pair]
    archive = FileArchive(write(tmp_path / "a.msgpack", mixed))
    for ref in archive.runs(Query()):
        assert [encode(*d) for d in archive.documents(ref)] == raws(ref.uid)


def test_pages_are_taken_apart(tmp_path):
    pages = write(tmp_path / "p.msgpack", [encode(*p) for p in page_run(FRAMES, uid="run-1")])
    archive = FileArchive(pages)
    ref = next(archive.runs(Query()))
    names = [name for name, _ in archive.documents(ref)]
    assert names.count("event") == len(FRAMES) and "event_page" not in names
    assert any("taken apart" in note for note in ref.notes)


@pytest.mark.parametrize("form", ["list", "mapping"])
def test_lines_of_json_get_their_arrays_back(tmp_path, form):
    lines = []
    for name, doc in inline_run(FRAMES, uid="run-1"):
        plain = json.loads(json.dumps(doc, default=lambda a: a.tolist()))
        lines.append(json.dumps([name, plain] if form == "list" else {"name": name, "doc": plain}))
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(lines) + "\n")
    archive = FileArchive(path)
    ref = next(archive.runs(Query()))
    assert [encode(*d) for d in archive.documents(ref)] == raws("run-1")


def test_without_a_declared_dtype_the_note_says_that_it_is_not_known(tmp_path):
    lines = []
    for name, doc in inline_run(FRAMES, uid="run-1"):
        plain = json.loads(json.dumps(doc, default=lambda a: a.tolist()))
        for entry in plain.get("data_keys", {}).values():
            entry.pop("dtype_numpy", None)
        lines.append(json.dumps([name, plain]))
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    archive = FileArchive(tmp_path / "a.jsonl")
    ref = next(archive.runs(Query()))
    events = [d for n, d in archive.documents(ref) if n == "event"]
    assert all(np.array_equal(e["data"]["det"], f) for e, f in zip(events, FRAMES, strict=True))
    assert any("is not known" in note for note in ref.notes)


WHOLE = raws("run-1")
ENDS = [sum(map(len, WHOLE[: n + 1])) for n in range(len(WHOLE))]


@given(st.integers(1, ENDS[-1] - 1))
@settings(max_examples=60, deadline=None)
def test_cut_anywhere_all_whole_documents_are_read_and_then_it_says_so(tmp_path_factory, length):
    path = tmp_path_factory.mktemp("cut") / "a.msgpack"
    path.write_bytes(b"".join(WHOLE)[:length])
    read = []
    documents = read_documents(FileSpan(path))
    if length in ENDS:
        read = list(documents)
    else:
        with pytest.raises(ArchiveDamaged, match="cut off"):
            read.extend(documents)
    assert [encode(*d) for d in read] == WHOLE[: sum(end <= length for end in ENDS)]


@given(st.binary(min_size=1, max_size=400), st.sampled_from([".msgpack", ".jsonl"]))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_documents_or_a_sentence(tmp_path_factory, data, suffix):
    path = tmp_path_factory.mktemp("noise") / f"a{suffix}"
    path.write_bytes(data)
    try:
        for ref in FileArchive(path).runs(Query()):
            list(FileArchive(path).documents(ref))
    except (ArchiveDamaged, ConfigurationError) as error:
        assert str(path) in error.message and "\n" not in error.message


def test_a_damaged_file_does_not_hide_the_good_ones(tmp_path):
    write(tmp_path / "good.msgpack", raws("run-1"))
    (tmp_path / "bad.msgpack").write_bytes(b"\xc1garbage")
    [ref] = FileArchive(tmp_path).runs(Query())
    assert ref.uid == "run-1" and any("bad.msgpack" in note for note in ref.notes)


def test_a_hostile_array_is_refused_not_unpickled(tmp_path):
    import msgpack

    evil = {b"nd": True, b"kind": b"O", b"type": "|O", b"shape": [1], b"data": b"cos\nsystem\n(S'false'\ntR."}
    bad = msgpack.packb(("event", {"uid": "e", "data": {"det": evil}}))
    path = write(tmp_path / "evil.msgpack", [*WHOLE[:2], bad])
    archive = FileArchive(path)
    ref = next(archive.runs(Query()))
    with pytest.raises(ArchiveDamaged, match="cannot be read"):
        list(archive.documents(ref))
