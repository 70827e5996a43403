from __future__ import annotations

import json

import numpy as np
import pytest

from streamproc.errors import ConfigurationError
from streamproc.testing.makers import inline_run
from streamproc.transports.codec import encode
from streamproc.transports.lines import read_documents, to_line

RUN = inline_run([np.arange(200_000, dtype="<u2").reshape(400, 500) + n for n in range(4)])


def test_messages_one_after_the_other_come_back_as_they_were(tmp_path):
    path = tmp_path / "a.msgpack"
    path.write_bytes(b"".join(encode(*pair) for pair in RUN))
    got = list(read_documents(path))
    assert [encode(*pair) for pair in got] == [encode(*pair) for pair in RUN]


def test_a_message_file_that_is_cut_off_is_named_with_the_byte(tmp_path):
    path = tmp_path / "a.msgpack"
    whole = b"".join(encode(*pair) for pair in RUN)
    path.write_bytes(whole[:-3])
    with pytest.raises(ConfigurationError, match=rf"byte {len(whole) - len(encode(*RUN[-1]))}: .*no end"):
        list(read_documents(path))


def test_lines_keep_every_digit_and_what_is_no_number(tmp_path):
    values = [0.1, 1 / 3, 1e-300, float("nan"), float("inf"), 2**53 + 1]
    line = to_line("event", {"data": np.array(values[:5]), "n": values[5], "k": np.float32(0.1)})
    path = tmp_path / "a.jsonl"
    path.write_text(line + "\n\n" + json.dumps({"name": "stop", "doc": {"uid": "s"}}) + "\n")
    (_, doc), stop = read_documents(path)
    assert repr(doc["data"]) == repr(values[:5]) and doc["n"] == values[5]
    assert stop == ("stop", {"uid": "s"})


@pytest.mark.parametrize("bad", ['["event"]', "[1, {}]", '{"name": "x"}', "nonsense", '["event", 3]'])
def test_a_line_that_is_no_document_is_named(tmp_path, bad):
    path = tmp_path / "a.jsonl"
    path.write_text('["start", {"uid": "u"}]\n' + bad + "\n")
    with pytest.raises(ConfigurationError, match="line 2"):
        list(read_documents(path))
