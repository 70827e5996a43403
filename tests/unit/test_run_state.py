"""Open-run state holds whatever a document may hold, and gives back what has the same wire form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from streamproc.runs.state import pack, unpack
from streamproc.transports.codec import decode, encode
from streamproc.transports.plain import from_bytes, to_bytes

dtypes = st.one_of(
    hnp.boolean_dtypes(), hnp.integer_dtypes(), hnp.floating_dtypes(), hnp.complex_number_dtypes(),
    hnp.unicode_string_dtypes(max_len=3), hnp.byte_string_dtypes(max_len=3),
    st.just(np.dtype([("a", "<i2"), ("b", "<f8", (2,))])),
)  # fmt: skip
scalars = st.one_of(hnp.integer_dtypes(), hnp.floating_dtypes(), hnp.boolean_dtypes()).flatmap(
    lambda d: hnp.from_dtype(d).map(d.type)
)
leaves = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.complex_numbers(), st.text(max_size=5),
    st.binary(max_size=5), scalars, hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, min_side=0, max_side=3)),
)  # fmt: skip
keys = st.one_of(st.text(max_size=5), st.just("__ndarray__"))
values = st.recursive(leaves, lambda v: st.lists(v, max_size=3) | st.dictionaries(keys, v, max_size=3))


@given(st.dictionaries(keys, values, max_size=4))
def test_every_document_that_decodes_can_be_stored_and_comes_back_the_same(doc):
    _, decoded = decode(encode("event", doc))
    restored = unpack(from_bytes(to_bytes(pack(decoded))))
    assert encode("event", restored) == encode("event", decoded)


def test_a_complex_number_can_be_stored():
    assert unpack(pack({"x": [1 + 2j]})) == {"x": [1 + 2j]}


@pytest.mark.parametrize("value", [np.float32(0.1), np.bool_(True), np.int16(-3), np.complex64(1j)])
def test_a_numpy_scalar_is_a_scalar_again(value):
    restored = unpack(from_bytes(to_bytes(pack(value))))
    assert type(restored) is type(value)
    assert restored == value


def test_an_object_array_is_not_stored():
    with pytest.raises(TypeError):
        pack(np.array([object()]))
