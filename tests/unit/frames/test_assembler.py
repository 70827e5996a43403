"""Assembler: one request per reading, whatever the storage style and order of the documents."""

from __future__ import annotations

from dataclasses import replace

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.documents import Position
from streamproc.errors import DocumentRefused
from streamproc.frames.assembler import Assembler, AssemblerLimits, Missing
from streamproc.frames.requests import DatumRef, FrameRequest, Inline, StreamSlice
from streamproc.runs import NeedsRewind, Run, RunClosed, RunOpened, RunTracker, RunUpdated
from streamproc.testing import documents
from streamproc.testing.makers import datum_run, fly_run, inline_run, page_run, stream_run, with_darks
from streamproc.transports.codec import encode
from streamproc.validation import DocumentValidator

N = 5
FRAMES = np.arange(N * 6, dtype="<u2").reshape(N, 2, 3)
VALIDATOR = DocumentValidator(schema=False)


class Bench:
    """Tracker and assembler as the service couples them; can be stored and taken up anywhere."""

    def __init__(self, key: str | None = "det", **settings) -> None:
        self.tracker = RunTracker(validator=VALIDATOR)
        self.key, self.settings = key, settings
        self.assembler: Assembler | None = None
        self.requests: list[FrameRequest] = []
        self.closed: RunClosed | None = None

    def feed(self, docs) -> list[FrameRequest]:
        before = len(self.requests)
        for document in docs:
            outcomes = self.tracker.feed(document)
            if any(isinstance(o, NeedsRewind) for o in outcomes):
                outcomes = self.tracker.adopt(document)
            for outcome in outcomes:
                if isinstance(outcome, RunOpened) and self.assembler is None:
                    self.assembler = Assembler(outcome.run, "primary", self.key, **self.settings)
                elif isinstance(outcome, RunUpdated) and outcome.run is self.assembler.run:
                    self.requests.extend(self.assembler.feed(outcome.document))
                elif isinstance(outcome, RunClosed) and outcome.run is self.assembler.run:
                    self.closed = outcome
        return self.requests[before:]

    def missing(self) -> list[Missing]:
        return self.assembler.missing(self.closed.run.stop if self.closed else None)

    def restarted(self) -> Bench:
        """Return a bench made from stored state alone."""
        state = msgpack.packb([self.tracker.to_state(), self.assembler and self.assembler.to_state()])
        tracker_state, assembler_state = msgpack.unpackb(state)
        other = Bench(self.key, **self.settings)
        other.tracker = RunTracker.from_state(tracker_state, validator=VALIDATOR)
        for run in other.tracker.open_runs.values():
            other.assembler = Assembler.from_state(run, assembler_state)
        other.requests = list(self.requests)
        return other


def array_of(request: FrameRequest) -> np.ndarray:
    """Read the frame the way the makers wrote it, independently of the readers."""
    locator = request.locator
    if isinstance(locator, Inline):
        return np.asarray(locator.value)
    if isinstance(locator, DatumRef):
        index = locator.datum["datum_kwargs"]["index"]
        resource = locator.resource
        return np.load(f"{resource['root']}/{resource['resource_path']}_{index}.npy")
    import h5py

    path = locator.stream_resource["uri"].removeprefix("file://localhost")
    rows = request.data_key["shape"][0]
    with h5py.File(path) as file:
        found = file["/entry/data/data"][locator.index * rows : (locator.index + 1) * rows]
    return found[0] if rows == 1 else found


def summary(requests: list[FrameRequest]) -> list[tuple]:
    return [
        (r.seq_num, array_of(r).tolist(), r.time_s, dict(r.readings), dict(r.timestamps)) for r in requests
    ]


