from __future__ import annotations

import json
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamproc.errors import ConfigurationError, DeliveryError, RunNotStored
from streamproc.replay import JsonLinesTarget, NoTarget, ResumeFile, replay_run
from streamproc.results import is_interrupted
from streamproc.settings import load_settings
from streamproc.testing.makers import inline_run
from streamproc.testing.memory import MemoryArchive, documents
from streamproc.transports.archive.files import FileSpan, read_documents
from streamproc.transports.archive.ports import Query
from streamproc.transports.archive.repair import repaired
from streamproc.transports.codec import decode, encode

FRAMES = [np.full((4, 5), n, dtype=np.uint16) for n in range(1, 13)]


def run(uid="run-1", frames=FRAMES):
    return inline_run(frames, uid=uid)


def own_settings(**sections):
    return load_settings(None, {"service": {"workers": 2}, "inference": {"max_batch": 2}, **sections})


def result_bytes(path):
    """The documents of a results file in their canonical form."""
    return [encode(*named) for named in repaired(read_documents(FileSpan(path)), lambda _: None)]


def replayed(tmp_path, archive, toy, name="out.jsonl", **more):
    target = JsonLinesTarget(tmp_path / name)
    ref = next(archive.runs(Query(runs=("-1",))))
    outcome = replay_run(archive, ref, toy, target, settings=own_settings(), **more)
    target.close()
    return outcome, result_bytes(tmp_path / name)


def test_a_replayed_run_gives_the_very_bytes_of_the_live_one(tmp_path, toy, bench):
    live = bench(documents(run()), tmp_path).run()
    outcome, replay = replayed(tmp_path, MemoryArchive(run()), toy())
    assert replay == [value for _, value in live.wire()]
    assert outcome.ending == "complete" and outcome.good
    assert outcome.ledger["done"] == outcome.ledger["expected"] == len(FRAMES)


@pytest.mark.parametrize("speed", [50.0, float("inf")])
def test_speed_does_not_change_a_byte(tmp_path, toy, speed):
    _, usual = replayed(tmp_path, MemoryArchive(run()), toy())
    _, other = replayed(tmp_path, MemoryArchive(run()), toy(), "other.jsonl", speed=speed)
    assert other == usual


def test_an_unfinished_run_ends_with_a_ledger_that_says_so(tmp_path, toy):
    outcome, replay = replayed(tmp_path, MemoryArchive(run()[:-1]), toy())
    stop = decode(replay[-1])[1]
    assert outcome.ending == "unfinished" and not outcome.good
    assert stop["exit_status"] == "abort" and "no stop document" in stop["reason"]
    assert stop["ledger"]["primary"]["done"] == len(FRAMES)


def test_a_damaged_archive_ends_the_run_with_what_could_be_read(tmp_path, toy):
    pairs = run()
    outcome, replay = replayed(tmp_path, MemoryArchive(pairs, damaged_after=7), toy())
    name, stop = decode(replay[-1])
    assert (name, outcome.ending) == ("stop", "damaged")
    assert "told to be damaged" in outcome.reason and "told to be damaged" in stop["reason"]
    assert stop["ledger"]["primary"]["done"] == sum(n == "event" for n, _ in pairs[:7])


def test_an_archive_damaged_from_the_first_byte_still_gives_a_ledger(tmp_path, toy):
    outcome, replay = replayed(tmp_path, MemoryArchive(run(), damaged_after=0), toy())
    assert (outcome.ending, replay) == ("damaged", [])
    assert outcome.ledger["failed"] == outcome.ledger["expected"] == len(FRAMES)


def stop_after(count, event):
    """A tap that asks to stop after so many result documents."""
    seen = []

    def tap(name, doc):
        seen.append(name)
        if len(seen) == count:
            event.set()

    return tap


class StopAt:
    """An archive that asks for the end when document number ``count`` is pulled."""

    def __init__(self, inner, count, event):
        self.inner, self.count, self.event, self.name = inner, count, event, inner.name

    def runs(self, query):
        return self.inner.runs(query)

    def documents(self, ref):
        for number, named in enumerate(self.inner.documents(ref)):
            if number == self.count:
                self.event.set()
            yield named

    def close(self):
        pass


def interrupted_and_resumed(folder, archive, toy, cuts, speed=float("inf")):
    """Interrupt at each cut in turn, then go on to the end; the file in between too.

    At full speed a cut counts documents read; of a paced run, which is read ahead, result documents.
    """
    path, middle = folder / "out.jsonl", []
    for cut in [*cuts, None]:
        stop = threading.Event()
        paced = speed != float("inf")
        source = archive if cut is None or paced else StopAt(archive, cut, stop)
        tap = stop_after(cut, stop) if cut is not None and paced else None
        target = JsonLinesTarget(path)
        resume = ResumeFile(folder / "out.resume", "task")
        ref = next(archive.runs(Query(runs=("-1",))))
        outcome = replay_run(
            source, ref, toy, target, settings=own_settings(), speed=speed, stop=stop, resume=resume, tap=tap
        )
        target.close()
        if outcome.ending != "interrupted":
            break
        middle.append((outcome, result_bytes(path)))
    return outcome, result_bytes(path), middle


