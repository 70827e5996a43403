"""The codec against the real msgpack-numpy: same bytes, same values, none of its decoder's faults."""

import contextlib
import pickle
import struct
import subprocess
import sys
import time

import hypothesis.extra.numpy as hnp
import msgpack
import msgpack_numpy
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamproc.errors import DocumentRefused
from streamproc.testing.hostile import hostile_messages
from streamproc.transports._walk import Walk
from streamproc.transports.codec import DecodeLimits, decode, encode

FAST = settings(deadline=None, suppress_health_check=list(HealthCheck))

scalar_dtypes = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
    hnp.complex_number_dtypes(endianness="?"),
)
array_dtypes = st.one_of(
    scalar_dtypes,
    hnp.byte_string_dtypes(max_len=5),
    hnp.unicode_string_dtypes(max_len=5),
    st.lists(scalar_dtypes, min_size=1, max_size=3).map(
        lambda inner: np.dtype([(f"f{i}", d, (2,) * (i % 2)) for i, d in enumerate(inner)])
    ),
    scalar_dtypes.map(lambda d: np.dtype([("outer", [("inner", d)]), ("text", "<U3")])),
)


@st.composite
def arrays(draw):
    """Arrays of every layout: as made, transposed, with strides, reversed."""
    array = draw(
        hnp.arrays(draw(array_dtypes), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5))
    )
    turn = draw(st.sampled_from(["as is", "transposed", "strided", "reversed", "fortran"]))
    if array.ndim == 0 or turn == "as is":
        return array
    return {
        "transposed": array.T,
        "strided": array[::2],
        "reversed": array[::-1],
        "fortran": np.asfortranarray(array),
    }[turn]


numpy_scalars = scalar_dtypes.flatmap(lambda d: hnp.from_dtype(d).map(d.type))
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=20),
    st.binary(max_size=20),
    numpy_scalars,
    arrays(),
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=8), inner, max_size=5),
    ),
    max_leaves=12,
)
documents = st.dictionaries(st.text(max_size=8), values, max_size=6)


def same(a, b):
    """Equal in value, type, dtype, shape and every bit."""
    if isinstance(a, np.ndarray):
        return (
            isinstance(b, np.ndarray)
            and a.dtype == b.dtype
            and a.shape == b.shape
            and a.tobytes() == b.tobytes()
        )
    if isinstance(a, dict):
        return type(b) is dict and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(b) is list and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.generic):
        return type(a) is type(b) and a.tobytes() == b.tobytes()
    if isinstance(a, float | complex):
        return type(a) is type(b) and repr(a) == repr(b)
    return type(a) is type(b) and a == b


def walked(raw, **limits):
    full = {"depth": 64, "items": 100_000, "string_bytes": 10**6} | limits
    return Walk(raw, **full).message()


@FAST
@given(st.text(min_size=1, max_size=10), documents)
def test_encoded_bytes_are_those_of_msgpack_numpy(name, doc):
    assert encode(name, doc) == msgpack_numpy.packb((name, doc))


@FAST
@given(documents)
def test_decoding_gives_what_msgpack_numpy_gives(doc):
    raw = msgpack_numpy.packb(("event", doc))
    assert same(msgpack_numpy.unpackb(raw)[1], decode(raw)[1])


@FAST
@given(documents)
def test_both_decoders_give_the_same(doc):
    raw = encode("event", doc)
    assert same(list(decode(raw)), walked(raw))


@FAST
@given(documents)
def test_decoding_and_encoding_again_gives_the_same_bytes(doc):
    raw = encode("event", doc)
    assert encode(*decode(raw)) == raw


@FAST
@given(st.binary(max_size=300))
def test_random_bytes_are_refused_and_never_anything_else(raw):
    for message in (raw, b"\x92\xa5event" + raw):
        for big in (False, True):
            with contextlib.suppress(DocumentRefused):
                decode(message) if not big else decode(padded(message))


def padded(message):
    """The same message inside one that is large enough for the other decoder."""
    return (
        b"\x92\xa5event\x82\xa1p" + b"\xc6" + struct.pack(">I", 70_000) + bytes(70_000) + b"\xa1q" + message
    )


