"""Dead letters told, chosen and named: nothing that a message says can do harm."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import click
import numpy as np
import pytest

from streamproc.cli import main
from streamproc.cli.dlq_choice import Choice
from streamproc.cli.dlq_files import check_free, file_name, write_files
from streamproc.cli.dlq_text import facts, page, plain, report, size_text, table, totals
from streamproc.cli.reading import parse_since
from streamproc.documents import Position
from streamproc.errors import ConfigurationError
from streamproc.testing.hostile import hostile_messages, wire
from streamproc.transports.codec import DecodeLimits, encode
from streamproc.transports.kafka.reading import Message
from streamproc.transports.letters import LetterBook, LetterFilter

RAW = "t.bluesky.runengine.documents"
LIMITS = DecodeLimits()


def message_of(raw=b"\xc1", at=0, topic=RAW, **headers):
    told = {
        "reason": "bad",
        "kind": "refused",
        "topic": topic,
        "partition": "0",
        "offset": "5",
        "analysis": "a",
    }
    told |= {"first_s": "100", "last_s": "200"} | headers
    pairs = tuple((k, v if isinstance(v, bytes) else v.encode()) for k, v in told.items() if v is not None)
    return Message(Position("dead", 0, at), b"key", raw, pairs)


def letter_of(*arguments, **headers):
    book = LetterBook()
    message = message_of(*arguments, **headers)
    book.add(message)
    (letter,) = book.letters()
    return letter, message


def ends_with(code, *arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["dlq", *arguments])
    assert ended.value.code == code
    return capsys.readouterr().err


@pytest.mark.parametrize("name", ["list", "show", "export", "reinject", "purge"])
def test_every_command_has_an_example_and_its_exit_codes(name, capsys):
    with pytest.raises(SystemExit):
        main(["dlq", name, "--help"])
    text = capsys.readouterr().out
    assert f"streamproc dlq {name} " in text.partition("Example")[2]
    assert "Exit codes: 0" in text


@pytest.mark.parametrize(
    ("text", "since_s"),
    [
        ("90s", 910.0),
        ("90", 910.0),
        ("2m", 880.0),
        ("1970-01-01T00:01:00+00:00", 60.0),
        ("1970-01-01T01:01:00+01:00", 60.0),
        ("2h", 1000.0 - 7200),
        ("1d", 1000.0 - 86400),
        ("1w", 1000.0 - 7 * 86400),
    ],
)
def test_since_is_an_age_or_a_date(text, since_s):
    assert parse_since(text, now_s=1000.0) == since_s


def test_a_date_without_a_zone_is_local():
    assert parse_since("2026-01-31T12:00") == datetime(2026, 1, 31, 12).astimezone(UTC).timestamp()


@pytest.mark.parametrize("text", ["", "soon", "5 h", "-2h", "2y", "99999-01-01", "12:00", "nan", "1e9"])
def test_a_since_that_is_neither_is_refused(text):
    with pytest.raises(ConfigurationError, match="an age such as"):
        parse_since(text)


@pytest.mark.parametrize(
    "choice",
    [
        Choice((), LetterFilter()),
        Choice(("k",), LetterFilter(kind="frame")),
        Choice(("k",), LetterFilter(), everything=True),
        Choice((), LetterFilter(kind="frame"), everything=True),
    ],
)
def test_a_choice_that_could_mean_more_than_was_thought_is_refused(choice):
    with pytest.raises(click.UsageError):
        choice.check()


@pytest.mark.parametrize("command", [["export", "--to", "x"], ["reinject"], ["purge", "--yes"]])
def test_a_command_without_letters_is_exit_code_2_before_any_broker_is_asked(command, capsys):
    assert "which letters" in ends_with(2, *command, "--bootstrap", "127.0.0.1:9", capsys=capsys)


def test_purge_without_a_terminal_wants_yes(capsys):
    assert "--yes" in ends_with(2, "purge", "--all", "--bootstrap", "127.0.0.1:9", capsys=capsys)


def test_a_repaired_file_needs_one_key_and_a_document(tmp_path, capsys):
    path = tmp_path / "m.msgpack"
    assert "one KEY" in ends_with(2, "reinject", "0@1", "0@2", "--file", str(path), capsys=capsys)
    assert "one KEY" in ends_with(2, "reinject", "--all", "--file", str(path), capsys=capsys)
    assert str(path) in ends_with(2, "reinject", "0@1", "--file", str(path), capsys=capsys)
    path.write_bytes(b"\xc1")
    assert "nothing was written" in ends_with(2, "reinject", "0@1", "--file", str(path), capsys=capsys)


def test_text_from_a_message_cannot_steer_a_terminal():
    evil = "a\x1b[31m\r\n\x07\x9b2J\u202eb\x00 \u00fc\u4e2d"
    assert plain(evil) == "a\\x1b[31m\\r\\n\\x07\\x9b2J\\u202eb\\x00 \u00fc\u4e2d"
    letter, message = letter_of(
        wire(evil, {evil: evil, "l": [evil]}), reason=evil, kind=evil, run_uid=evil, stream=evil, key=evil
    )
    lines = [*table([letter]), *totals([letter]), *page(letter, message, LIMITS)]
    assert len(lines) > 20
    assert all(line.isprintable() for line in lines)


def test_the_table_begins_with_the_key_to_copy():
    letter, _ = letter_of(b"x" * 1234, run_uid="abcdefghijkl", seq_num="3", reason="r" * 500)
    heading, line = table([letter])
    assert heading.split()[0] == "KEY"
    key, kind, subject, *times, count, size, unit, reason = line.split()
    assert (key, kind, subject, count, size, unit) == (
        f"{RAW}/0@5",
        "refused",
        "abcdefgh/3",
        "1",
        "1.2",
        "kB",
    )
    assert len(times) == 4 and reason.endswith("...") and len(reason) < 100


def test_totals_count_by_kind_and_reason():
    book = LetterBook()
    for n in range(30):
        kind = "frame" if n % 3 else "refused"
        book.add(message_of(b"12", n, offset=str(n), kind=kind, reason=str(max(n, 15))))
    first, *reasons = totals(book.letters())
    assert "30, 60 B" in first and "frame 20" in first and "refused 10" in first
    counts = [int(line.split()[0]) for line in reasons]
    assert counts[0] == 10 and sum(counts) == 30 and "other reasons" in reasons[-1]
    assert list(totals([])) == ["letters: 0, 0 B"]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (10**12, "1000.0 GB"),
    ],
)
def test_sizes_in_words(size, text):
    assert size_text(size) == text


def document_of(doc):
    letter, message = letter_of(encode("event", doc))
    return report(letter, message, LIMITS)["document"]


def test_arrays_are_told_by_type_shape_and_range():
    doc = {
        "i": np.array([[3, -1]], "i2"), "f": np.array([1.0, np.nan, np.inf, 2.0]), "e": np.zeros((0, 4)),
        "n": np.full(2, np.nan), "b": np.array([True, False]), "c": np.ones(2, complex), "s": np.array(["ab"]),
    }  # fmt: skip
    told = {k: v["array"] for k, v in document_of(doc).items()}
    assert told["i"] == {"dtype": "int16", "shape": [1, 2], "min": -1, "max": 3}
    assert told["f"] == {"dtype": "float64", "shape": [4], "not_finite": 2, "min": 1.0, "max": 2.0}
    assert told["e"] == {"dtype": "float64", "shape": [0, 4]}
    assert told["n"] == {"dtype": "float64", "shape": [2], "not_finite": 2}
    assert told["b"] == {"dtype": "bool", "shape": [2], "min": 0, "max": 1}
    assert told["c"] == {"dtype": "complex128", "shape": [2]}
    assert told["s"] == {"dtype": "<U2", "shape": [1]}


def test_a_large_frame_is_told_without_its_pixels():
    letter, message = letter_of(encode("event", {"data": {"det": np.arange(10**6).reshape(1000, 1000)}}))
    text = "\n".join(page(letter, message, LIMITS))
    assert "999999" in text and len(text) < 2000


def test_what_json_cannot_say_becomes_text():
    doc = {
        "a": float("nan"),
        "b": [float("-inf")],
        "c": 1 + 2j,
        "d": b"\x00\xff",
        "e": np.float32(1.5),
        "f": None,
    }
    told = document_of(doc)
    assert told == {
        "a": "nan", "b": ["-inf"], "c": "(1+2j)", "d": {"bytes": 2, "hex": "00 ff"}, "e": 1.5, "f": None,
    }  # fmt: skip
    json.dumps(told, allow_nan=False)


def test_the_page_cuts_what_is_long_and_says_so():
    doc = {"list": list(range(1000)), "text": "x" * 10_000, **{f"k{i}": i for i in range(1000)}}
    letter, message = letter_of(encode("start", doc))
    text = "\n".join(page(letter, message, LIMITS))
    assert "980 more" in text and "982 more" in text and "xxx..." in text and len(text) < 5000
    assert report(letter, message, LIMITS)["document"] == doc


def test_bytes_that_are_no_document_are_dumped_with_the_reason():
    letter, message = letter_of(b"\xc1AB\x1b" + bytes(1000))
    lines = list(page(letter, message, LIMITS))
    dump = next(line for line in lines if "c1 41 42 1b" in line)
    assert dump.startswith("  000000  ") and ".AB." in dump
    assert any(line.startswith("undecodable  not a decodable document") for line in lines)
    assert "748 more bytes" in lines[-1]
    assert "undecodable" in report(letter, message, LIMITS)


def test_every_message_of_the_hostile_corpus_can_be_shown_and_exported(tmp_path):
    canary = tmp_path / "canary"
    book, messages = LetterBook(), {}
    for n, hostile in enumerate(hostile_messages(canary)):
        message = message_of(hostile.raw, n, offset=str(n), reason=hostile.label)
        book.add(message)
        messages[message.position] = message
    found = [(letter, messages[letter.place]) for letter in book.letters()]
    assert len(found) > 300
    for letter, message in found:
        lines = list(page(letter, message, LIMITS))
        assert all(line.isprintable() for line in lines)
        assert sum(map(len, lines)) < 60_000
    written = list(write_files(tmp_path / "out", found, LIMITS, force=False))
    for (letter, message), (_, path) in zip(found, written, strict=True):
        assert path.read_bytes() == message.value
        told = json.loads(path.with_suffix(".json").read_text(), parse_constant=pytest.fail)
        assert told["key"] == letter.name and ("document" in told) != ("undecodable" in told)
    assert not canary.exists()
    assert {p.name for p in tmp_path.iterdir()} == {"out"}


@pytest.mark.parametrize(
    "topic", ["..", ".", "-rf", "a" * 249, "../x", "/etc/passwd", "a/b", "a\x00b", "", "\n"]
)
def test_file_names_lead_nowhere(topic):
    letter, _ = letter_of(topic=topic, key="../../evil", run_uid="../../evil", kind="../../evil")
    name = file_name(letter)
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert name.startswith("letter_") and len(name) < 230


def test_long_topics_that_begin_alike_give_different_names():
    one, two = (file_name(letter_of(topic="a" * 200 + end)[0]) for end in "bc")
    assert one != two


def test_nothing_is_written_over_and_no_link_followed(tmp_path):
    letter, message = letter_of(b"bytes")
    name = file_name(letter)
    out = tmp_path / "out"
    out.mkdir()
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    (out / f"{name}.msgpack").symlink_to(target)
    with pytest.raises(ConfigurationError, match="--force"):
        check_free(out, [letter])
    with pytest.raises(ConfigurationError):
        list(write_files(out, [(letter, message)], LIMITS, force=False))
    list(write_files(out, [(letter, message)], LIMITS, force=True))
    assert target.read_bytes() == b"precious"
    assert (out / f"{name}.msgpack").read_bytes() == b"bytes" and not (out / f"{name}.msgpack").is_symlink()
    with pytest.raises(ConfigurationError, match="no folder"):
        check_free(target, [letter])


def test_a_dangling_link_counts_as_there(tmp_path):
    letter, _ = letter_of()
    (tmp_path / f"{file_name(letter)}.json").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match="there already"):
        check_free(tmp_path, [letter])


def test_a_letter_that_has_gone_is_told_and_not_written(tmp_path):
    letter, _ = letter_of()
    assert list(write_files(tmp_path, [(letter, None)], LIMITS, force=False)) == [(letter, None)]
    assert list(tmp_path.iterdir()) == []


def test_facts_are_plain_values():
    letter, _ = letter_of(b"abc", run_uid="r", seq_num="4", stream="primary")
    told = json.loads(json.dumps(facts(letter)))
    assert (told["key"], told["topic"], told["partition"], told["offset"]) == (f"{RAW}/0@5", RAW, 0, 5)
    assert (told["analyses"], told["seq_nums"], told["first_s"], told["size"]) == (["a"], [4], 100.0, 3)
    assert told["settled"] is told["cut"] is False
