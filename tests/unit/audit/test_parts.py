from __future__ import annotations

import numpy as np
import pytest
from event_model import DocumentNames, schema_validators
from hypothesis import given
from hypothesis import strategies as st

from streamproc.audit.slim import OfRuns, slim
from streamproc.audit.soundness import Soundness, _plain_event
from streamproc.testing.makers import datum_run, inline_run, page_run, stream_run
from streamproc.testing.memory import documents

FRAMES = [np.full((60, 80), n, np.uint16) for n in range(5)]

values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=3),
    st.dictionaries(st.text(max_size=3), st.one_of(st.booleans(), st.integers(), st.text(max_size=2)), max_size=2),
)  # fmt: skip


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "uid": st.one_of(st.text(max_size=3), values), "descriptor": st.one_of(st.text(max_size=3), values),
            "seq_num": st.one_of(st.integers(), values), "time": st.one_of(st.floats(allow_nan=False), values),
            "data": st.one_of(st.just({}), values), "timestamps": st.one_of(st.just({}), values),
            "filled": st.one_of(st.just({}), values), "more": values,
        },
    )
)  # fmt: skip
def test_what_passes_the_quick_look_passes_the_schema(doc):
    if _plain_event(doc):
        schema_validators[DocumentNames.event].validate(doc)


def test_the_quick_look_knows_a_good_event():
    assert _plain_event(next(d for n, d in inline_run(FRAMES) if n == "event"))


def test_sound_documents_have_no_fault():
    soundness = Soundness()
    for name, doc in inline_run(FRAMES):
        assert soundness.fault(name, doc) is None


@pytest.mark.parametrize("make", [inline_run, page_run])
def test_slim_documents_keep_what_counts_and_lose_the_frames(make):
    for document in documents(make(FRAMES)):
        kept = slim(document)
        assert kept.doc.keys() == document.doc.keys()
        if document.name in ("event", "event_page"):
            assert kept.doc["data"].keys() == document.doc["data"].keys()
            assert kept.doc["data"]["motor"] == document.doc["data"]["motor"]
            frames = kept.doc["data"]["det"]
            assert frames is None or frames == [None] * len(document.doc["seq_num"])


@pytest.mark.parametrize(
    "doc", [{}, {"data": 5}, {"data": {"x": object()}}, {"seq_num": [1], "data": {"x": 5}}]
)
@pytest.mark.parametrize("name", ["event", "event_page", "bulk_events", "descriptor", "cookie"])
def test_a_strange_document_is_passed_on_as_it_is(name, doc):
    (document,) = documents([(name, doc)])
    assert slim(document).name == name


def test_nested_lists_are_frames_too():
    (document,) = documents([("event", {"data": {"det": [[1.0] * 50] * 50, "motor": [1.0, 2.0]}})])
    assert slim(document).doc["data"] == {"det": None, "motor": [1.0, 2.0]}


def test_documents_of_a_run_are_told_from_those_of_another(tmp_path):
    (tmp_path / "d").mkdir()
    one = [*stream_run(FRAMES, tmp_path / "f.h5", uid="one"), *datum_run(FRAMES, tmp_path / "d", uid="two")]
    chosen = {}
    for uid in ("one", "two"):
        of_run = OfRuns([uid])
        chosen[uid] = [d.doc for d in documents(one) if of_run(d)]
    assert chosen["one"] == [doc for _, doc in one[: len(chosen["one"])]]
    assert chosen["two"] == [doc for _, doc in one[len(chosen["one"]) :]]