MAKERS = {
    "inline": lambda folder: inline_run(FRAMES),
    "page": lambda folder: page_run(FRAMES, 2),
    "stream": lambda folder: stream_run(FRAMES, folder / "stream.h5"),
    "stream without motor": lambda folder: stream_run(FRAMES, folder / "bare.h5", motor=None),
    "fly": lambda folder: fly_run(FRAMES, folder / "fly.h5", [2, 3]),
    "datum": lambda folder: datum_run(FRAMES, folder),
    "datum without motor": lambda folder: datum_run(FRAMES, folder, motor=None),
}


@pytest.mark.parametrize("storage", MAKERS)
def test_every_storage_gives_every_frame_once_in_order_with_its_readings(storage, tmp_path):
    bench = Bench()
    requests = bench.feed(documents(MAKERS[storage](tmp_path), published_s=3.0))
    assert [r.seq_num for r in requests] == [1, 2, 3, 4, 5]
    for number, request in enumerate(requests):
        np.testing.assert_array_equal(array_of(request), FRAMES[number])
        assert request.run_uid.startswith("run-") and request.stream == "primary" and request.key == "det"
        assert request.configuration == {"det_exposure_s": 0.1}
        assert request.published_s == 3.0 and request.dark is None
        if storage in ("inline", "page", "stream", "datum"):
            assert request.readings == {"motor": 0.5 * number}
            assert request.time_s == 1.7e9 + 1 + number == request.timestamps["motor"]
        else:
            assert request.readings == {}
    assert bench.missing() == [] and not bench.assembler.repeated


def test_a_fly_scan_without_events_takes_the_descriptors_time(tmp_path):
    requests = Bench().feed(documents(fly_run(FRAMES, tmp_path / "f.h5", [5])))
    assert {r.time_s for r in requests} == {1.7e9}


def test_several_frames_per_event_stay_together(tmp_path):
    stack = np.arange(3 * 4 * 6, dtype="u2").reshape(3, 4, 2, 3)
    requests = Bench().feed(documents(stream_run(stack, tmp_path / "s.h5")))
    assert [r.locator.index for r in requests] == [0, 1, 2]
    for number, request in enumerate(requests):
        np.testing.assert_array_equal(array_of(request), stack[number])


@given(data=st.data())
def test_any_order_of_documents_gives_the_same_readings(data, tmp_path_factory):
    storage = data.draw(st.sampled_from(["inline", "page", "stream", "fly", "datum", "stream without motor"]))
    pairs = MAKERS[storage](tmp_path_factory.mktemp("order"))
    expected = summary(Bench().feed(documents(pairs)))
    bench = Bench()
    bench.feed(documents([pairs[0], *data.draw(st.permutations(pairs[1:-1])), pairs[-1]]))
    assert sorted(summary(bench.requests)) == expected
    assert bench.missing() == []


@given(data=st.data())
def test_interrupted_anywhere_in_any_order_it_goes_on_from_its_stored_state(data, tmp_path_factory):
    storage = data.draw(st.sampled_from(["inline", "page", "stream", "fly", "datum"]))
    pairs = MAKERS[storage](tmp_path_factory.mktemp("state"))
    if storage in ("inline", "datum") and data.draw(st.booleans()):
        pairs = with_darks(pairs, {0: FRAMES[0], 2: FRAMES[1]})
    shuffled = documents([pairs[0], *data.draw(st.permutations(pairs[1:-1])), pairs[-1]])
    whole = Bench()
    whole.feed(shuffled)
    bench = Bench()
    cuts = data.draw(st.sets(st.integers(1, len(shuffled) - 1), max_size=4))
    for number, document in enumerate(shuffled):
        if number in cuts:
            bench = bench.restarted()
        bench.feed([document])
    assert [repr(r) for r in bench.requests] == [repr(r) for r in whole.requests]


def test_everything_delivered_twice_gives_every_reading_once(tmp_path):
    for storage in MAKERS:
        docs = documents(MAKERS[storage](tmp_path))
        bench = Bench()
        bench.feed([d for document in docs for d in (document, document)])
        assert [r.seq_num for r in bench.requests] == [1, 2, 3, 4, 5]


