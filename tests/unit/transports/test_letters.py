"""Letters joined, settled, chosen and turned into reinjections."""

from __future__ import annotations

import pytest

from streamproc.documents import BadMessage, Position
from streamproc.errors import Where
from streamproc.transports.deadletters import ORIGIN, REINJECTED, dead_letter, settled_letter
from streamproc.transports.kafka.reading import Message
from streamproc.transports.letters import UNKNOWN_KIND, LetterBook, LetterFilter
from streamproc.transports.reinjection import refusal, reinjections

RAW, DEAD = "t.bluesky.runengine.documents", "t.bluesky.streamproc.deadletters"


class Topic:
    """A dead-letter topic written by hand: what is put gets the next offset of its partition."""

    def __init__(self):
        self.book = LetterBook()
        self.next = {}

    def put(self, key, value, headers=(), partition=0, written_s=None):
        offset = self.next.get(partition, 0)
        self.next[partition] = offset + 1
        self.book.add(Message(Position(DEAD, partition, offset), key, value, tuple(headers), written_s))

    def refuse(
        self, offset, reason="bad", now_s=100.0, analysis="phase-map", *, raw=b"raw", key=b"run", **more
    ):
        message = BadMessage(Position(RAW, 0, offset), reason, key, raw, None)
        out = dead_letter(DEAD, message, reason, analysis, now_s, **more)
        self.put(out.key, out.value, out.headers)

    def settle(self, offset):
        out = settled_letter(DEAD, f"{RAW}/0@{offset}".encode())
        self.put(out.key, out.value)

    def skip(self, count, partition=0):
        """Leave offsets out, as compaction and transaction markers do."""
        self.next[partition] = self.next.get(partition, 0) + count


@pytest.fixture
def topic():
    return Topic()


def only(topic, **options):
    (letter,) = topic.book.letters(**options)
    return letter


def test_a_letter_says_what_its_headers_say(topic):
    where = Where(run_uid="abc", stream="primary", seq_num=7)
    topic.refuse(5, "no frame", 12.5, kind="frame", where=where)
    letter = only(topic)
    assert (letter.name, letter.origin) == (f"{RAW}/0@5", Position(RAW, 0, 5))
    assert (letter.kind, letter.reason, letter.analyses) == ("frame", "no frame", ("phase-map",))
    assert (letter.run_uid, letter.stream, letter.seq_nums) == ("abc", "primary", (7,))
    assert (letter.first_s, letter.last_s, letter.count, letter.size) == (12.5, 12.5, 1, 3)
    assert (letter.message_key, letter.settled, letter.cut) == (b"run", False, False)


def test_letters_of_one_message_are_joined(topic):
    topic.refuse(5, "first", 20.0, where=Where(run_uid="abc", seq_num=3))
    topic.refuse(6, "another", 15.0)
    topic.refuse(5, "second", 10.0, "other", raw=b"longer", where=Where(seq_num=2))
    topic.refuse(5, "third", 30.0)
    letter = next(x for x in topic.book.letters() if x.origin.offset == 5)
    assert len(topic.book.letters()) == 2
    assert (letter.first_s, letter.last_s, letter.count) == (10.0, 30.0, 3)
    assert (letter.reason, letter.size, letter.place.offset) == ("third", 3, 3)
    assert set(letter.analyses) == {"phase-map", "other"}
    assert (letter.run_uid, letter.seq_nums) == ("abc", (2, 3))


def test_a_settled_letter_is_listed_only_on_request(topic):
    topic.refuse(5)
    topic.refuse(6)
    topic.settle(5)
    assert [x.origin.offset for x in topic.book.letters()] == [6]
    assert [(x.origin.offset, x.settled) for x in topic.book.letters(settled=True)] == [(5, True), (6, False)]


def test_what_is_refused_after_it_was_settled_is_a_new_letter(topic):
    topic.refuse(5, now_s=1.0)
    topic.settle(5)
    topic.refuse(5, now_s=9.0)
    assert (only(topic).count, only(topic).first_s, only(topic).settled) == (1, 9.0, False)


def test_a_mark_without_a_letter_and_a_mark_without_a_key_say_nothing(topic):
    topic.settle(5)
    topic.put(None, None)
    assert topic.book.letters(settled=True) == []


OLD = [("reason", b"x"), ("topic", RAW.encode()), ("partition", b"0"), ("first_s", b""), ("last_s", b"40.0")]


def test_older_letters_are_read(topic):
    """Their key is the message's own, their kind unknown, their first time empty."""
    topic.put(b"run", b"one", [*OLD, ("offset", b"1")])
    topic.put(b"run", b"two", [*OLD, ("offset", b"2")])
    one, two = topic.book.letters()
    assert (one.name, two.name) == (f"{RAW}/0@1", f"{RAW}/0@2")
    assert (one.kind, one.first_s, one.last_s, one.count) == (UNKNOWN_KIND, 40.0, 40.0, 1)
    assert topic.book.sharing(one) == [two] and topic.book.sharing(two) == [one]


def test_an_older_letter_is_settled_by_its_key_and_by_its_position(topic):
    topic.put(b"run", b"one", [*OLD, ("offset", b"1")])
    topic.put(b"run", b"two", [*OLD, ("offset", b"2")])
    topic.settle(1)
    assert [x.origin.offset for x in topic.book.letters()] == [2]
    assert topic.book.sharing(only(topic)) == []
    topic.put(b"run", None)
    assert topic.book.letters() == []


