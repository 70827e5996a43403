"""The archiver against a source in memory and a store on a dict that can be away, refuse, or die."""

from __future__ import annotations

import copy
from itertools import count

import pytest

from streamproc.archiving.archiver import Archiver
from streamproc.archiving.ports import ArchiveOptions
from streamproc.archiving.spool import Spool
from streamproc.documents import Document, Position
from streamproc.errors import ConfigurationError, DeliveryError, StreamprocError
from streamproc.observability.archive_metrics import ArchiveMetrics
from streamproc.transports.codec import encode
from streamproc.transports.lines import read_documents
from tests.unit.export.runs import raw_run, result_documents


class Topic:
    """A source over one partition, from an offset on; remembers what was committed."""

    def __init__(self, pairs, committed=0, batch=7):
        self.all = [
            Document(n, d, Position("results", 0, i), key=uid_of(n, d, pairs).encode(), raw=encode(n, d))
            for i, (n, d) in enumerate(pairs)
        ]
        self.at, self.committed, self.batch, self.rewinds = committed, committed, batch, 0
        self.gone = []

    def poll(self, timeout_s):
        got = self.all[self.at : self.at + self.batch]
        self.at += len(got)
        return got

    def rewind_to_start(self, run_uid, before):
        self.rewinds += 1
        return [d for d in self.all[: before.position.offset] if d.key == before.key]

    def revoked(self):
        gone, self.gone = self.gone, []
        return gone

    def commit(self, consumed, timeout_s):
        assert consumed["results", 0] >= self.committed
        self.committed = consumed["results", 0]

    def lag(self):
        return len(self.all) - self.at


def uid_of(name, doc, pairs):
    if name == "start":
        return doc["uid"]
    owner = next((d for n, d in pairs if n == "descriptor" and d["uid"] == doc.get("descriptor")), doc)
    return owner.get("run_start", doc.get("run_start"))


class Store:
    """Keeps whole runs; ``fault(uid, attempt)`` may raise."""

    def __init__(self, fault=None):
        self.runs, self.calls, self.fault = {}, count(), fault

    def put(self, run):
        documents, uid = list(run), run.start["uid"]
        if self.fault is not None:
            self.fault(uid, next(self.calls))
        assert documents[0][0] == "start" and documents[-1][0] == "stop"
        wire = [encode(n, d) for n, d in documents]
        assert run.stop == documents[-1][1] and [encode(n, d) for n, d in run] == wire
        outcome = "skipped" if self.runs.get(uid) == wire else "stored"
        self.runs[uid] = wire
        return outcome