def test_an_interrupted_replay_leaves_a_complete_ledger_and_is_resumed(tmp_path, toy):
    _, whole = replayed(tmp_path, MemoryArchive(run()), toy(), "whole.jsonl")
    outcome, final, middle = interrupted_and_resumed(tmp_path, MemoryArchive(run()), toy(), [5], 2.0)
    [(cut, between)] = middle
    ledger = cut.ledger
    stop = decode(between[-1])[1]
    assert stop["exit_status"] == "abort" and "interrupted" in stop["reason"]
    assert ledger["expected"] == len(FRAMES) and 0 < ledger["done"] < len(FRAMES)
    assert ledger["done"] + ledger["dropped"] == ledger["expected"]
    assert "interrupted" in ledger["dropped_reasons"][0]["reason"]
    assert stop["uid"] != decode(whole[-1])[1]["uid"]
    assert final == whole and outcome.ending == "complete"
    assert outcome.frames < len(FRAMES)  # what was answered before is not answered again


@given(cuts=st.lists(st.integers(0, 14), max_size=4), seed=st.integers(0, 2**16))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_interrupted_anywhere_and_resumed_the_documents_are_the_same(tmp_path_factory, toy, cuts, seed):
    folder = tmp_path_factory.mktemp("cut")
    rng = np.random.default_rng(seed)
    frames = [rng.integers(0, 1000, (3, 4), dtype=np.uint16) for _ in range(12)]
    _, whole = replayed(folder, MemoryArchive(run(frames=frames)), toy(), "whole.jsonl")
    archive = MemoryArchive(run(frames=frames))
    outcome, final, middle = interrupted_and_resumed(folder, archive, toy(), cuts)
    assert final == whole and outcome.ending == "complete"
    for cut, _ in middle:
        counts = cut.ledger
        assert counts["done"] + counts["dropped"] + counts["failed"] == counts["expected"] == 12


class _Killed(BaseException):
    pass


@given(cut=st.integers(1, 15))
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_killed_anywhere_and_resumed_the_documents_are_the_same(tmp_path_factory, toy, cut):
    folder = tmp_path_factory.mktemp("kill")
    _, whole = replayed(folder, MemoryArchive(run()), toy(), "whole.jsonl")
    target, seen = JsonLinesTarget(folder / "out.jsonl"), []

    def tap(name, doc):
        seen.append(name)
        if len(seen) == cut:
            raise _Killed

    archive = MemoryArchive(run())
    ref = next(archive.runs())
    resume = ResumeFile(folder / "out.resume", "task")
    try:
        replay_run(archive, ref, toy(), target, settings=own_settings(), speed=100.0, resume=resume, tap=tap)
    except _Killed:
        target._file.write(b'["event", {"half a')
    target.close()
    outcome, final, _ = interrupted_and_resumed(folder, archive, toy(), [])
    assert final == whole and outcome.ending == "complete"


def test_a_resume_file_of_another_task_is_refused(tmp_path):
    ResumeFile(tmp_path / "r", "one").save()
    with pytest.raises(ConfigurationError, match="belongs to another replay"):
        ResumeFile(tmp_path / "r", "two")
    (tmp_path / "r").write_bytes(b"garbage")
    with pytest.raises(ConfigurationError, match="no resume file"):
        ResumeFile(tmp_path / "r", "one")


def test_a_target_that_refuses_ends_the_replay(tmp_path, toy):
    class Full(NoTarget):
        def write(self, messages):
            if messages:
                raise DeliveryError("the disk is full")

    archive = MemoryArchive(run())
    with pytest.raises(DeliveryError, match="disk is full"):
        replay_run(archive, next(archive.runs()), toy(), Full(), settings=own_settings())


def test_a_run_that_the_target_refuses_is_an_outcome_and_the_next_is_taken(tmp_path, toy):
    class Choosy(NoTarget):
        def end_run(self, complete):
            if not self.refused:
                self.refused = True
                raise RunNotStored("too large for this store")

        refused = False

    archive, target = MemoryArchive(run()), Choosy()
    resume = ResumeFile(tmp_path / "r", "task")
    ref = next(archive.runs())
    outcomes = [
        replay_run(archive, ref, toy(), target, settings=own_settings(), resume=resume) for _ in range(2)
    ]
    assert [o.ending for o in outcomes] == ["refused", "complete"]
    assert "too large" in outcomes[0].reason and not outcomes[0].good
    assert outcomes[0].ledger["done"] == len(FRAMES)
    assert resume.saved.done == [ref.uid]