@given(data=st.data())
def test_what_was_lost_is_named_and_the_rest_arrives(data, tmp_path_factory):
    storage = data.draw(st.sampled_from(["inline", "stream", "fly", "datum"]))
    pairs = MAKERS[storage](tmp_path_factory.mktemp("loss"))
    lost = data.draw(st.sets(st.integers(2, len(pairs) - 2), min_size=1))
    bench = Bench()
    bench.feed(documents(p for i, p in enumerate(pairs) if i not in lost))
    seen = {r.seq_num for r in bench.requests}
    gone = {n for m in bench.missing() for n in m.seq_nums}
    assert seen | gone == set(range(1, N + 1)) and not seen & gone
    assert all(m.reason for m in bench.missing())


def test_each_kind_of_loss_has_its_own_reason(tmp_path):
    def missing_without(pairs, lost):
        bench = Bench()
        bench.feed(documents(p for p in pairs if not lost(*p)))
        return [(m.first, m.stop, m.reason) for m in bench.missing()]

    inline, stream = inline_run(FRAMES), stream_run(FRAMES, tmp_path / "s.h5")
    datum, fly = datum_run(FRAMES, tmp_path), fly_run(FRAMES, tmp_path / "f.h5", [1] * 5)
    datum_id = next(d["datum_id"] for n, d in datum if n == "datum")
    resource = next(d["uid"] for n, d in datum if n == "resource")
    stream_resource = next(d["uid"] for n, d in stream if n == "stream_resource")

    def number(name):
        return lambda n, d: n == name and d.get("seq_num", d.get("seq_nums", {}).get("start")) in (2, 3)

    assert missing_without(inline, number("event")) == [(2, 4, "its event never came")]
    assert missing_without(stream, number("event")) == [(2, 4, "its event never came")]
    assert missing_without(stream, number("stream_datum")) == [(2, 4, "its stream_datum never came")]
    both = missing_without(stream, lambda n, d: number("event")(n, d) or number("stream_datum")(n, d))
    assert both == [(2, 4, "neither event nor stream_datum came")]
    assert missing_without(fly, number("stream_datum")) == [(2, 4, "no stream_datum came")]
    first = missing_without(datum, lambda n, d: n == "datum" and d["datum_id"] == datum_id)
    assert first == [(1, 2, f"datum {datum_id!r} never came")]
    # without its resource a datum cannot be told to belong to this run
    reasons = {r for _, _, r in missing_without(datum, lambda n, d: n == "resource")}
    assert reasons == {f"datum '{resource}/{i}' never came" for i in range(5)}
    nowhere = missing_without(stream, lambda n, d: n == "stream_resource")
    assert nowhere == [(1, 6, f"stream_resource {stream_resource!r} never came")]


def test_an_event_without_its_frame_says_so():
    pairs = inline_run(FRAMES)
    event = pairs[3][1]
    bare = {**event, "data": {"motor": 1.0}, "timestamps": {"motor": 1.0}}
    bench = Bench()
    bench.feed(documents([*pairs[:3], ("event", bare), *pairs[4:]]))
    assert bench.missing() == [Missing(2, 3, "its event has no value for 'det'")]


def test_a_run_without_stop_is_accounted_for_by_what_was_seen():
    bench = Bench()
    pairs = inline_run(FRAMES)
    bench.feed(documents([*pairs[:4], *pairs[5:-1]]))
    assert bench.missing() == []
    bench.feed(documents(pairs[-1:]))
    assert bench.missing() == [Missing(3, 4, "its event never came")]


def test_a_join_in_the_middle_says_that_earlier_readings_came_before():
    bench = Bench()
    pairs = inline_run(FRAMES)
    bench.feed(documents([pairs[1], *pairs[4:]]))
    (lost,) = bench.missing()
    assert (lost.first, lost.stop) == (1, 3) and "joined in the middle" in lost.reason