@FAST
@given(documents, st.data())
def test_mutated_documents_decode_or_are_refused(doc, data):
    raw = bytearray(encode("event", {**doc, "a": np.arange(6.0).reshape(2, 3)}))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    for message in (bytes(raw), bytes(raw[:cut])):
        outcomes = []
        for decoder in (lambda m: list(decode(m)), walked):
            try:
                outcomes.append(decoder(message))
            except (DocumentRefused, ValueError, IndexError, struct.error):
                outcomes.append(None)
        if outcomes[0] is not None:
            assert same(outcomes[0], outcomes[1])


def test_arrays_of_a_large_message_are_views_on_it_and_read_only():
    image = np.arange(600 * 500, dtype=np.uint16).reshape(600, 500)
    raw = encode("event", {"data": {"det": image}})
    _, doc = decode(raw)
    decoded = doc["data"]["det"]
    assert np.shares_memory(decoded, np.frombuffer(raw, np.uint8))
    assert not decoded.flags.writeable
    assert np.array_equal(decoded, image)


def test_arrays_of_a_small_message_are_read_only():
    _, doc = decode(encode("event", {"a": np.arange(3)}))
    assert not doc["a"].flags.writeable


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


def nd(**changes):
    return {b"nd": True, b"type": "<u2", b"kind": b"", b"shape": [2, 2], b"data": bytes(8)} | changes


def key(**changes):
    return {k.encode(): v for k, v in changes.items()}


DISGUISES = {
    "pickled kind": nd(**{}) | key(kind=b"O", data=pickle.dumps(Evil())),
    "object type string": nd() | key(type="|O", shape=[1]),
    "object type string with size": nd() | key(type="|O8", shape=[1]),
    "bare O": nd() | key(type="O", shape=[1]),
    "bytes type": nd() | key(type=b"|O", shape=[1]),
    "object as text kind": nd() | key(kind="O", data=pickle.dumps(Evil())),
    "named object": nd() | key(type="object", shape=[1]),
    "comma string": nd() | key(type="O,O", shape=[1]),
    "field of objects": nd() | key(kind=b"V", type=[["a", "|O"]], shape=[1]),
    "nested field of objects": nd() | key(kind=b"V", type=[["a", [["b", [["c", "|O"]]]]]], shape=[1]),
    "sub-array of objects": nd() | key(kind=b"V", type=[["a", "|O", [1]]], shape=[1]),
    "field list without kind V": nd() | key(type=[["a", "|O"]], shape=[1]),
    "scalar of objects": {b"nd": False, b"type": "|O", b"data": bytes(8)},
    "scalar with a structure": {b"nd": False, b"type": [["a", "|O"]], b"data": bytes(8)},
    "dates": nd() | key(type="<M8[s]", shape=[1]),
    "durations": nd() | key(type="<m8[s]", shape=[1]),
    "field of dates": nd() | key(kind=b"V", type=[["a", "<M8[s]"]], shape=[1]),
    "variable strings": nd() | key(type="T", shape=[1]),
    "more shape than bytes": nd() | key(shape=[2**39, 2**39]),
    "more bytes than shape": nd() | key(shape=[1]),
    "negative shape": nd() | key(shape=[-2, -2]),
    "huge dimension": nd() | key(shape=[0, 2**63]),
    "float shape": nd() | key(shape=[2.0, 2.0]),
    "boolean shape": nd() | key(shape=[True, 4]),
    "shape of arrays": nd() | key(shape=[nd()]),
    "shape missing": {k: v for k, v in nd().items() if k != b"shape"},
    "data missing": {k: v for k, v in nd().items() if k != b"data"},
    "type missing": {k: v for k, v in nd().items() if k != b"type"},
    "text as data": nd() | key(data="abcdefgh"),
    "array as data": nd() | key(data=nd()),
    "elements without bytes": nd() | key(type="|S0", shape=[10**9], data=b""),
    "void without size": nd() | key(type="|V", shape=[10**9], data=b""),
    "empty structure": nd() | key(kind=b"V", type=[], shape=[10**9], data=b""),
    "same field twice": nd() | key(kind=b"V", type=[["a", "<u4"], ["a", "<u4"]], shape=[1]),
    "giant sub-array": nd() | key(kind=b"V", type=[["a", "<u4", [2**31, 2**31]]], shape=[1]),
    "too many dimensions": nd() | key(shape=[1] * 64 + [4]),
    "unknown extra field": nd() | key(evil=1),
    "nd neither true nor false": nd() | key(nd=1),
    "scalar with too many bytes": {b"nd": False, b"type": "<u2", b"data": bytes(8)},
    "booleans beyond one": nd() | key(type="|b1", shape=[8], data=b"\x02" * 8),
    "code points beyond Unicode": nd() | key(type="<U2", shape=[1], data=b"\xff" * 8),
    "code points in a field": nd() | key(kind=b"V", type=[["a", "<U2"]], shape=[1], data=b"\xff" * 8),
    "code on complex": {b"complex": True, b"data": "__import__('os').abort()"},
    "complex of arrays": {b"complex": True, b"data": [1]},
    "int key": {1: 2},
    "bytes key": {b"a": 2},
    "none key": {None: 1},
    "extension": msgpack.ExtType(5, b"abc"),
    "empty extension": msgpack.ExtType(5, b""),
    "time stamp": msgpack.Timestamp(1, 2),
}


