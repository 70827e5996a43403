"""The fuzzer is reproducible and reaches deep; tracker, assembler and stored state stand all of it."""

from __future__ import annotations

import pickle
import random
from collections import Counter

import pytest

from streamproc.documents import Document, Position
from streamproc.errors import DocumentRefused
from streamproc.frames.assembler import Assembler
from streamproc.runs import NeedsRewind, RunClosed, RunOpened, RunTracker, RunUpdated
from streamproc.testing.fuzzed_documents import FuzzedDocuments
from streamproc.testing.fuzzed_values import NAMES
from streamproc.testing.fuzzing import Fuzzer, FuzzMessage, sample_documents
from streamproc.testing.hostile import poison
from streamproc.testing.traps import set_traps
from streamproc.transports.codec import decode
from streamproc.transports.plain import from_bytes, to_bytes
from streamproc.validation import DOCUMENT_NAMES, DocumentValidator

VALIDATOR = DocumentValidator(schema=False)


@pytest.fixture
def fuzzer(tmp_path):
    def make(seed=1, **more):
        return Fuzzer(sample_documents(tmp_path), seed, tmp_path / "canary", ("/somewhere/a.h5",), **more)

    return make


def decoded(messages):
    for offset, message in enumerate(messages):
        try:
            name, doc = decode(message.value or b"")
        except DocumentRefused:
            continue
        yield Document(
            name, doc, Position("raw", 0, offset), message.key, message.value, 1.0, message.headers
        )


def test_the_same_seed_gives_the_same_messages_and_another_gives_others(fuzzer):
    one, two, other = (list(fuzzer(seed).messages(500)) for seed in (3, 3, 4))
    assert one == two != other


def test_every_kind_of_damage_comes_and_every_document_name_survives_some_of_it(fuzzer):
    messages = list(fuzzer(large_bytes=100_000).messages(20_000))
    kinds = Counter(message.kind for message in messages)
    assert set(kinds) == {
        "run", "field", "reference", "array", "name", "flip", "truncate", "insert", "splice", "length", "random",
        "structure", "bomb", "corpus", "repeat", "empty", "large",
    }  # fmt: skip
    assert {d.name for d in decoded(messages)} >= DOCUMENT_NAMES == set(NAMES)


def test_what_was_told_comes_again_with_its_key(fuzzer):
    told = FuzzMessage("good", b"told", b"its key")
    source = fuzzer()
    source.tell(told)
    again = [m for m in source.messages(2000) if m.kind == "repeat"]
    assert again
    assert {(m.value, m.key) for m in again} == {(told.value, told.key)}


def test_hostile_runs_reach_the_analysis(tmp_path):
    """Most messages fall at the first check; some have to come through, or nothing behind it is tried."""
    made = FuzzedDocuments(sample_documents(tmp_path), random.Random(0), tmp_path / "canary")
    tracker, readings, closed = RunTracker(validator=VALIDATOR), 0, 0
    assemblers: dict[str, Assembler] = {}
    for _ in range(100):
        for name, doc in made.run():
            for outcome in _taken(tracker, Document(name, doc, Position("raw", 0, readings))):
                readings += _assembled(assemblers, outcome)
                closed += isinstance(outcome, RunClosed)
    assert readings > 50
    assert closed > 30


def test_tracker_assembler_and_stored_state_stand_everything(fuzzer, tmp_path):
    ticks = [0.0]
    # a clock of its own: between two real ticks the machine may do something else, and ages change their order
    tracker = RunTracker(validator=VALIDATOR, clock=lambda: ticks[0])
    assemblers: dict[str, Assembler] = {}
    for tick, document in enumerate(decoded(fuzzer(5).messages(3000))):
        ticks[0] = float(tick)
        for outcome in _taken(tracker, document):
            _assembled(assemblers, outcome)
    state = from_bytes(to_bytes([tracker.to_state(), [a.to_state() for a in assemblers.values()]]))
    again = RunTracker.from_state(state[0], validator=VALIDATOR, clock=lambda: ticks[0])
    assert list(again.open_runs) == list(tracker.open_runs)
    assert again.to_state()["past"] == tracker.to_state()["past"]
    for run, stored in zip([a.run for a in assemblers.values()], state[1], strict=True):
        assert Assembler.from_state(run, stored).expected == assemblers[run.uid].expected
    assert not (tmp_path / "canary").exists()


def test_the_canary_sings_when_its_pickle_is_loaded(tmp_path):
    pickle.loads(poison(tmp_path / "canary")).close()
    assert (tmp_path / "canary").exists()


def test_traps_lead_outside_and_name_only_what_is_there(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    traps = set_traps(root, outside, tmp_path / "canary")
    assert all(decoy.is_file() for decoy in traps.decoys)
    assert (root / "link.h5").resolve() == outside / "decoy.h5"
    assert {str(root / "fifo.h5"), f"file://localhost{root}/traps.h5", str(outside / "decoy.h5")} <= set(
        traps.paths
    )


def _taken(tracker, document):
    try:
        outcomes = tracker.feed(document)
        if any(isinstance(o, NeedsRewind) for o in outcomes):
            outcomes = tracker.adopt(document)
    except DocumentRefused:
        return []
    return outcomes


def _assembled(assemblers, outcome):
    """Feed an assembler as the service does; returns how many readings became complete."""
    if isinstance(outcome, RunOpened):
        assemblers[outcome.run.uid] = Assembler(outcome.run, "primary", "intensity")
    if not isinstance(outcome, RunUpdated):
        return 0
    try:
        return len(assemblers[outcome.run.uid].feed(outcome.document, 100))
    except DocumentRefused:
        return 0
