"""Whether a result event says the same of a reading as the raw documents: its time, its motor readings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from streamproc.audit.findings import Finding
from streamproc.audit.published import Answer, PublishedRun
from streamproc.frames.requests import FrameRequest
from streamproc.results import copied_value

__all__ = ["Copies", "unlike"]

Copies = Mapping[str, tuple[str, Mapping[str, Any]]]
"""Raw data key -> (data key in the result, its entry in the descriptor), from ``copied_readings``."""


def unlike(
    published: PublishedRun, answer: Answer, request: FrameRequest, copies: Copies
) -> Iterator[Finding]:
    """Yield what an event says differently from the raw reading it answers.

    Parameters
    ----------
    published : PublishedRun
        The result run.
    answer : Answer
        Its event.
    request : FrameRequest
        The raw reading.
    copies : Mapping
        What the event must repeat of it.
    """
    for what, expected, got in _differences(answer, request, copies):
        yield published.finding(
            "unlike",
            f"{what} {expected!r} as in the raw reading",
            repr(got),
            stream="primary",
            seq_num=request.seq_num,
            positions=(str(request.position), answer.position),
        )


def _differences(answer: Answer, request: FrameRequest, copies: Copies) -> Iterator[tuple[str, Any, Any]]:
    if answer.time_s != request.time_s:
        yield "time", request.time_s, answer.time_s
    if answer.copied is None:
        return
    for raw_key, (key, entry) in copies.items():
        if key not in answer.copied:
            yield f"a copy of {raw_key}", request.readings.get(raw_key), None
            continue
        value = copied_value(request.readings.get(raw_key), entry)
        stamp_s = float(request.timestamps.get(raw_key, request.time_s))
        got, got_stamp_s = answer.copied[key]
        if not _same(value, got):
            yield key, value, got
        if not _same(stamp_s, got_stamp_s):
            yield f"timestamp of {key}", stamp_s, got_stamp_s


def _same(expected: float | str, got: Any) -> bool:
    if isinstance(expected, float) and math.isnan(expected):
        return isinstance(got, float) and math.isnan(got)
    return type(got) is type(expected) and bool(got == expected)
