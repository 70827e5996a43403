"""Result runs in a real Tiled server: stored once, read back as they were, in every state it may be in."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import streamproc
from streamproc.errors import ConfigurationError
from streamproc.transports.codec import encode
from streamproc.transports.tiled.connect import TiledAway
from streamproc.transports.tiled.reading import run_documents
from streamproc.transports.tiled.store import RunStore
from tests.integration.tiled_server import KEY, TiledServer
from tests.unit.export.runs import Hashes, Whole, answer, late_documents, raw_run, result_documents


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = TiledServer(tmp_path_factory.mktemp("tiled")).start()
    yield server
    server.kill()


@pytest.fixture
def store(server):
    return RunStore(server.url, KEY)


def named(uid, **how):
    answers = {2: answer(2, in_domain=False)}
    return result_documents(raw_run(uid), seq_nums=(1, 2, 4), failed=(3,), answers=answers, **how)


def wide(documents):
    """Give every event a curve that Tiled keeps as an array of its own."""
    made = copy.deepcopy(documents)
    for name, doc in made:
        if name == "descriptor" and doc["name"] == "primary":
            doc["data_keys"]["pattern"]["shape"] = [40]
        elif name == "event" and "pattern" in doc["data"]:
            doc["data"]["pattern"] = np.arange(40.0) / 7 * doc["seq_num"]
    return made


@pytest.mark.parametrize("shape", [lambda d: d, wide], ids=["in-table", "as-array"])
def test_documents_come_back_byte_for_byte(store, server, shape):
    made = shape(named(f"raw-bytes-{shape is wide}"))
    assert store.put(Whole(made)) == "stored"
    back = list(run_documents(server.client()[made[0][1]["uid"]]))
    order = {encode(*pair): pair for pair in made}
    for pair in back:
        name, doc = pair
        mine = next(d for n, d in order.values() if n == name and d["uid"] == doc["uid"])
        assert encode(name, {k: doc[k] for k in mine}) == encode(name, mine)
    assert len(back) == len(made)


def test_a_run_that_is_there_completely_is_left_alone(store, server):
    made = named("raw-twice")
    assert store.put(Whole(made)) == "stored"
    assert store.put(Whole(copy.deepcopy(made))) == "skipped"
    assert len(server.client()[made[0][1]["uid"]]["primary"].base["internal"].read()) == 3


@pytest.mark.parametrize("kept", [1, 2, 4, -1])
def test_a_run_that_is_half_there_is_replaced_by_the_whole(store, server, kept):
    from bluesky_tiled_plugins import TiledWriter

    made = named(f"raw-half-{kept}")
    writer = TiledWriter(server.client(), batch_size=1)
    for name, doc in copy.deepcopy(made[:kept]):
        if name == "event":
            doc["data"] = {k: np.asarray(v).tolist() for k, v in doc["data"].items()}
        writer(name, doc)
    assert store.put(Whole(made)) == "replaced"
    ds = streamproc.open_results(server.client(), f"raw-half-{kept}")
    assert ds.seq_num.values.tolist() == [1, 2, 4] and ds.attrs["finished"] == 1


def test_what_an_interrupted_replay_left_never_replaces_the_whole_and_is_replaced_by_it(store, server):
    made = named("raw-aborted")
    stop = {**made[-1][1], "uid": "aborted", "interrupted": True, "num_events": {"primary": 1}}
    aborted = [*copy.deepcopy(made[:3]), ("stop", stop)]
    uid = made[0][1]["uid"]
    for documents, outcome, last in (
        (aborted, "stored", "aborted"), (made, "replaced", made[-1][1]["uid"]),
        (aborted, "skipped", made[-1][1]["uid"]),
    ):  # fmt: skip
        assert store.put(Whole(copy.deepcopy(documents))) == outcome
        assert server.client()[uid].metadata["stop"]["uid"] == last


def test_rows_that_are_there_twice_are_noticed_and_written_anew(store, server):
    import pyarrow

    made = named("raw-doubled")
    store.put(Whole(made))
    table = server.client()[made[0][1]["uid"]]["primary"].base["internal"]
    rows = pyarrow.Table.from_pandas(table.read(), preserve_index=False)
    table.append_partition(0, rows.slice(1, 1).replace_schema_metadata(None))
    assert store.put(Whole(made)) == "replaced"
    assert store.put(Whole(made)) == "skipped"


def test_open_results_from_tiled_equals_that_of_the_documents(store, server):
    made = named("raw-dataset-with-a-uid-of-its-own")
    late = late_documents(made, [3], raw_run("raw-dataset-with-a-uid-of-its-own"))
    other = named("raw-dataset-with-a-uid-of-its-own", provenance=Hashes.b)
    for documents in (made, late, other):
        store.put(Whole(documents))
    expected = streamproc.open_results([*made, *late], "raw-dataset-with-a-uid-of-its-own")
    for source in (server.client(), server.url):
        ds = streamproc.open_results(source, "raw-dataset-with-a-uid-of-its-own", model="qpa:1", api_key=KEY)
        assert ds.seq_num.values.tolist() == [1, 2, 3, 4]
        assert ds.late.values.tolist() == [False, False, True, False]
        for name in expected.variables:
            np.testing.assert_array_equal(ds[name].values, expected[name].values)
            assert ds[name].attrs == expected[name].attrs


def test_the_raw_runs_beside_are_no_results(store, server):
    server.client().create_container(key="a-raw-run", metadata={"start": {"uid": "a-raw-run", "time": 1.0}})
    with pytest.raises(ConfigurationError, match="no results"):
        streamproc.open_results(server.client(), "a-raw-run")


def test_a_wrong_key_and_a_server_that_is_away_are_told_apart(server):
    with pytest.raises(ConfigurationError, match="refuses"):
        RunStore(server.url, "wrong").put(Whole(named("raw-refused")))
    with pytest.raises(TiledAway, match="no Tiled server answers"):
        RunStore("http://127.0.0.1:9", KEY).put(Whole(named("raw-away")))
    with pytest.raises(ConfigurationError, match="no such container"):
        RunStore(f"{server.url}/api/v1/metadata/nowhere", KEY).check()