@pytest.mark.parametrize("what", DISGUISES)
@pytest.mark.parametrize("large", [False, True])
def test_disguised_or_malformed_content_is_refused(what, large):
    padding = {"p": bytes(70_000)} if large else {}
    raw = msgpack.packb(["event", {"data": {"x": DISGUISES[what]}, **padding}])
    with pytest.raises(DocumentRefused) as caught:
        decode(raw)
    assert caught.value.message


@pytest.mark.parametrize(
    "value",
    [
        None,
        1,
        "start",
        [],
        ["start"],
        ["start", {}, 1],
        [1, {}],
        ["", {}],
        ["start", []],
        ["s" * 201, {}],
        {},
    ],
)
def test_a_message_that_is_no_pair_of_name_and_map_is_refused(value):
    with pytest.raises(DocumentRefused):
        decode(msgpack.packb(value))


@pytest.mark.parametrize("size", [100, 100_000])
def test_every_limit_holds_in_both_decoders(size):
    def message(extra):
        return msgpack.packb(["event", {"p": bytes(size), "x": extra}])

    deep = [1]
    for _ in range(20):
        deep = [deep]
    assert decode(message(deep), DecodeLimits(depth=30))
    for raw, limits in [
        (message(1), DecodeLimits(message_bytes=size)),
        (message(deep), DecodeLimits(depth=20)),
        (message([[0] * 60] * 20), DecodeLimits(items=1000)),
        (message({str(i): i for i in range(1001)}), DecodeLimits(items=1000)),
        (message("a" * 1001), DecodeLimits(string_bytes=1000)),
        (message(1) + b"\x00", DecodeLimits()),
    ]:
        with pytest.raises(DocumentRefused):
            decode(raw, limits)


def test_long_lists_of_floats_come_back_exactly():
    floats = [*np.random.default_rng(0).normal(size=20_000).tolist(), float("inf"), -0.0]
    for extra in ([], [1], ["a"]):
        assert decode(encode("event", {"a": floats + extra}))[1]["a"] == floats + extra