def test_ten_to_the_nine_events_claimed_by_a_stop_cost_nothing():
    pairs = inline_run(FRAMES)
    stop = {**pairs[-1][1], "num_events": {"primary": 10**9}}
    bench = Bench()
    bench.feed(documents([*pairs[:-1], ("stop", stop)]))
    (lost,) = bench.missing()
    assert (lost.first, lost.stop) == (6, 10**9 + 1)


def test_a_million_frames_in_one_stream_datum_are_handed_out_bit_by_bit(tmp_path):
    pairs = fly_run(FRAMES, tmp_path / "f.h5", [5])
    n = 1_000_000
    big = {**pairs[3][1], "indices": {"start": 0, "stop": n}, "seq_nums": {"start": 1, "stop": n + 1}}
    bench = Bench(limits=AssemblerLimits(take=100))
    assert [r.seq_num for r in bench.feed(documents([*pairs[:3], ("stream_datum", big)]))] == [*range(1, 101)]
    assert bench.assembler.waiting == n - 100
    assert len(msgpack.packb(bench.assembler.to_state())) < 1000
    more = bench.restarted().assembler.take(50)
    assert [(r.seq_num, r.locator.index) for r in more] == [(i + 1, i) for i in range(100, 150)]


def test_seq_nums_too_scattered_to_keep_account_of_are_refused():
    from streamproc.runs.seen import SeqNums, TooManyGaps

    few = SeqNums(max_intervals=3)
    for n in (1, 5, 9):
        few.add(n)
    with pytest.raises(TooManyGaps, match="more than 3 gaps"):
        few.add(13)
    few.add(2)
    pairs = inline_run(FRAMES)
    bench = Bench()
    bench.feed(documents(pairs[:2]))
    bench.assembler._account.expected = few
    with pytest.raises(DocumentRefused, match="more than 3 gaps"):
        bench.feed(documents([("event", {**pairs[2][1], "seq_num": 100, "uid": "x"})]))


# -- retakes: a RunEngine that rewinds takes the same seq_num again ------------------------------


def retake(event: dict, value) -> dict:
    return {**event, "uid": event["uid"] + "-again", "data": {**event["data"], "det": value}}


def test_of_a_reading_taken_again_the_first_counts_and_the_repetition_is_recorded():
    pairs = inline_run(FRAMES)
    again = [("event", retake(pairs[i][1], FRAMES[0])) for i in (3, 4)]
    bench = Bench()
    bench.feed(documents([*pairs[:5], *again, *pairs[5:]]))
    assert [r.seq_num for r in bench.requests] == [1, 2, 3, 4, 5]
    np.testing.assert_array_equal(array_of(bench.requests[2]), FRAMES[2])
    assert list(bench.assembler.repeated) == [(2, 4)] and bench.missing() == []


def test_of_incomplete_halves_taken_again_the_newest_counts(tmp_path):
    pairs = stream_run(FRAMES, tmp_path / "s.h5")
    start, descriptor, resource, datum, event = documents(pairs[:5])
    datum_again = replace(
        datum,
        doc={**datum.doc, "uid": "again", "indices": {"start": 1, "stop": 2}},
        position=Position("t", 0, 9),
    )
    event_again = replace(event, doc={**event.doc, "uid": "again", "time": 7.0})
    bench = Bench()
    (request,) = bench.feed([start, descriptor, resource, datum, datum_again, event_again])
    assert request.locator.index == 1 and request.time_s == 7.0


def test_a_fly_scan_taken_again_gives_only_what_is_new(tmp_path):
    pairs = fly_run(FRAMES, tmp_path / "f.h5", [2, 3])
    again = {
        **pairs[3][1],
        "uid": "x",
        "indices": {"start": 2, "stop": 5},
        "seq_nums": {"start": 1, "stop": 4},
    }
    bench = Bench()
    bench.feed(documents([*pairs[:4], ("stream_datum", again)]))
    assert [(r.seq_num, r.locator.index) for r in bench.requests] == [(1, 0), (2, 1), (3, 4)]
    assert list(bench.assembler.repeated) == [(1, 3)]


