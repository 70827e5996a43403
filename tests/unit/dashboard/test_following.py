from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamproc.dashboard.following import OwnRun, Recorder
from streamproc.documents import BadMessage, Document, Position

Make = Callable[..., list[tuple[str, dict[str, Any]]]]


def _messages(documents: list[tuple[str, dict[str, Any]]]) -> list[Document | BadMessage]:
    return [Document(n, d, Position("t", 0, i), raw=f"{i};".encode()) for i, (n, d) in enumerate(documents)]


def test_only_the_documents_of_the_run_pass(documents: Make) -> None:
    mine, other = documents(uid="a"), documents(uid="b")
    mixed = _messages([d for pair in zip(mine, other, strict=True) for d in pair])
    for uid in ("a", "raw-a"):
        passed = [d.doc for d in OwnRun(uid).feed([*mixed, BadMessage(Position("t", 0, 99), "broken")])]
        assert passed == [doc for _, doc in mine]


def test_documents_wait_until_the_run_is_known(documents: Make) -> None:
    own = OwnRun()
    made = _messages(documents())
    assert not list(own.feed(made[:3]))
    own.uid = "raw-run"
    assert list(own.feed(made[3:])) == made


def test_recorded_messages_are_kept_as_they_came(documents: Make, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "results.msgpack")
    for message in _messages(documents())[:3]:
        assert isinstance(message, Document)
        recorder.add(message)
    recorder.close()
    assert (tmp_path / "results.msgpack").read_bytes() == b"0;1;2;"
    Recorder(None).close()