BOMB = """
import resource, struct, sys, time
import numpy, msgpack
from streamproc.transports.codec import decode
from streamproc.errors import DocumentRefused
head, n, tail = {bomb}
raw = b"\\x92\\xa5event" + head * n + tail
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
begin = time.process_time()
try:
    decode(raw)
    print("decoded")
except DocumentRefused as error:
    print("refused", error)
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) * 1024
assert grown < 200e6 + 4 * len(raw), f"grew by {{grown / 1e6:.0f}} MB for {{len(raw) / 1e6:.0f}} MB"
assert time.process_time() - begin < 20
"""
BOMBS = {
    "nested lists": r'''b"\x91", 30_000_000, b""''',
    "few nested lists": r'''b"\x91", 60_000, b""''',
    "nested announcements of long lists": r'''b"\xdd\x00\x0f\x42\x40", 900, b""''',
    "long nested announcements": r'''b"\xdd\x00\x0f\x42\x40", 5_000_000, b""''',
    "announcement of 4 G elements": r'''b"\xdd\xff\xff\xff\xff", 1, b""''',
    "announcement of 4 G pairs": r"""b"\xdf\xff\xff\xff\xff", 1, bytes(100_000)""",
    "announcement of 4 GB of text": r"""b"\xdb\xff\xff\xff\xff", 1, bytes(100_000)""",
    "announcement of 4 GB of bytes": r"""b"\xc6\xff\xff\xff\xff", 1, bytes(100_000)""",
    "announcement of a 4 GB extension": r"""b"\xc9\xff\xff\xff\xff", 1, bytes(100_000)""",
    "millions of empty maps": r"""b"\xdd\x01\xc9\xc3\x80", 1, b"\x80" * 30_000_000""",
    "lists of maps": r"""b"\xdd\x00\x00\x75\x30", 1, (b"\xdc\x03\xe8" + b"\x80" * 1000) * 30_000""",
    "small message of empty maps": r"""b"\xdc\xff\x00", 1, b"\x80" * 65_280""",
}


@pytest.mark.parametrize("what", BOMBS)
def test_a_bomb_is_refused_within_a_small_multiple_of_its_size(what):
    done = subprocess.run(
        [sys.executable, "-c", BOMB.format(bomb=BOMBS[what])], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("refused"), done.stdout


def test_a_hostile_megabyte_of_tokens_costs_bounded_time():
    raw = b"\x92\xa5event\x81\xa1a\xdd\x00\x0f\x00\x00" + b"\xd0\x00" * 983_040
    begin = time.perf_counter()
    assert len(decode(raw)[1]["a"]) == 983_040
    assert time.perf_counter() - begin < 10


@pytest.mark.parametrize(
    "value",
    [
        {1: 2},
        {b"a": 1},
        2**64,
        -(2**63) - 1,
        {1, 2},
        np.array([object()]),
        np.zeros(2, [("a", "O")]),
        np.zeros(3, "M8[s]")[::2],
        np.datetime64("2020-01-01"),
        "\ud800",
        lambda: None,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_no_consumer_could_read_is_refused_when_encoding(value):
    with pytest.raises(DocumentRefused, match="event document cannot be encoded"):
        encode("event", {"data": {"x": [value]}})


def test_encoding_a_document_that_contains_itself_is_refused():
    doc = {}
    doc["doc"] = {"x": doc}
    with pytest.raises(DocumentRefused):
        encode("event", doc)


PATCHED = """
import bluesky_kafka, msgpack, numpy as np
assert msgpack.packb.__module__ == "msgpack_numpy"
from streamproc.transports.codec import decode, encode
from streamproc.errors import DocumentRefused
doc = {"data": {"det": np.arange(12, dtype=">u2").reshape(3, 4).T, "x": 1 + 2j, "y": np.float32(1)}}
assert encode("event", doc) == msgpack.dumps(("event", doc))
assert np.array_equal(decode(encode("event", doc))[1]["data"]["det"], doc["data"]["det"])
array = {b"nd": True, b"type": "|O", b"kind": b"", b"shape": [1], b"data": bytes(8)}
evil = msgpack._cmsgpack.Packer().pack(["event", {"a": array}])
try:
    decode(evil)
except DocumentRefused:
    print("ok")
"""
CLEAN = """
import sys
import streamproc.transports.codec
import msgpack
assert not {"msgpack_numpy", "bluesky_kafka"} & set(sys.modules)
assert msgpack.packb.__module__ == "msgpack"
print("ok")
"""


@pytest.mark.parametrize("code", [PATCHED, CLEAN], ids=["after bluesky_kafka patched msgpack", "alone"])
def test_the_codec_neither_patches_msgpack_nor_minds_others_patching_it(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "ok", done.stderr


def test_the_hostile_corpus_decodes_or_is_refused_and_executes_nothing(tmp_path):
    canary = tmp_path / "executed"
    for message in hostile_messages(canary):
        refused = False
        try:
            decode(message.raw)
        except DocumentRefused:
            refused = True
        if message.expectation == "undecodable":
            assert refused, message.label
    assert not canary.exists()