def test_a_real_run_engine_that_rewinds_gives_each_seq_num_once():
    bluesky = pytest.importorskip("bluesky")
    sim = pytest.importorskip("ophyd.sim")
    from bluesky import plan_stubs as bps
    from bluesky.utils import RunEngineInterrupted

    engine, pairs = bluesky.RunEngine({}), []
    engine.subscribe(lambda name, doc: pairs.append((name, doc)))

    def plan():
        yield from bps.open_run()
        yield from bps.checkpoint()
        for _ in range(3):
            yield from bps.trigger_and_read([sim.det])
        yield from bps.checkpoint()
        for _ in range(2):
            yield from bps.trigger_and_read([sim.det])
        yield from bps.pause()
        yield from bps.trigger_and_read([sim.det])
        yield from bps.close_run()

    with pytest.raises(RunEngineInterrupted):
        engine(plan())
    engine.resume()
    assert [d["seq_num"] for n, d in pairs if n == "event"] == [1, 2, 3, 4, 5, 4, 5, 6]
    bench = Bench()
    bench.feed(documents(pairs))
    assert [r.seq_num for r in bench.requests] == [1, 2, 3, 4, 5, 6]
    assert list(bench.assembler.repeated) == [(4, 6)] and bench.missing() == []


# -- several files, several keys, several descriptors ------------------------------


def second_file(pairs, start: int, first: int, n: int, uri: str = "file://localhost/x/b.h5", **resource):
    doc = {**pairs[2][1], "uid": "second", "uri": uri, **resource}
    datum = {
        **pairs[3][1], "uid": "second/0", "stream_resource": "second",
        "indices": {"start": start, "stop": start + n}, "seq_nums": {"start": first, "stop": first + n},
    }  # fmt: skip
    return [("stream_resource", doc), ("stream_datum", datum)]


@pytest.mark.parametrize(
    ("start", "resource", "expected"),
    [
        (0, {}, [0, 1, 2]),  # numbering restarts with the file, as ophyd-async does
        (5, {}, [0, 1, 2]),  # numbering goes on over the files
        (5, {"uri": "file://localhost/d/", "mimetype": "multipart/related;type=image/tiff"}, [5, 6, 7]),
        (4, {}, [4, 5, 6]),  # neither: taken for what it says
    ],
)
def test_a_new_file_in_the_middle_of_a_run_is_indexed_by_its_own_rows(tmp_path, start, resource, expected):
    pairs = fly_run(FRAMES, tmp_path / "f.h5", [5])
    bench = Bench()
    bench.feed(documents([*pairs[:4], *second_file(pairs, start, 6, 3, **resource)]))
    assert [r.locator.index for r in bench.requests[5:]] == expected
    assert {r.locator.stream_resource["uid"] for r in bench.requests[5:]} == {"second"}


def test_the_same_file_announced_again_keeps_its_numbering(tmp_path):
    pairs = fly_run(FRAMES, tmp_path / "f.h5", [5])
    uri = pairs[2][1]["uri"]
    bench = Bench()
    bench.feed(documents([*pairs[:4], *second_file(pairs, 5, 6, 2, uri)]))
    assert [r.locator.index for r in bench.requests[5:]] == [5, 6]


def test_other_keys_of_the_same_stream_are_ignored(tmp_path):
    pairs = stream_run(FRAMES, tmp_path / "s.h5")
    total = ("stream_resource", {**pairs[2][1], "uid": "sum", "data_key": "det-sum"})
    mixed = [*pairs[:2], total]
    for name, doc in pairs[2:]:
        if name == "stream_datum":
            mixed.append((name, {**doc, "uid": "sum" + doc["uid"], "stream_resource": "sum"}))
        mixed.append((name, doc))
    bench = Bench()
    requests = bench.feed(documents(mixed))
    assert [r.seq_num for r in requests] == [1, 2, 3, 4, 5]
    assert {r.locator.stream_resource["data_key"] for r in requests} == {"det"}


