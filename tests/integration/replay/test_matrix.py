"""Source x storage form x delivery: the same result documents, byte for byte, as the live service published.

Live, on the real Kafka, with either guarantee of delivery; then replayed from every kind of archive to every
kind of target. What an archive cannot keep (`docs/how-to/replay.md`) is left out here and tested elsewhere.
"""

from __future__ import annotations

import warnings

import pytest

from streamproc.cli.wiring import build_service
from streamproc.replay import (
    ForwardTarget,
    JsonLinesTarget,
    NoTarget,
    open_archive,
    replay_run,
    stored_documents,
)
from streamproc.replay.recording import Recorder
from streamproc.replay.tiled_target import TiledTarget
from streamproc.transports.archive.ports import Query
from streamproc.transports.codec import decode, encode
from streamproc.transports.kafka import KafkaSink
from streamproc.transports.kafka.reading import TopicReader
from streamproc.transports.tiled.reading import run_documents
from tests.integration.publishing import publish
from tests.integration.replay.in_tiled import keep_in_tiled
from tests.integration.replay.same import canonical

pytestmark = pytest.mark.broker

FORMS = ("inline", "hdf5", "tiff", "resource")
KEPT = {"suitcase-msgpack": ("inline", "resource"), "databroker": ("inline", "resource")}
"""Of these the others lose the stream documents."""
SOURCES = ("messages", "suitcase-jsonl", "suitcase-msgpack", "databroker", "tiled", "topic", "recording")
PAIRS = [(source, form) for source in SOURCES for form in KEPT.get(source, FORMS)]


@pytest.fixture(scope="session")
def stored(beam, tiled_server, beamline_once, tmp_path_factory):
    """Make the archive of a kind with the run of a form in it, once."""
    made = {}

    def archive(source, form):
        if (source, form) not in made:
            folder = tmp_path_factory.mktemp(f"{source}-{form}")
            made[source, form] = STORE[source](beam, form, folder, tiled_server, beamline_once)
        return made[source, form]

    return archive


@pytest.fixture(scope="session")
def beamline_once(kafka):
    """Make the settings of a beamline of its own with all runs of a form on its raw topic."""
    from streamproc.settings import Settings
    from streamproc.transports.kafka import ensure_topics
    from tests.integration.conftest import new_name

    def make(beam, form, **sections):
        kept = {name: getattr(beam.settings, name) for name in ("frames", "analysis", "inference")}
        settings = Settings(beamline=new_name(), kafka={"bootstrap": kafka}, **{**kept, **sections})
        assert not [
            p for r in ensure_topics(settings, partitions=1, analysis="phase-map") for p in r.problems
        ]
        publish(settings, (encode(*pair) for pair in beam.run(form)))
        return settings

    return make


def in_messages(beam, form, folder, *_):
    (folder / "raw.msgpack").write_bytes(b"".join(encode(*pair) for pair in beam.run(form)))
    return folder, beam.settings


def in_suitcase(kind):
    def store(beam, form, folder, *_):
        module = __import__(f"suitcase.{kind}", fromlist=["Serializer"])
        with warnings.catch_warnings(action="ignore"), module.Serializer(str(folder)) as serializer:
            for name, doc in beam.run(form):
                serializer(name, doc)
        return folder, beam.settings

    return store


def in_databroker(beam, form, *_):
    import databroker.v2

    catalog = databroker.v2.temp()
    for name, doc in beam.run(form):
        catalog.v1.insert(name, dict(doc))
    return catalog, beam.settings


def in_tiled(beam, form, folder, url, *_):
    keep_in_tiled(url, beam.run(form))
    return url, beam.settings


def in_a_topic(beam, form, folder, url, make):
    return "kafka", make(beam, form)


def in_a_recording(beam, form, folder, url, make):
    settings = make(beam, form)
    Recorder(settings, settings.topic("raw"), folder / "kept", frames=True).run(until_idle_s=0.5)
    return folder / "kept", beam.settings


STORE = {
    "messages": in_messages, "suitcase-jsonl": in_suitcase("jsonl"), "suitcase-msgpack": in_suitcase("msgpack"),
    "databroker": in_databroker, "tiled": in_tiled, "topic": in_a_topic, "recording": in_a_recording,
}  # fmt: skip


def topic_bytes(settings):
    with TopicReader(settings.kafka, settings.topic("results"), timeout_s=60) as reader:
        return [bytes(m.value) for m in reader.messages()]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_live_either_guarantee_of_delivery_gives_the_same_bytes(beam, beamline_once, form, delivery):
    service = {"delivery": delivery, "one_pass": True, "workers": 2}
    settings = beamline_once(beam, form, service=service)
    kafka = settings.kafka.model_copy(update={"from_beginning": True})
    settings = settings.model_copy(update={"kafka": kafka})
    built, _, _ = build_service("phase-map", settings)
    built.run()
    assert topic_bytes(settings) == beam.live(form)


@pytest.mark.parametrize("delivery", ["none", "file", "tiled", "topic"])
@pytest.mark.parametrize(("source", "form"), PAIRS)
def test_replayed_from_every_archive_to_every_target(
    beam, beamline, tiled_server, stored, tmp_path, source, form, delivery
):
    place, settings = stored(source, form)
    out: list[bytes] = []
    results = beamline() if delivery == "topic" else settings
    target = {
        "none": lambda: NoTarget(out.append),
        "file": lambda: JsonLinesTarget(tmp_path / "results.jsonl"),
        "tiled": lambda: TiledTarget(tiled_server, "secret"),
        "topic": lambda: ForwardTarget(KafkaSink(results.kafka, results.delivery)),
    }[delivery]()
    archive = open_archive(place, settings)
    ref = next(archive.runs(Query(runs=(beam.run(form)[0][1]["uid"],))))
    named = settings.model_copy(update={"beamline": results.beamline})  # names the topic of the results
    outcome = replay_run(archive, ref, beam.analysis, target, settings=named)
    target.close()
    assert outcome.good, (outcome.reason, outcome.ledger)
    live = beam.live(form)
    if delivery == "file":
        written = open_archive(tmp_path / "results.jsonl", settings)
        ref = next(written.runs(Query(results=True)))
        out = [encode(*named) for named in written.documents(ref)]
    elif delivery == "topic":
        out = topic_bytes(results)
    elif delivery == "tiled":  # a catalog keeps streams, not the order between them
        from tiled.client import from_uri

        node = from_uri(tiled_server, api_key="secret")[outcome.result_uid]
        out, live = (sorted(map(canonical, docs)) for docs in (run_documents(node), map(decode, live)))
    assert out == live


def test_stored_documents_are_those_of_the_run(beam, stored):
    place, _ = stored("messages", "inline")
    assert [encode(*n) for n in stored_documents(place)] == [encode(*n) for n in beam.run("inline")]