@pytest.mark.parametrize(
    "headers",
    [
        (),
        [("topic", b"../../etc"), ("partition", b"0"), ("offset", b"1")],
        [("topic", b"t"), ("partition", b"-1"), ("offset", b"1")],
        [("topic", b"t"), ("partition", b"0"), ("offset", b"1e3")],
        [("topic", b"t"), ("partition", "٣".encode()), ("offset", b"1")],
        [("topic", b"\xff\xfe"), ("partition", None), ("offset", b"9" * 40)],
        [("first_s", b"nan"), ("last_s", b"inf"), ("seq_num", b"-3"), ("reason", b"\xff")],
    ],
)
def test_a_letter_with_rubbish_in_its_headers_is_named_by_where_it_lies(topic, headers):
    topic.put(b"\x00\xff", b"x", headers, written_s=3.0)
    letter = only(topic)
    assert (letter.origin, letter.name) == (None, f"{DEAD}/0@0")
    assert (letter.first_s, letter.last_s, letter.seq_nums) == (3.0, 3.0, ())
    topic.put(b"\x00\xff", None)
    assert topic.book.letters() == []


def test_letters_are_found_by_full_and_by_short_name(topic):
    topic.refuse(5)
    assert topic.book.find(f"{RAW}/0@5", RAW) == topic.book.find("0@5", RAW) == topic.book.letters()
    assert topic.book.find("0@6", RAW) == topic.book.find("0@5", "other") == []


def test_a_filter_takes_what_fits_all_of_it(topic):
    topic.refuse(1, "No Frame here", 10.0, kind="frame", where=Where(run_uid="abcdef"))
    topic.refuse(2, "no key", 20.0, "other", kind="refused")
    letters = topic.book.letters()

    def offsets(**fields):
        return [x.origin.offset for x in LetterFilter(**fields).apply(letters)]

    assert offsets() == [1, 2] and not LetterFilter() and LetterFilter(kind="frame")
    assert offsets(run_uid="abc") == offsets(kind="frame") == offsets(reason="no frame") == [1]
    assert offsets(analysis="other") == offsets(since_s=15.0) == [2]
    assert offsets(reason="NO ") == [1, 2]
    assert offsets(reason="no ", kind="frame", since_s=15.0) == []


def test_a_partition_can_be_freed_up_to_its_oldest_open_letter(topic):
    for offset in range(4):
        topic.refuse(offset)
    first, second, third, fourth = topic.book.letters()
    free = topic.book.free_offsets
    assert free() == {}
    assert free([second, third]) == {}
    assert free([first]) == {0: 1}
    assert free([first, second, fourth]) == {0: 2}
    assert free([first, second, third, fourth]) == {0: 4}


def test_a_repeat_holds_back_what_is_freed_by_its_first_letter(topic):
    topic.skip(10)
    topic.refuse(1)
    topic.refuse(2)
    topic.refuse(1)
    one, two = sorted(topic.book.letters(), key=lambda x: x.origin.offset)
    assert topic.book.free_offsets([two]) == {}
    assert topic.book.free_offsets([one]) == {0: 11}
    topic.settle(1)
    assert topic.book.free_offsets() == {0: 11}
    topic.refuse(1)
    assert topic.book.free_offsets([two]) == {0: 14}


def test_each_partition_is_freed_by_itself(topic):
    topic.put(b"a", b"x", partition=0)
    topic.put(b"b", b"x", partition=1)
    a, b = sorted(topic.book.letters(), key=lambda x: x.place)
    assert topic.book.free_offsets([b]) == {1: 1}
    assert topic.book.free_offsets([a]) == {0: 1}


def test_a_reinjection_is_the_original_message_with_two_headers(topic):
    topic.refuse(5, raw=b"raw", key=None)
    topic.refuse(5, raw=b"raw", key=None, analysis="other")
    letter = only(topic)
    assert refusal(letter, RAW, 1, None) is None
    sent = reinjections(letter, b"raw", None)
    assert [(m.topic, m.partition, m.key, m.value) for m in sent] == [(RAW, 0, None, b"raw")] * 2
    assert [dict(m.headers)[REINJECTED] for m in sent] == [b"phase-map", b"other"]
    assert {dict(m.headers)[ORIGIN] for m in sent} == {f"{RAW}/0@5".encode()}
    (named,) = reinjections(letter, b"raw", "third")
    assert dict(named.headers)[REINJECTED] == b"third"


def test_what_cannot_be_reinjected_says_why(topic):
    topic.refuse(5)
    topic.refuse(6, "too long; only its first 100 bytes are kept")
    topic.refuse(7, raw=b"")
    topic.refuse(8, analysis="")
    topic.refuse(9)
    topic.settle(9)
    whole, cut, empty, nobody, settled = sorted(topic.book.letters(settled=True), key=lambda x: x.origin)
    assert "raw topic here is other" in refusal(whole, "other", 1, None)
    assert "partition 0" in refusal(whole, RAW, 0, None)
    assert "first bytes" in refusal(cut, RAW, 1, None)
    assert "no value" in refusal(empty, RAW, 1, None)
    assert "--analysis" in refusal(nobody, RAW, 1, None)
    assert "settled" in refusal(settled, RAW, 1, None)
    for letter in (cut, empty):
        assert refusal(letter, RAW, 1, None, repaired=True) is None
    assert refusal(nobody, RAW, 1, "phase-map") is None
    topic.put(b"?", b"x")
    assert "where" in refusal(topic.book.find(f"{DEAD}/0@6", RAW)[0], RAW, 1, "phase-map")
