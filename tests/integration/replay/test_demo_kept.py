"""A run of `streamproc demo --keep`, answered live through Kafka, then replayed from every store."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pytest

from streamproc.cli.wiring import load_analysis, settings_of
from streamproc.replay import NoTarget, replay_run
from streamproc.replay.verify import Verifier
from streamproc.transports.archive.files import FileSpan, read_documents
from streamproc.transports.archive.opening import open_archive
from streamproc.transports.archive.ports import Query

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module", params=["inline", "tiff"])
def kept(request, beam, kafka):
    # Inside the folder that the Tiled server may read from.
    folder = beam.folder / f"demo-{request.param}"
    command = [
        sys.executable, "-m", "streamproc", "demo", "--keep", str(folder), "--points", "4", "--rate", "0",
        "--storage", request.param, "--bootstrap", kafka,
    ]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"--verify {folder}/documents/results.msgpack" in ended.stdout.replace("\n", "")
    return folder


def verified(folder, source):
    command = [
        sys.executable, "-m", "streamproc", "replay", str(source), "--config", str(folder / "beamline.toml"),
        "--run", uid(folder)[:8], "--to", "none", "--verify", str(folder / "documents" / "results.msgpack"),
    ]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "byte-identical" in ended.stdout


def raw(folder):
    return list(read_documents(FileSpan(folder / "documents" / "raw.msgpack")))


def uid(folder):
    return str(raw(folder)[0][1]["uid"])


def test_from_the_kept_documents(kept):
    verified(kept, kept / "documents")


def test_from_suitcase_files(kept, tmp_path):
    from suitcase.jsonl import Serializer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Serializer(str(tmp_path)) as serializer:
            for name, doc in raw(kept):
                serializer(name, doc)
    verified(kept, tmp_path)


def test_from_a_tiled_server(kept, tiled_server):
    from bluesky_tiled_plugins import TiledWriter
    from tiled.client import from_uri

    writer = TiledWriter(from_uri(tiled_server, api_key="secret"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, doc in raw(kept):
            writer(name, dict(doc))
    verified(kept, tiled_server)


def test_from_a_recording(kept, kafka, tmp_path):
    command = [
        sys.executable, "-m", "streamproc", "record", "--out", str(tmp_path / "r"), "--frames", "--config",
        str(kept / "beamline.toml"), "--until-idle", "0",
    ]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode in (0, 1), ended.stderr  # other demos' frames lie outside these roots
    verified(kept, tmp_path / "r")


def test_from_a_databroker_catalog(kept):
    import databroker.v2

    catalog = databroker.v2.temp()
    streamed = any(name == "stream_resource" for name, _ in raw(kept))
    for name, doc in raw(kept):
        catalog.v1.insert(name, dict(doc))
    settings = settings_of(kept / "beamline.toml")
    archive, analysis = open_archive(catalog, settings), load_analysis("phase-map", settings)
    results = open_archive(kept / "documents" / "results.msgpack", settings)
    reference = next(iter(results.runs(Query(("-1",), results=True))))
    verifier = Verifier(uid(kept), results.documents(reference))
    ref = next(iter(archive.runs(Query((uid(kept),)))))

    def feed(message):
        from streamproc.transports.codec import decode

        verifier.feed(*decode(message))

    outcome = replay_run(archive, ref, analysis, NoTarget(feed), settings=settings)
    if streamed:
        assert outcome.ending == "damaged" and "keep no stream_resource" in outcome.reason
    else:
        assert outcome.good and verifier.verdict().identical
