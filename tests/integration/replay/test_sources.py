"""Source x storage form: what is replayed from an archive is, byte for byte, what was said live."""

from __future__ import annotations

import json
import warnings

import pytest

from streamproc.replay import JsonLinesTarget, NoTarget, replay_run
from streamproc.replay.verify import Verifier
from streamproc.testing.memory import MemoryArchive
from streamproc.transports.archive.files import FileSpan, read_documents
from streamproc.transports.archive.opening import open_archive
from streamproc.transports.archive.ports import Query
from streamproc.transports.codec import decode, encode
from tests.integration.publishing import publish
from tests.integration.replay.in_tiled import keep_in_tiled, without

FORMS = ("inline", "hdf5", "tiff", "resource")


def uid_of(pairs):
    return pairs[0][1]["uid"]


def replayed(beam, archive, uid, **more):
    """Outcome, and the documents that came out."""
    out = []
    ref = next(iter(archive.runs(Query(runs=(uid,)))))
    outcome = replay_run(
        archive, ref, beam.analysis, NoTarget(lambda raw: out.append(raw)), settings=beam.settings, **more
    )
    return outcome, out


def check_identical(beam, form, archive, **more):
    pairs = beam.run(form)
    outcome, out = replayed(beam, archive, uid_of(pairs), **more)
    assert outcome.good, (outcome.reason, outcome.ledger)
    assert [decode(x) for x in out][-1] == decode(beam.live(form)[-1])
    assert out == beam.live(form)
    return outcome