def test_an_analysis_that_hangs_ends_its_run_with_a_ledger_and_the_next_is_taken(tmp_path, toy):
    release = threading.Event()
    hanging = toy(fault=lambda frame: frame.seq_num == 5 and not release.wait(60))
    archive, target = MemoryArchive(run()), JsonLinesTarget(tmp_path / "out.jsonl")
    ref, short = next(archive.runs()), own_settings(service={"frame_timeout_s": 0.5, "workers": 2})
    outcome = replay_run(archive, ref, hanging, target, settings=short)
    after = replay_run(archive, ref, toy(), target, settings=short)
    target.close()
    release.set()
    assert (outcome.ending, after.ending) == ("hangs", "complete") and not outcome.good
    assert "frame_timeout_s" in outcome.reason
    assert outcome.ledger["done"] + outcome.ledger["dropped"] == len(FRAMES) > outcome.ledger["done"]
    assert "frame_timeout_s" in outcome.ledger["dropped_reasons"][0]["reason"]


class Taken(NoTarget):
    """A target that takes nothing back, as a topic: nothing of a run may come behind its stop."""

    goes_on = False

    def __init__(self):
        self.raws = []
        super().__init__(self.raws.append)


def test_gone_on_with_into_a_target_that_takes_nothing_back_the_run_begins_anew(tmp_path, toy):
    _, whole = replayed(tmp_path, MemoryArchive(run()), toy(), "whole.jsonl")
    target, archive = Taken(), MemoryArchive(run())
    ref = next(archive.runs(Query(runs=("-1",))))
    for count in (5, 99):
        stop, resume = threading.Event(), ResumeFile(tmp_path / "r", "task")
        outcome = replay_run(
            archive, ref, toy(), target, settings=own_settings(), speed=2.0, stop=stop, resume=resume,
            tap=stop_after(count, stop),
        )  # fmt: skip
    first = [decode(raw) for raw in target.raws[: -len(whole)]]
    assert outcome.ending == "complete" and target.raws[-len(whole) :] == whole
    assert first[0][0] == "start" and first[-1][0] == "stop"
    assert is_interrupted(first[-1][1]) and not is_interrupted(decode(whole[-1])[1])
    of_whole = {decode(raw)[1]["uid"]: raw for raw in whole}
    for raw in target.raws[: len(first) - 1]:
        assert of_whole[decode(raw)[1]["uid"]] == raw  # one uid never stands for two documents


def test_paused_nothing_is_given_out_and_the_answer_is_the_same(tmp_path, toy):
    _, whole = replayed(tmp_path, MemoryArchive(run()), toy(), "whole.jsonl")
    pause, told = threading.Event(), []

    def progress(answered, total, read):
        told.append((answered, read, pause.is_set()))
        if len(told) == 1:
            pause.set()
        if len(told) == 8:
            pause.clear()

    outcome, replay = replayed(tmp_path, MemoryArchive(run()), toy(), progress=progress, pause=pause)
    held = [read for _, read, paused in told[2:8] if paused]
    assert replay == whole and len(set(held)) == 1
    assert outcome.elapsed_s < 0.5 < 7 * 0.1


def test_a_run_without_frames_for_the_analysis_says_so(tmp_path, toy):
    pairs = [(n, json.loads(json.dumps(d, default=lambda a: 1.0))) for n, d in run()]
    for name, doc in pairs:
        if name == "descriptor":
            for entry in doc["data_keys"].values():
                entry.update(dtype="number", shape=[])
    outcome, replay = replayed(tmp_path, MemoryArchive(pairs), toy())
    assert replay == [] and outcome.ending == "complete" and not outcome.good
    assert "no frames for toy" in outcome.ledger["failed_reasons"][0]["reason"]


def test_progress_is_told_up_to_the_end(tmp_path, toy):
    told = []
    replayed(tmp_path, MemoryArchive(run()), toy(), progress=lambda *numbers: told.append(numbers))
    assert told[-1] == (len(FRAMES), len(FRAMES), len(run()))


WRONG = [None, 1, "x", [], {}, [1, 2], {"a": 1}, -5, float("nan")]


@given(place=st.integers(0, 5), key=st.integers(0, 20), value=st.sampled_from([*WRONG, "gone"]))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_document_of_any_wrong_shape_ends_in_a_ledger_and_no_exception(toy, place, key, value):
    pairs = [(name, dict(doc)) for name, doc in run(frames=FRAMES[:3])]
    doc = pairs[place][1]
    name = [k for k in doc if (place, k) not in ((0, "uid"), (0, "time"))][
        key % (len(doc) - 2 * (place == 0))
    ]
    if value == "gone":
        del doc[name]
    else:
        doc[name] = value
    archive = MemoryArchive(pairs)
    short = own_settings(frames={"wait_s": 0.05})
    ledger = replay_run(archive, next(archive.runs()), toy(), NoTarget(), settings=short).ledger
    assert ledger["done"] + ledger["failed"] + ledger["dropped"] == ledger["expected"]
