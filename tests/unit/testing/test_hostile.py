"""The hostile corpus: every entry meets codec and tracker as it says, and good documents go on."""

from __future__ import annotations

import time

import numpy as np
import pytest

from streamproc.errors import DocumentRefused
from streamproc.frames.assembler import Assembler
from streamproc.runs import NeedsRewind, RunOpened, RunTracker, RunUpdated, Skipped
from streamproc.testing import documents
from streamproc.testing.hostile import hostile_messages, hostile_runs
from streamproc.testing.makers import inline_run
from streamproc.transports.codec import decode
from streamproc.validation import DocumentValidator

VALIDATOR = DocumentValidator(schema=False)


def take(tracker: RunTracker, document) -> tuple[str, list]:
    try:
        outcomes = tracker.feed(document)
        if any(isinstance(o, NeedsRewind) for o in outcomes):
            outcomes = tracker.adopt(document)
    except DocumentRefused as error:
        assert str(document.position) in str(error)
        return "refused", []
    return "skipped" if all(isinstance(o, Skipped) for o in outcomes) else "accepted", outcomes


def test_the_corpus_is_large_and_its_labels_are_unique(tmp_path):
    messages = list(hostile_messages(tmp_path / "canary"))
    labels = [m.label for m in messages]
    assert len(labels) == len(set(labels)) > 500
    assert {m.expectation for m in messages} == {"undecodable", "refused", "skipped", "fails", "harmless"}


def test_the_corpus_is_the_same_every_time(tmp_path):
    one, two = (list(hostile_messages(tmp_path / "canary", seed=3)) for _ in range(2))
    assert one == two


def test_nothing_in_the_corpus_is_executed_or_decoded_that_must_not_be(tmp_path):
    canary = tmp_path / "canary"
    for message in hostile_messages(canary):
        began = time.perf_counter()
        try:
            decode(message.raw)
            decoded = True
        except DocumentRefused:
            decoded = False
        assert time.perf_counter() - began < 5.0, message.label
        if message.expectation == "undecodable":
            assert not decoded, message.label
        elif message.expectation != "refused":
            assert decoded, message.label
    assert not canary.exists()


def test_the_canary_is_alive(tmp_path):
    """A decoder that unpickles would create the file: the corpus can prove what it claims."""
    import msgpack

    canary = tmp_path / "canary"
    poisoned = next(m for m in hostile_messages(canary) if m.label == "object array with a pickle")
    array = msgpack.unpackb(poisoned.raw)[1]["data"]["det"]
    import pickle

    pickle.loads(array[b"data"]).close()
    assert canary.exists()


@pytest.mark.parametrize("expectation", ["refused", "skipped"])
def test_every_hostile_document_is_refused_or_skipped_as_it_says(expectation):
    tracker = RunTracker(validator=VALIDATOR)
    for run in hostile_runs():
        found = [take(tracker, document)[0] for document in documents(run.pairs)]
        if run.expectation == expectation:
            assert found[-1] == expectation, run.label
            assert "refused" not in found[:-1], run.label


def test_good_runs_between_hostile_documents_lose_nothing():
    frames = np.arange(3 * 4, dtype="u2").reshape(3, 2, 2)
    tracker = RunTracker(max_open=500, validator=VALIDATOR)
    assemblers: dict[str, Assembler] = {}
    requests: dict[str, list] = {}
    good = documents(inline_run(frames, uid="good"))
    hostile = [d for run in hostile_runs() for d in documents(run.pairs, partition=1)]
    chunks = np.array_split(np.arange(len(hostile)), len(good))
    for document, chunk in zip(good, chunks, strict=True):
        for one in [document, *(hostile[i] for i in chunk)]:
            for outcome in take(tracker, one)[1]:
                if isinstance(outcome, RunOpened):
                    assemblers[outcome.run.uid] = Assembler(outcome.run, "primary", "det")
                elif isinstance(outcome, RunUpdated):
                    uid = outcome.run.uid
                    requests.setdefault(uid, []).extend(assemblers[uid].feed(outcome.document, 100))
    assert [r.seq_num for r in requests["good"]] == [1, 2, 3]
    for number, request in enumerate(requests["good"]):
        np.testing.assert_array_equal(request.locator.value, frames[number])
    assert all(len(found) <= 100 for found in requests.values())