def test_a_changed_configuration_counts_for_the_events_that_name_it():
    pairs = inline_run(FRAMES)
    descriptor = pairs[1][1]
    slower = {"det": {"data": {"det_exposure_s": 9.0}, "timestamps": {}, "data_keys": {}}}
    later = ("descriptor", {**descriptor, "uid": "later", "configuration": slower})
    tail = [("event", {**doc, "descriptor": "later"}) for _, doc in pairs[4:7]]
    requests = Bench().feed(documents([*pairs[:4], later, *tail]))
    assert [r.configuration["det_exposure_s"] for r in requests] == [0.1, 0.1, 9.0, 9.0, 9.0]


def test_readings_are_scalars_and_small_arrays_only_and_never_references_to_files():
    pairs = inline_run(FRAMES)
    descriptor, event = pairs[1][1], pairs[2][1]
    other = {"source": "s", "dtype": "array", "shape": [4], "external": "FILESTORE:"}
    keys = {**descriptor["data_keys"], "camera": other}
    data = {
        **event["data"], "axis": np.linspace(0, 1, 100), "big": np.zeros(10**6), "flags": [1, 2.5, True],
        "ragged": [[1], [2, 3]], "name": "sample A", "camera": "some/datum", "a.b": 1.0, "raw": b"\x00",
        "none": None, "count": np.int32(7),
    }  # fmt: skip
    rich = {**event, "data": data, "timestamps": dict.fromkeys(data, 2.0)}
    (request,) = Bench().feed(
        documents([pairs[0], ("descriptor", {**descriptor, "data_keys": keys}), ("event", rich)])
    )
    assert set(request.readings) == {"motor", "axis", "flags", "ragged", "name", "count"}
    assert set(request.timestamps) == set(request.readings)


def test_consumed_datums_are_let_go(tmp_path):
    pairs = datum_run(np.zeros((200, 1, 1)), tmp_path)
    bench = Bench()
    bench.feed(documents(pairs[:-1]))
    run = bench.assembler.run
    assert run.datums == {} and len(run.consumed_datums) == 64
    assert len(bench.requests) == 200


def test_datums_of_keys_that_nobody_asked_for_do_not_pile_up(tmp_path):
    pairs = datum_run(np.zeros((200, 1, 1)), tmp_path)
    bench = Bench("other")
    bench.feed(documents(pairs[:-1]))
    assert bench.assembler.run.datums == {} and bench.requests == []


def test_one_datum_named_by_two_events_serves_both(tmp_path):
    pairs = datum_run(FRAMES, tmp_path)
    shared = pairs[3][1]["datum_id"]
    stream = [
        (n, {**d, "data": {**d["data"], "det": shared}} if n == "event" else d)
        for n, d in pairs
        if n != "datum" or d["datum_id"] == shared
    ]
    assert len(Bench().feed(documents(stream))) == N


def test_readings_that_wait_are_bounded_and_the_oldest_is_given_up_with_its_reason(tmp_path):
    pairs = datum_run(FRAMES, tmp_path)
    events = [p for p in pairs if p[0] == "event"]
    bench = Bench(limits=AssemblerLimits(pending=3))
    bench.feed(documents([*pairs[:3], *events, pairs[-1]]))
    reasons = [(m.first, m.reason) for m in bench.missing()]
    assert [n for n, _ in reasons] == [1, 2, 3, 4, 5]
    assert "more than 3 readings waited" in reasons[0][1] and "waited" not in reasons[4][1]


def as_messages(pairs):
    return [replace(d, raw=encode(d.name, d.doc)) for d in documents(pairs)]


