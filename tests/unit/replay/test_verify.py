from __future__ import annotations

import copy

import numpy as np

from streamproc.replay.verify import Verifier


def result(value=0.5, model="m", uid="res"):
    start = {
        "uid": uid,
        "time": 1.0,
        "streamproc": {"analysis": "toy", "version": "1", "model_sha256": model},
    }
    keys = {
        "mean": {"dtype": "number", "shape": []},
        "curve": {"dtype": "array", "dtype_numpy": "<f8", "shape": [2]},
    }
    described = {"uid": f"{uid}-d", "name": "primary", "run_start": uid, "data_keys": keys}
    events = [
        {
            "uid": f"{uid}-{n}", "descriptor": f"{uid}-d", "seq_num": n, "time": float(n),
            "data": {"mean": value, "curve": np.array([1.0, np.nan])},
        }
        for n in (1, 2)
    ]  # fmt: skip
    stop = {"uid": f"{uid}-s", "run_start": uid, "num_events": {"primary": 2}}
    return [("start", start), ("descriptor", described), *(("event", e) for e in events), ("stop", stop)]


def verdict(reference, replay, **notes):
    verifier = Verifier("raw", reference, **notes)
    for name, doc in replay:
        verifier.feed(name, doc)
    return verifier.verdict()


def field(found, name):
    return next(f for f in found.fields if f.name == name)


def test_the_same_documents_are_byte_identical():
    found = verdict(result(), result())
    assert found.identical and found.equal and "byte-identical: 5 documents" in found.words()
    assert {f.kind for f in found.fields} == {"equal bytes"}


def test_lists_where_arrays_were_are_read_as_arrays():
    listed = copy.deepcopy(result())
    for name, doc in listed:
        if name == "event":
            doc["data"]["curve"] = doc["data"]["curve"].tolist()
    assert verdict(listed, result()).identical


def test_another_type_with_the_same_value_is_equal_and_no_more():
    other = copy.deepcopy(result(1.0))
    for name, doc in other:
        if name == "event":
            doc["data"]["mean"] = 1
    found = verdict(result(1.0), other)
    assert not found.identical and found.equal
    assert field(found, "event primary: data.mean").kind == "equal values"


def test_a_single_value_that_differs_is_found_and_named():
    other = copy.deepcopy(result())
    other[3][1]["data"]["mean"] = np.nextafter(0.5, 1.0).item()
    found = verdict(result(), other)
    one = field(found, "event primary: data.mean")
    assert not found.equal and (one.kind, one.differing, one.documents) == ("differs", 1, 2)
    assert "seq_num 2" in one.example and "input differs" in one.why


def test_a_true_is_no_one():
    other = copy.deepcopy(result(1.0))
    other[2][1]["data"]["mean"] = True
    assert not verdict(result(1.0), other).equal


def test_another_model_is_the_reason():
    found = verdict(result(), result(0.6, "n", "other"))
    assert "another model_sha256" in field(found, "event primary: data.mean").why
    assert field(found, "event primary: uid").why.startswith("follows from")


def test_missing_and_extra_documents_are_named():
    found = verdict(result(), [d for d in result() if d[1].get("seq_num") != 2])
    assert not found.equal and found.missing == ("event primary 2",)
    found = verdict([d for d in result() if d[1].get("seq_num") != 2], result())
    assert not found.equal and found.extra == ("event primary 2",)


def test_another_order_is_not_byte_identical():
    swapped = result()
    swapped[2], swapped[3] = swapped[3], swapped[2]
    assert not verdict(result(), swapped).identical


def test_the_last_stop_of_the_reference_counts():
    interrupted = ("stop", {**result()[-1][1], "uid": "other", "reason": "interrupted"})
    reference = [*result()[:-1], interrupted, result()[-1]]
    assert verdict(reference, result()).identical


def test_a_run_that_could_not_be_replayed_whole_is_the_reason():
    stop = ("stop", {**result()[-1][1], "num_events": {"primary": 1}})
    verifier = Verifier("raw", result())
    for name, doc in [*result()[:3], stop]:
        verifier.feed(name, doc)
    found = verifier.verdict("cut off at byte 12")
    assert "cut off at byte 12" in field(found, "stop: num_events.primary").why and not found.equal


def test_the_stop_of_an_interrupted_replay_is_no_reference_where_there_is_another():
    aborted = ("stop", {**result()[-1][1], "uid": "other", "interrupted": True})
    assert verdict([*result(), *result()[:-1], aborted], result()).equal
    assert field(verdict([*result()[:-1], aborted], result()), "stop: uid").kind == "differs"


def test_copies_of_a_run_in_a_topic_are_one_reference_in_the_runs_own_order():
    aborted = ("stop", {**result()[-1][1], "uid": "other", "interrupted": True})
    copy_of_part = [*result()[:3], aborted]
    assert verdict([*copy_of_part, *result(), *copy_of_part], result()).identical


def test_the_order_of_an_objects_keys_is_no_difference_and_a_missing_one_is():
    def listing(*names):
        return [
            (n, {**d, "object_keys": {"toy": list(names)}} if n == "descriptor" else d) for n, d in result()
        ]

    found = verdict(listing("curve", "mean"), listing("mean", "curve"))
    assert found.equal and field(found, "descriptor primary: object_keys").kind == "equal values"
    assert not verdict(listing("mean"), listing("mean", "curve")).equal


def test_nothing_compared_is_not_equal():
    assert not verdict([], []).equal