def suitcase_file(kind, folder, pairs):
    """Write with the suitcase itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "msgpack":
            from suitcase.msgpack import Serializer
        else:
            from suitcase.jsonl import Serializer
        with Serializer(str(folder)) as serializer:
            for name, doc in pairs:
                serializer(name, doc)
    return next(folder.glob(f"*.{kind}"))


KEPT = [("jsonl", form) for form in FORMS] + [("msgpack", "inline"), ("msgpack", "resource")]


@pytest.mark.parametrize(("kind", "form"), KEPT)
def test_suitcase_files_give_the_live_bytes(beam, tmp_path, kind, form):
    path = suitcase_file(kind, tmp_path, beam.run(form))
    check_identical(beam, form, open_archive(path, beam.settings))


@pytest.mark.parametrize("form", ["hdf5", "tiff"])
def test_suitcase_msgpack_drops_stream_resources_and_the_replay_says_so(beam, tmp_path, form):
    path = suitcase_file("msgpack", tmp_path, beam.run(form))
    outcome, out = replayed(beam, open_archive(path, beam.settings), uid_of(beam.run(form)))
    assert not outcome.good and outcome.ledger["failed"] == outcome.ledger["expected"] == 4
    assert "stream_datum never came" in outcome.ledger["failed_reasons"][0]["reason"]
    assert any("has no stream_resource" in note for note in outcome.notes)
    assert decode(out[-1])[0] == "stop"


@pytest.mark.parametrize("form", FORMS)
def test_messages_one_after_the_other_give_the_live_bytes(beam, tmp_path, form):
    path = tmp_path / "raw.msgpack"
    path.write_bytes(b"".join(encode(*pair) for pair in beam.run(form)))
    check_identical(beam, form, open_archive(path, beam.settings))


def test_a_folder_of_files_gives_each_run(beam, tmp_path):
    for form in FORMS[:2]:
        (tmp_path / form).mkdir()
        suitcase_file("jsonl", tmp_path / form, beam.run(form))
    archive = open_archive(tmp_path, beam.settings)
    assert [r.scan_id for r in archive.runs(Query())] == sorted(100 + n for n in range(2))
    for form in FORMS[:2]:
        check_identical(beam, form, archive)


def test_paced_replay_gives_the_live_bytes(beam, tmp_path):
    path = suitcase_file("jsonl", tmp_path, beam.run("hdf5"))
    outcome = check_identical(beam, "hdf5", open_archive(path, beam.settings), speed=1.0)
    assert outcome.late_p95_s is not None


@pytest.fixture(scope="session")
def temp_catalog():
    import databroker.v2

    return databroker.v2.temp()


@pytest.mark.parametrize("form", ["inline", "resource"])
def test_a_databroker_catalog_gives_the_live_bytes(beam, temp_catalog, form):
    for name, doc in beam.run(form):
        temp_catalog.v1.insert(name, dict(doc))
    outcome = check_identical(beam, form, open_archive(temp_catalog, beam.settings))
    assert any("taken apart" in note for note in outcome.notes)


def test_a_databroker_tree_says_that_it_has_no_stream_resources(beam, temp_catalog):
    pairs = beam.run("hdf5")
    for name, doc in pairs:
        temp_catalog.v1.insert(name, dict(doc))
    outcome, out = replayed(beam, open_archive(temp_catalog, beam.settings), uid_of(pairs))
    assert outcome.ending == "damaged" and "keep no stream_resource" in outcome.reason
    assert outcome.ledger["done"] == 0
    assert decode(out[-1])[0] == "stop" if out else outcome.ledger["failed"] > 0


def test_an_unfinished_run_in_a_databroker_tree_ends_with_a_ledger_and_says_what_is_withheld(
    beam, temp_catalog
):
    pairs = beam.run("resource", "open")
    for name, doc in pairs[:-1]:
        temp_catalog.v1.insert(name, dict(doc))
    outcome, out = replayed(beam, open_archive(temp_catalog, beam.settings), uid_of(pairs))
    assert outcome.ending == "unfinished" and decode(out[-1])[0] == "stop"
    assert any("last page of events" in note for note in outcome.notes)
    assert outcome.ledger["done"] == outcome.ledger["expected"]


def test_the_newest_run_and_a_search_in_a_databroker_catalog(beam, temp_catalog):
    for name, doc in beam.run("inline"):
        if uid_of(beam.run("inline")) not in temp_catalog:
            temp_catalog.v1.insert(name, dict(doc))
    archive = open_archive(temp_catalog, beam.settings)
    assert [r.scan_id for r in archive.runs(Query(runs=("100",)))] == [100]
    assert {r.start["sample"] for r in archive.runs(Query(search=(("sample", "replay"),)))} == {"replay"}
    newest = max(archive.runs(Query()), key=lambda r: r.time_s)
    assert next(archive.runs(Query(runs=("-1",)))).uid == newest.uid
    assert next(archive.runs(Query(runs=(newest.uid[:8],)))).uid == newest.uid


@pytest.fixture(scope="session")
def tiled_catalog(beam, tiled_server):
    for form in FORMS:
        keep_in_tiled(tiled_server, beam.run(form))
    return tiled_server


@pytest.mark.parametrize("form", FORMS)
def test_a_tiled_server_gives_the_live_bytes(beam, tiled_catalog, form):
    outcome = check_identical(beam, form, open_archive(tiled_catalog, beam.settings))
    assert any("made anew" in note for note in outcome.notes)


def test_runs_in_a_tiled_server_are_found_by_all_their_names(beam, tiled_catalog):
    archive = open_archive(tiled_catalog, beam.settings)
    uid = uid_of(beam.run("tiff"))
    assert next(archive.runs(Query(runs=(uid[:8],)))).uid == uid
    assert next(archive.runs(Query(runs=("102",)))).uid == uid
    times = sorted(r.time_s for r in archive.runs(Query()))
    assert next(archive.runs(Query(runs=("-1",)))).time_s == times[-1]
    assert next(archive.runs(Query(runs=("-2",)))).time_s == times[-2]
    found = list(archive.runs(Query(search=(("scan_id", "102"),), since_s=times[0])))
    assert [r.uid for r in found] == [uid]


def test_an_unfinished_run_in_a_tiled_server_ends_with_a_ledger(beam, tiled_catalog):
    from bluesky_tiled_plugins import TiledWriter
    from tiled.client import from_uri

    pairs = beam.run("hdf5", "unfinished")
    writer = TiledWriter(from_uri(tiled_catalog, api_key="secret"), batch_size=1)
    for name, doc in pairs[:-1]:
        writer(name, dict(doc))
    outcome, out = replayed(beam, open_archive(tiled_catalog, beam.settings), uid_of(pairs))
    assert outcome.ending == "unfinished"
    assert decode(out[-1])[1]["exit_status"] == "abort"
    assert outcome.ledger["done"] + outcome.ledger["failed"] == outcome.ledger["expected"] > 0


def test_results_written_to_tiled_are_compared_there(beam, tiled_catalog):
    from streamproc.replay.tiled_target import TiledTarget

    archive = open_archive(tiled_catalog, beam.settings)
    uid = uid_of(beam.run("hdf5"))
    ref = next(archive.runs(Query(runs=(uid,))))
    without(tiled_catalog, decode(beam.live("hdf5")[0])[1]["uid"])
    target = TiledTarget(tiled_catalog, "secret")
    assert replay_run(archive, ref, beam.analysis, target, settings=beam.settings).good
    reference = next(archive.runs(Query(search=(("original_run_uid", uid),), results=True)))
    verifier = Verifier(uid, archive.documents(reference), reference.notes)
    for raw in beam.live("hdf5"):
        verifier.feed(*decode(raw))
    verdict = verifier.verdict()
    assert verdict.equal, [f for f in verdict.fields if f.kind == "differs"]
    assert all(f.kind == "equal bytes" for f in verdict.fields if ": data." in f.name)
    assert target.outcomes == {reference.uid: "stored"}
    again = replay_run(archive, ref, beam.analysis, target, settings=beam.settings)
    assert again.good and target.outcomes == {reference.uid: "skipped"}


@pytest.mark.broker
@pytest.mark.parametrize("form", ["inline", "tiff"])
def test_a_topic_gives_the_live_bytes_by_run_and_by_offsets(beam, beamline, form):
    settings = beamline()
    pairs = beam.run(form)
    topic = settings.topic("raw")
    publish(settings, [b"garbage", *(encode(*p) for p in pairs), b"more garbage"])
    check_identical(beam, form, open_archive("kafka", settings))
    check_identical(beam, form, open_archive(f"kafka:{topic}@0:1-{len(pairs) + 1}", settings))
    cut = open_archive(f"kafka:{topic}@0:1-{len(pairs) - 1}", settings)
    assert replayed(beam, cut, uid_of(pairs))[0].ending == "unfinished"


def test_a_results_file_reads_back_as_the_live_bytes(beam, tmp_path):
    path = suitcase_file("msgpack", tmp_path, beam.run("inline"))
    archive = open_archive(path, beam.settings)
    target = JsonLinesTarget(tmp_path / "results.jsonl")
    ref = next(archive.runs(Query(runs=("-1",))))
    replay_run(archive, ref, beam.analysis, target, settings=beam.settings)
    target.close()
    written = open_archive(tmp_path / "results.jsonl", beam.settings)
    back = next(written.runs(Query(runs=("-1",), results=True)))
    assert [encode(*n) for n in written.documents(back)] == beam.live("inline")
    assert len(list(read_documents(FileSpan(tmp_path / "results.jsonl")))) == len(beam.live("inline"))


def without_dtypes(pairs):
    """The run as devices that declare no dtype_numpy have it, under another uid."""
    made = []
    for name, doc in json.loads(json.dumps([[n, {**d, "data": {}}] for n, d in pairs], default=str)):
        text = json.dumps(doc).replace(uid_of(pairs)[:8], "0d0d0d0d")
        made.append((name, json.loads(text)))
    for (name, doc), (_, original) in zip(made, pairs, strict=True):
        if name == "event":
            doc["data"] = dict(original["data"])
        else:
            doc.pop("data")
        for entry in doc.get("data_keys", {}).values():
            entry.pop("dtype_numpy", None)
    return made


@pytest.mark.parametrize("store", ["databroker", "tiled", "jsonl"])
def test_without_declared_dtypes_the_values_are_equal_and_the_notes_say_what_is_not_known(
    beam, temp_catalog, tiled_server, tmp_path, store
):
    pairs = without_dtypes(beam.run("inline"))
    uid = uid_of(pairs)
    _, live = replayed(beam, MemoryArchive(pairs), uid)
    if store == "jsonl":
        source = suitcase_file("jsonl", tmp_path, pairs)
    elif store == "databroker":
        source = temp_catalog
        for name, doc in pairs:
            temp_catalog.v1.insert(name, dict(doc))
    else:
        source = tiled_server
        keep_in_tiled(source, pairs)
    outcome, out = replayed(beam, open_archive(source, beam.settings), uid)
    assert outcome.good, outcome.reason
    verifier = Verifier(uid, map(decode, live), (), outcome.notes)
    for raw in out:
        verifier.feed(*decode(raw))
    verdict = verifier.verdict()
    assert verdict.equal, [f for f in verdict.fields if f.kind == "differs"]
    assert any("known" in note for note in outcome.notes), outcome.notes
