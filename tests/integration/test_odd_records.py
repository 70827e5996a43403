"""Records that any producer can write and the client library cannot read by itself."""

from __future__ import annotations

import time

import pytest

from streamproc.transports.codec import encode
from streamproc.transports.kafka import KafkaSource
from tests.integration.publishing import ordered_producer


class _Bytes(str):
    """A header name that is sent as the bytes its surrogates stand for."""

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return super().encode("utf-8", "surrogateescape")


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_header_name_that_is_no_text_hides_no_message(beamline, compression):
    settings = beamline()
    value = encode("start", {"uid": "a", "time": 1.0, "odd": b"\xff\xfe"})
    headers = [("sound", b"1"), (_Bytes("o\udcff\udcfe"), b"\xff\xfe"), ("too", b"2")]
    producer = ordered_producer(settings.kafka.bootstrap, linger_ms=200, compression_type=compression)
    for odd in ([], headers, [], headers):
        producer.send(settings.topic("raw"), value, key=b"\xff\xfe", headers=odd)
    producer.close(timeout=30)
    source = KafkaSource(settings.kafka, settings.topic("raw"), "odd")
    messages, deadline = [], time.monotonic() + 30
    while len(messages) < 4 and time.monotonic() < deadline:
        for partition in source.gained():
            source.begin(partition, 0)
        messages += source.poll(0.2)
    source.close()
    assert [m.position.offset for m in messages] == [0, 1, 2, 3]
    assert {(m.raw, m.key) for m in messages} == {(value, b"\xff\xfe")}
    readable = (("sound", b"1"), ("o??", b"\xff\xfe"), ("too", b"2"))
    assert [m.headers for m in messages] == [(), readable, (), readable]