def test_readings_that_wait_are_bounded_in_bytes(tmp_path):
    pairs = datum_run(FRAMES, tmp_path)
    docs = as_messages([*pairs[:3], *(p for p in pairs if p[0] == "event"), pairs[-1]])
    bench = Bench(limits=AssemblerLimits(pending_bytes=3 * len(docs[3].raw) + 10))
    bench.feed(docs)
    reasons = [m.reason for m in bench.missing()]
    assert "bytes of events waited" in reasons[0] and "waited" not in reasons[-1]
    assert 1 < sum("waited" not in reason for reason in reasons) < len(reasons)


def test_a_stream_datum_that_had_to_wait_keeps_its_message_also_over_a_restart(tmp_path):
    docs = as_messages(fly_run(FRAMES, tmp_path / "f.h5"))
    resource, datum = (next(d for d in docs if d.name == n) for n in ("stream_resource", "stream_datum"))
    for restart in (False, True):
        bench = Bench()
        bench.feed([d for d in docs if d.name in ("start", "descriptor")] + [datum])
        if restart:
            bench = bench.restarted()
        requests = bench.feed([resource])
        assert [r.origin.raw for r in requests] == [datum.raw] * N


def test_stream_datums_that_wait_are_bounded_in_bytes(tmp_path):
    docs = as_messages(fly_run(FRAMES, tmp_path / "f.h5", [1] * N))
    datums = [d for d in docs if d.name == "stream_datum"]
    resource = next(d for d in docs if d.name == "stream_resource")
    bench = Bench(limits=AssemblerLimits(unresolved_bytes=2 * len(datums[0].raw)))
    bench.feed([d for d in docs if d.name in ("start", "descriptor")] + datums)
    assert [r.seq_num for r in bench.feed([resource])] == [N - 1, N]


def test_the_lowest_reading_that_waits_is_known(tmp_path):
    pairs = datum_run(FRAMES, tmp_path)
    lost = [p for p in pairs[:-1] if not (p[0] == "datum" and p[1]["datum_kwargs"]["index"] == 1)]
    bench = Bench()
    bench.feed(documents(lost))
    assert bench.assembler.first_incomplete == 2
    assert [r.seq_num for r in bench.requests] == [1, 3, 4, 5]


def test_position_is_the_earliest_document_and_published_the_latest_of_a_reading(tmp_path):
    docs = documents(stream_run(FRAMES, tmp_path / "s.h5"))
    timed = [replace(d, published_s=float(d.position.offset)) for d in docs]
    first = Bench().feed(timed)[0]
    assert (first.position.offset, first.published_s) == (3, 4.0)


# -- dark frames ------------------------------


def test_each_frame_gets_the_newest_dark_before_it():
    pairs = with_darks(inline_run(FRAMES), {1: np.full((2, 3), 11), 3: np.full((2, 3), 33)})
    requests = Bench().feed(documents(pairs))
    darks = [None if r.dark is None else int(r.dark.value[0, 0]) for r in requests]
    assert darks == [None, 11, 11, 33, 33]
    assert requests[1].dark_data_key["shape"] == [2, 3]
    assert Bench(dark_stream=None).feed(documents(pairs))[4].dark is None


def test_darks_taken_before_the_key_was_chosen_count():
    pairs = with_darks(inline_run(FRAMES), {0: np.full((2, 3), 11)})
    descriptor = pairs.pop(1)
    pairs.insert(3, descriptor)
    assert [n for n, _ in pairs[:4]] == ["start", "descriptor", "event", "descriptor"]
    bench = Bench(key=None)
    bench.feed(documents(pairs[:4]))
    bench.assembler.choose("det")
    requests = bench.feed(documents(pairs[4:], first_offset=4))
    assert [int(r.dark.value[0, 0]) for r in requests] == [11] * 5


