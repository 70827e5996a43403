"""`streamproc replay --to tiled`: the catalog of the settings, stored as `streamproc archive` stores."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from streamproc.replay import NoTarget, replay_run
from streamproc.transports.archive.opening import open_archive
from streamproc.transports.archive.ports import Query
from streamproc.transports.codec import decode, encode
from streamproc.transports.tiled.reading import run_documents
from tests.integration.replay.in_tiled import without
from tests.integration.replay.same import canonical


@pytest.fixture(scope="module")
def raw(beam):
    path = beam.folder / "to-tiled.msgpack"
    path.write_bytes(b"".join(encode(*p) for p in beam.run("hdf5", "tiled")))
    return path


@pytest.fixture(scope="module")
def expected(beam, raw):
    """The result documents as they are published."""
    out: list[bytes] = []
    archive = open_archive(raw, beam.settings)
    replay_run(
        archive, next(archive.runs(Query())), beam.analysis, NoTarget(out.append), settings=beam.settings
    )
    return [decode(x) for x in out]


def replay(*arguments, **environment):
    import os

    return subprocess.run(
        [sys.executable, "-m", "streamproc", "replay", *map(str, arguments)], capture_output=True, text=True,
        timeout=120, check=False, env={**os.environ, **environment},
    )  # fmt: skip


def stored(url, uid):
    from tiled.client import from_uri

    return from_uri(url, api_key="secret")[uid]


def test_the_catalog_of_the_settings_gets_the_published_documents_once(beam, raw, expected, tiled_server):
    config = beam.folder / "with-tiled.toml"
    config.write_text(f'{beam.config.read_text()}\n[tiled]\ncatalog = "{tiled_server}"\n')
    uid = expected[0][1]["uid"]
    for _ in range(2):
        ended = replay(raw, "--config", config, "--to", "tiled")
        assert ended.returncode == 0, ended.stderr
        back = list(run_documents(stored(tiled_server, uid)))
        assert sorted(map(canonical, back)) == sorted(map(canonical, expected))
    ended = replay(raw, "--config", config, "--verify", "tiled")
    assert ended.returncode == 0, ended.stdout


def test_a_run_that_is_there_in_part_is_written_anew(beam, raw, expected, tiled_server):
    from bluesky_tiled_plugins import TiledWriter
    from tiled.client import from_uri

    client, uid = from_uri(tiled_server, api_key="secret"), expected[0][1]["uid"]
    without(tiled_server, uid)
    writer = TiledWriter(client)
    for name, doc in expected[:3]:  # the start, a descriptor, one event
        writer(name, json.loads(json.dumps(doc, default=lambda a: a.tolist())))
    ended = replay(raw, "--config", beam.config, "--to", tiled_server)
    assert ended.returncode == 0, ended.stderr
    assert len(list(run_documents(stored(tiled_server, uid)))) == len(expected)


def test_without_a_catalog_in_the_settings_the_setting_is_named(beam, raw):
    ended = replay(raw, "--config", beam.config, "--to", "tiled")
    assert ended.returncode == 2 and "tiled.catalog" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(("key", "words"), [("", "TILED_API_KEY is not set"), ("wrong", "refuses the key")])
def test_a_key_that_is_missing_or_wrong_is_said_before_any_work(beam, raw, tiled_server, key, words):
    ended = replay(raw, "--config", beam.config, "--to", tiled_server, TILED_API_KEY=key)
    assert ended.returncode == 2 and words in ended.stderr, ended.stderr
    assert "Traceback" not in ended.stderr and ended.stdout == ""