class Clock:
    """Every look takes a tenth of a second."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 0.1
        return self.now


def archive(topic, store, folder, **options):
    spool = Spool(folder)
    options = ArchiveOptions(**{"once": True, "give_up_s": 2.0, "most_pause_s": 1.0, **options})
    archiver = Archiver(topic, store, spool, ArchiveMetrics(), options, Clock())
    try:
        return archiver.run(), archiver
    finally:
        spool.close()


def runs(n, interleaved=False):
    made = [result_documents(raw_run(f"raw-run-{k}"), seq_nums=range(1, 6 + k)) for k in range(n)]
    if not interleaved:
        return [d for run in made for d in run], made
    mixed, left = [], [list(r) for r in made]
    while any(left):
        for r in left:
            if r:
                mixed.append(r.pop(0))
    return mixed, made


def wire(run):
    return [encode(n, d) for n, d in run]


@pytest.mark.parametrize("interleaved", [False, True])
def test_every_run_is_stored_once_with_every_document_in_order(tmp_path, interleaved):
    topic_pairs, made = runs(4, interleaved)
    topic, store = Topic(topic_pairs), Store()
    left, _ = archive(topic, store, tmp_path)
    assert left == 0 and topic.committed == len(topic_pairs)
    assert store.runs == {run[0][1]["uid"]: wire(run) for run in made}


def test_repeats_of_documents_and_of_whole_runs_change_nothing(tmp_path):
    pairs, made = runs(2)
    again = copy.deepcopy(made[0])
    store = Store()
    topic = Topic([*pairs, *made[0][-3:], *again, *again])
    left, archiver = archive(topic, store, tmp_path)
    assert left == 0 and topic.committed == len(topic.all)
    assert store.runs == {run[0][1]["uid"]: wire(run) for run in made}
    assert b'outcome="skipped"} 2.0' in archiver._metrics.text()


def test_nothing_is_committed_past_a_run_that_is_open(tmp_path):
    pairs, made = runs(2, interleaved=True)
    first_of_second = next(i for i, (n, d) in enumerate(pairs) if d is made[1][0][1])
    topic = Topic(pairs[:-1])  # the longer run has no stop
    archive(topic, Store(), tmp_path)
    assert topic.committed == first_of_second
    resumed, store = Topic(pairs, committed=topic.committed), Store()
    archive(resumed, store, tmp_path)
    assert store.runs[made[1][0][1]["uid"]] == wire(made[1])
    assert resumed.committed == len(pairs)


def away(uid, attempt):
    raise StreamprocError("no server answers")


def test_a_store_that_is_away_costs_no_run_the_spool_has_them_and_they_are_stored_later(tmp_path):
    pairs, made = runs(5)
    topic = Topic(pairs)
    left, _ = archive(topic, Store(away), tmp_path)
    assert left == 5 and topic.committed == len(pairs)
    for run in made:
        kept = list(read_documents(tmp_path / f"{run[0][1]['uid']}.jsonl"))
        assert [(n, d["uid"]) for n, d in kept] == [(n, d["uid"]) for n, d in run]
    store = Store()
    left, _ = archive(Topic(pairs, committed=topic.committed), store, tmp_path)
    assert left == 0 and set(store.runs) == {run[0][1]["uid"] for run in made}
    assert not list(tmp_path.glob("*.jsonl"))


def test_an_outage_shorter_than_the_deadline_needs_no_spool(tmp_path):
    def short(uid, attempt):
        if attempt < 2:
            away(uid, attempt)

    pairs, made = runs(3)
    store = Store(short)
    left, archiver = archive(Topic(pairs), store, tmp_path, give_up_s=60.0)
    assert left == 0 and store.runs == {run[0][1]["uid"]: wire(run) for run in made}
    assert b'outcome="spooled"' not in archiver._metrics.text()


def test_a_run_that_the_store_refuses_keeps_no_other_from_it(tmp_path):
    pairs, made = runs(4)
    bad = made[1][0][1]["uid"]

    def refuse(uid, attempt):
        if uid == bad:
            raise ValueError("column of mixed types")

    store = Store(refuse)
    left, _ = archive(Topic(pairs), store, tmp_path)
    assert left == 1 and set(store.runs) == {r[0][1]["uid"] for r in made} - {bad}
    assert [p.stem for p in tmp_path.glob("*.jsonl")] == [bad]


def test_a_run_whose_start_was_missed_is_looked_back_for(tmp_path):
    pairs, made = runs(1)
    topic, store = Topic(pairs, committed=4), Store()
    archive(topic, store, tmp_path)
    assert topic.rewinds == 1 and store.runs == {made[0][0][1]["uid"]: wire(made[0])}


def test_a_run_that_never_stops_is_kept_and_completed_when_its_stop_comes_after_all(tmp_path):
    pairs, made = runs(1)
    topic = Topic(pairs[:-1])
    spool = Spool(tmp_path)
    clock = Clock()
    store = Store()
    options = ArchiveOptions(once=False, idle_timeout_s=5.0)
    archiver = Archiver(topic, store, spool, ArchiveMetrics(), options, clock)
    for _ in range(100):
        archiver.step()
    assert len(list((tmp_path / "open").glob("*.jsonl"))) == 1 and not store.runs
    topic.all = Topic(pairs).all
    for _ in range(2000):
        archiver.step()
        if store.runs:
            break
    archiver._collect()
    spool.close()
    uid = made[0][0][1]["uid"]
    assert len(store.runs[uid]) == len(made[0])
    assert topic.rewinds == 0


def test_what_another_process_has_now_is_let_go(tmp_path):
    pairs, _ = runs(1)
    topic = Topic(pairs[:-1])
    spool = Spool(tmp_path)
    archiver = Archiver(topic, Store(), spool, ArchiveMetrics(), ArchiveOptions(), Clock())
    archiver.step()
    topic.gone = [("results", 0)]
    for _ in range(20):
        archiver.step()
    archiver.stop()
    archiver.run()
    spool.close()
    assert topic.committed == 0


def test_a_spool_that_cannot_be_written_commits_nothing(tmp_path, monkeypatch):
    pairs, _ = runs(1)
    topic = Topic(pairs)

    def full(self, uid, documents, *, complete=True):
        raise DeliveryError("disk full")

    monkeypatch.setattr(Spool, "keep", full)
    with pytest.raises(DeliveryError):
        archive(topic, Store(away), tmp_path)
    assert topic.committed == 0


def test_two_archivers_do_not_share_a_spool(tmp_path):
    spool = Spool(tmp_path)
    with pytest.raises(ConfigurationError, match="another archiver"):
        Spool(tmp_path)
    spool.close()
    Spool(tmp_path).close()


def test_a_damaged_file_in_the_spool_is_put_aside_and_keeps_nothing_up(tmp_path):
    (tmp_path / "broken.jsonl").write_text('["start", {"uid": "x"')
    pairs, _ = runs(1)
    store = Store()
    left, _ = archive(Topic(pairs), store, tmp_path)
    assert left == 0 and len(store.runs) == 1
    assert (tmp_path / "broken.damaged").exists()