def test_darks_in_files_are_found_by_datum_and_by_stream_datum(tmp_path):
    pairs = datum_run(FRAMES, tmp_path)
    dark_descriptor = {**pairs[1][1], "uid": "dd", "name": "dark"}
    dark_event = {**pairs[4][1], "uid": "de", "descriptor": "dd"}
    first = Bench().feed(
        documents(
            [*pairs[:2], ("descriptor", dark_descriptor), *pairs[2:4], ("event", dark_event), *pairs[5:]]
        )
    )[0]
    assert isinstance(first.dark, DatumRef) and first.dark.datum["datum_kwargs"] == {"index": 0}
    pairs = stream_run(FRAMES, tmp_path / "s.h5")
    resource = {**pairs[2][1], "uid": "dr"}
    datum = {**pairs[3][1], "uid": "dr/0", "stream_resource": "dr", "descriptor": "dd",
             "indices": {"start": 0, "stop": 3}, "seq_nums": {"start": 1, "stop": 4}}  # fmt: skip
    dark = [("descriptor", dark_descriptor | {"run_start": "run-stream"}), ("stream_resource", resource),
            ("stream_datum", datum)]  # fmt: skip
    first = Bench().feed(documents([*pairs[:2], *dark, *pairs[2:]]))[0]
    assert isinstance(first.dark, StreamSlice) and first.dark.index == 2
    assert first.dark.stream_resource["uid"] == "dr"


def test_an_inline_dark_is_stored_once_however_many_readings_wait_with_it(tmp_path):
    pairs = datum_run(FRAMES, tmp_path)
    image = np.zeros((500, 500))
    dark = [("descriptor", {**pairs[1][1], "uid": "dd", "name": "dark"}),
            ("event", {**pairs[4][1], "uid": "de", "descriptor": "dd",
                       "data": {"det": image, "motor": 0.0}})]  # fmt: skip
    events = [p for p in pairs if p[0] == "event"]
    bench = Bench()
    bench.feed(documents([*pairs[:2], *dark, *events]))
    size = len(msgpack.packb(bench.assembler.to_state()))
    assert image.nbytes < size < 1.1 * image.nbytes


def test_a_run_is_stored_and_taken_up_whole(tmp_path):
    bench = Bench()
    bench.feed(documents(datum_run(FRAMES, tmp_path)[:-1]))
    run = bench.assembler.run
    again = Run.from_state(msgpack.unpackb(msgpack.packb(run.to_state())))
    assert again == run


# -- whatever comes -------------------------------------------------------------------------------

ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=5),
    st.just([]), st.just({}), st.just([[1], 2]), st.just({"a": {}}), st.just(np.zeros((2, 3))),
)  # fmt: skip


def places(value, path=()):
    """Iterate over the paths of everything in a document."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key)
            yield from places(item, (*path, key))


def changed(value, path, new):
    if not path:
        return new
    return {**value, path[0]: changed(value[path[0]], path[1:], new)}


@given(data=st.data())
def test_a_document_with_anything_anywhere_is_refused_or_taken_and_never_ends_the_service(
    data, tmp_path_factory
):
    storage = data.draw(st.sampled_from(["inline", "page", "stream", "fly", "datum"]))
    pairs = MAKERS[storage](tmp_path_factory.mktemp("odd"))
    if storage in ("inline", "datum"):
        pairs = with_darks(pairs, {0: FRAMES[0]})
    number = data.draw(st.integers(0, len(pairs) - 1))
    path = data.draw(st.sampled_from([*places(pairs[number][1])]))
    odd = data.draw(ODD)
    if path == ("uid",) and number == 0 and isinstance(odd, str):
        odd = "other"
    pairs = [*pairs]
    pairs[number] = (pairs[number][0], changed(pairs[number][1], path, odd))
    bench = Bench()
    for document in documents(pairs):
        try:
            bench.feed([document])
        except DocumentRefused:
            continue
        if bench.assembler is not None:
            msgpack.packb([bench.tracker.to_state(), bench.assembler.to_state()])
    assert bench.assembler is None or bench.missing() is not None
