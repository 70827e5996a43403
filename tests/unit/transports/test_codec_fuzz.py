"""Whatever bytes come: the codec refuses them, or what it gives is sound, the same both ways, and goes on."""

from __future__ import annotations

import struct

import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from streamproc.errors import DocumentRefused
from streamproc.runs.state import pack, unpack
from streamproc.testing.fuzzing import Fuzzer, sample_documents
from streamproc.transports._walk import Walk
from streamproc.transports.codec import DecodeLimits, decode, encode
from streamproc.transports.plain import from_bytes, to_bytes

FAST = settings(deadline=None, suppress_health_check=list(HealthCheck))
LIMITS = DecodeLimits(depth=16, items=500, string_bytes=100)
PLAIN = (type(None), bool, int, float, complex, str, bytes, memoryview, np.bool_, np.number)

sizes = st.one_of(st.integers(0, 20), st.sampled_from([2**8 - 1, 2**16 - 1, 2**31, 2**32 - 1]))
heads = st.one_of(
    st.integers(0, 255).map(lambda code: bytes([code])),
    st.tuples(st.sampled_from([0xC6, 0xC9, 0xDB, 0xDD, 0xDF]), sizes).map(lambda t: struct.pack(">BI", *t)),
    st.tuples(st.sampled_from([0xC5, 0xC8, 0xDA, 0xDC, 0xDE]), st.integers(0, 20)).map(
        lambda t: struct.pack(">BH", *t)
    ),
)
tokens = st.one_of(
    heads,
    st.integers(-(2**63), 2**64 - 1).map(msgpack.packb),
    st.floats().map(msgpack.packb),
    st.text(max_size=6).map(msgpack.packb),
    st.binary(max_size=6).map(msgpack.packb),
    st.sampled_from(
        [b"\x92\xa5event\x81\xa4data", b"\xc4\x02nd", b"\x85", b"\xc4\x04type", b"\xa3<f8", b"\xc4\x05shape"]
    ),
)
messages = st.lists(tokens, max_size=25).map(b"".join)

numbers = st.integers(-(2**63), 2**64 - 1)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.text(max_size=4),
    st.binary(max_size=20),
)
dtypes = st.sampled_from(
    ["<f8", ">i2", "|u1", "<U2", "|S3", "|V4", "|b1", "<c16", "|O", "<M8[s]", "f8,O", "", "|S0"]
)
fields = st.lists(
    st.lists(st.one_of(dtypes, st.text(max_size=2), st.lists(st.integers(0, 3), max_size=2)), max_size=3),
    max_size=3,
)
lookalikes = st.fixed_dictionaries(
    {},
    optional={
        b"nd": st.sampled_from([True, False, 1, None]),
        b"type": st.one_of(dtypes, fields, leaves),
        b"kind": st.sampled_from([b"", b"V", b"O", "", "O", None]),
        b"shape": st.one_of(st.lists(st.integers(-2, 2**40), max_size=4), leaves),
        b"data": st.one_of(st.binary(max_size=48), leaves),
        b"complex": st.one_of(st.booleans(), leaves),
        b"more": leaves,
    },
)
values = st.recursive(
    st.one_of(leaves, lookalikes),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.text(max_size=3), st.binary(max_size=3), numbers), inner, max_size=3),
    ),
    max_leaves=10,
)


def outcome(decoder, raw):
    """What a decoder gives, or that it refuses; anything else it raises fails the test."""
    try:
        return list(decoder(raw))
    except DocumentRefused:
        return "refused"


def the_other_way(raw):
    """Decode a small message as large ones are."""
    try:
        value = Walk(raw, LIMITS.depth, LIMITS.items, LIMITS.string_bytes).message()
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, struct.error) as error:
        raise DocumentRefused(str(error)) from error
    whole = type(value) is list and len(value) == 2 and type(value[0]) is str and type(value[1]) is dict
    if not whole or not 0 < len(value[0]) <= LIMITS.name_chars:
        raise DocumentRefused("no document")
    return value


def same(a, b):
    """Equal to the last bit."""
    if isinstance(a, np.ndarray | np.generic):
        return type(a) is type(b) and (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    if isinstance(a, dict):
        return type(b) is dict and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return type(b) is list and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and repr(a) == repr(b)


def check_sound(value):
    if isinstance(value, np.ndarray):
        assert not value.dtype.hasobject
        assert not value.flags.writeable
    elif isinstance(value, dict):
        assert all(type(key) is str for key in value)
        for inner in value.values():
            check_sound(inner)
    elif isinstance(value, list):
        for inner in value:
            check_sound(inner)
    else:
        assert isinstance(value, PLAIN) or (isinstance(value, np.void) and not value.dtype.hasobject)


def check(raw):
    got = outcome(lambda r: decode(r, LIMITS), raw)
    assert same(got, outcome(the_other_way, raw))
    if got == "refused":
        return
    name, doc = got
    check_sound(doc)
    again = encode(name, doc)
    assert encode(*decode(again)) == again
    assert encode(name, unpack(from_bytes(to_bytes(pack(doc))))) == again


@FAST
@given(messages)
@example(b"\x92\xa1x\x81\xa1y\xc7\x00\x00")
def test_any_sequence_of_tokens(raw):
    check(raw)


@FAST
@given(
    st.text(min_size=1, max_size=5),
    st.dictionaries(st.one_of(st.text(max_size=3), numbers), values, max_size=4),
)
def test_any_structure_with_what_looks_like_arrays_in_it(name, doc):
    check(msgpack.packb([name, doc]))


@FAST
@given(st.lists(st.one_of(lookalikes, leaves), min_size=1, max_size=3))
def test_any_document_of_lookalikes(items):
    check(msgpack.packb(["event", {"data": items}]))


@pytest.mark.parametrize("seed", range(3))
def test_fuzzed_messages(seed, tmp_path):
    fuzzer = Fuzzer(sample_documents(tmp_path), seed, tmp_path / "canary")
    for message in fuzzer.messages(1500):
        check(message.value or b"")
    assert not (tmp_path / "canary").exists()
