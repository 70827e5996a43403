"""Conformance checks: what every analysis must fulfil, tried on the example it brings along.

``streamproc check consumers/NAME.py`` prints them; the test suite runs them for every consumer it finds.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
from event_model import DocumentNames, schema_validators

from streamproc.analysis import (
    Analysis,
    Estimate,
    Example,
    Frame,
    FrameFailure,
    FrameResult,
    LoadContext,
    Output,
    RunResult,
)
from streamproc.errors import ContainedError
from streamproc.ledger import Ledger
from streamproc.loading import analysis_settings
from streamproc.results import ResultRun
from streamproc.settings import InferenceSettings

__all__ = ["CHECKS", "Case", "Finding", "check_analysis"]

Answers = Sequence[FrameResult | FrameFailure]


@dataclass(frozen=True, slots=True)
class Case:
    """A loaded analysis with its example."""

    analysis: Analysis
    example: Example


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check: what it claims, and what speaks against it (empty: it holds)."""

    claim: str
    fault: str = ""


class _Broken(AssertionError):
    """A check does not hold, with the reason."""


def check_analysis(analysis: type[Analysis], inference: InferenceSettings | None = None) -> Iterator[Finding]:
    """Run every check on an analysis.

    Parameters
    ----------
    analysis : type
        The class a consumer names in ``ANALYSIS``.
    inference : InferenceSettings, optional
        Where its models run.

    Yields
    ------
    Finding
        One per check, in order.
    """
    with tempfile.TemporaryDirectory(prefix="streamproc-check-") as folder:
        example = analysis.example(Path(folder))
        settings = analysis_settings(analysis, {**example.settings, "base_dir": folder})
        case = Case(analysis.load(settings, LoadContext(inference or InferenceSettings())), example)
        for check in CHECKS:
            claim = (check.__doc__ or check.__name__).strip()
            try:
                check(case)
                yield Finding(claim)
            except _Broken as broken:
                yield Finding(claim, str(broken))
            except Exception as error:
                yield Finding(claim, f"{type(error).__name__}: {error}")


def answers_every_frame(case: Case) -> None:
    """Every frame of the example is answered, in order."""
    answers = _process(case, case.example.frames)
    _same([f.seq_num for f in case.example.frames], [a.seq_num for a in answers], "seq_nums")
    failed = [a for a in answers if isinstance(a, FrameFailure)]
    _hold(not failed, f"frames of the example failed: {[a.reason for a in failed][:2]}")


def values_match_their_declaration(case: Case) -> None:
    """Every declared output is there, of its kind and shape, and nothing else; an estimate has a sigma."""
    declared = {o.name: o for o in case.analysis.outputs()}
    for answer in _results(case):
        _same(sorted(declared), sorted(answer.values), f"outputs of seq_num {answer.seq_num}")
        for name, value in answer.values.items():
            fault = _fault(declared[name], value)
            _hold(not fault, f"{name} of seq_num {answer.seq_num}: {fault}")


def doubts_have_reasons(case: Case) -> None:
    """An answer that is out of domain says why."""
    for answer in _results(case):
        _hold(
            answer.in_domain or bool(answer.reasons),
            f"seq_num {answer.seq_num} is out of domain for no reason",
        )


def splitting_changes_nothing(case: Case) -> None:
    """Shuffled and split frames, on one thread or several, give the same bits."""
    frames = list(case.example.frames)
    expected = [_bits(a) for a in _process(case, frames)]
    running = case.analysis.begin(case.example.run)
    order = random.Random(7)
    for size in (1, 2, 3, len(frames)):
        shuffled = frames[:]
        order.shuffle(shuffled)
        parts = [shuffled[i : i + size] for i in range(0, len(shuffled), size)]
        with ThreadPoolExecutor(3) as pool:
            answers = [a for part in pool.map(running.process, parts) for a in part]
        _same(expected, [_bits(a) for a in sorted(answers, key=lambda a: a.seq_num)], f"batches of {size}")


def frames_are_left_alone(case: Case) -> None:
    """Frames are read-only and stay as they are."""
    for frame in case.example.frames:
        frame.array.setflags(write=False)
    before = [f.array.tobytes() for f in case.example.frames]
    _process(case, case.example.frames)
    _same(before, [f.array.tobytes() for f in case.example.frames], "pixels")


def bad_frames_are_contained(case: Case) -> None:
    """Empty, flat, NaN, negative, saturated, wrongly shaped frames fail or are out of domain; no crash."""
    good = case.example.frames[0]
    running = case.analysis.begin(case.example.run)
    for label, array in _bad_arrays(good.array):
        try:
            answers = running.process([replace(good, array=array)])
        except ContainedError:
            continue
        sound = [a for a in answers if isinstance(a, FrameResult) and a.in_domain]
        _hold(not sound, f"a {label} frame was answered as in domain")
    after = running.process([good])
    _same(
        [_bits(a) for a in _process(case, [good])], [_bits(a) for a in after], "a good frame after bad ones"
    )


def odd_frames_spoil_no_run(case: Case) -> None:
    """A run follows whatever its frames hold, and its state can be kept at any time; good frames go on."""
    good, running = case.example.frames[0], case.analysis.begin(case.example.run)
    for place, (label, array) in enumerate([*_bad_arrays(good.array), *_odd_arrays(good.array)]):
        for turn, one in enumerate((array, good.array)):
            frame = replace(good, array=one, seq_num=2 * place + turn + 1)
            try:
                (answer,) = running.process([frame])
                running.update([answer])
                running = running if turn else _restored(case, running.snapshot())
            except ContainedError as error:
                running.update([FrameFailure(frame.seq_num, error.message)])
            except Exception as error:
                which = "a good frame after one" if turn else "a frame"
                raise _Broken(f"{which} of {label} values: {type(error).__name__}: {error}") from error
    running.end()


def interrupted_runs_go_on(case: Case) -> None:
    """A run interrupted anywhere and restored from its snapshot says the same about the run."""
    answers = _process(case, case.example.frames)
    expected = _said(case, answers, cut=None)
    for cut in range(len(answers) + 1):
        _same(expected, _said(case, answers, cut=cut), f"interrupted after {cut} frames")


def documents_are_valid(case: Case) -> None:
    """The result run passes the event-model schemas, and composing it twice gives the same documents."""
    first, second = _documents(case), _documents(case)
    _same([_bits(d) for d in first], [_bits(d) for d in second], "documents")
    for name, doc in first:
        schema_validators[DocumentNames[name]].validate(doc)


def run_streams_are_declared(case: Case) -> None:
    """What is said about a run belongs to a declared stream and matches its outputs."""
    declared = case.analysis.run_outputs()
    running = case.analysis.begin(case.example.run)
    for said in [*running.update(_process(case, case.example.frames)), *running.end()]:
        _hold(said.stream in declared, f"stream {said.stream!r} is not declared")
        _same(
            sorted(o.name for o in declared[said.stream]), sorted(said.values), f"outputs of {said.stream!r}"
        )


CHECKS: tuple[Callable[[Case], None], ...] = (
    answers_every_frame,
    values_match_their_declaration,
    doubts_have_reasons,
    splitting_changes_nothing,
    frames_are_left_alone,
    bad_frames_are_contained,
    odd_frames_spoil_no_run,
    interrupted_runs_go_on,
    run_streams_are_declared,
    documents_are_valid,
)


def _process(case: Case, frames: Sequence[Frame]) -> Answers:
    return list(case.analysis.begin(case.example.run).process(frames))


def _results(case: Case) -> list[FrameResult]:
    return [a for a in _process(case, case.example.frames) if isinstance(a, FrameResult)]


def _said(case: Case, answers: Answers, cut: int | None) -> list[Any]:
    running = case.analysis.begin(case.example.run)
    said: list[RunResult] = []
    for place, answer in enumerate(answers):
        if place == cut:
            running = _restored(case, running.snapshot())
        said.extend(running.update([answer]))
    if cut == len(answers):
        running = _restored(case, running.snapshot())
    return [_bits(s) for s in [*said, *running.end()]]


def _restored(case: Case, state: Any) -> Any:
    """Through bytes, as the state topic would keep it."""
    running = case.analysis.begin(case.example.run)
    running.restore(msgpack.unpackb(msgpack.packb(dict(state)), strict_map_key=False))
    return running


def _documents(case: Case) -> list[tuple[str, dict[str, Any]]]:
    run, analysis = case.example.run, case.analysis
    running = analysis.begin(run)
    result = ResultRun(run, analysis.stream(), running.provenance, analysis.outputs(), analysis.run_outputs())
    documents, ledger = [result.start(run)], Ledger()
    for frame, answer in zip(case.example.frames, running.process(case.example.frames), strict=True):
        if isinstance(answer, FrameResult):
            documents += result.event(answer, frame.time_s, frame.readings, frame.timestamps)
            ledger.done(frame.seq_num)
        for said in running.update([answer]):
            documents += result.run_event(said.stream, said.values)
    for said in running.end():
        documents += result.run_event(said.stream, said.values)
    return [*documents, result.stop(run, ledger, "")]


def _bad_arrays(good: np.ndarray[Any, Any]) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    yield "empty", np.empty((0,) * good.ndim, good.dtype)
    yield "wrongly shaped", np.zeros(tuple(max(n - 1, 1) for n in good.shape), good.dtype)
    yield "scalar", np.array(1, good.dtype)
    yield "zero", np.zeros_like(good)
    yield "flat", np.full_like(good, 7)
    yield "NaN", np.full(good.shape, np.nan)
    yield "infinite", np.full(good.shape, np.inf)
    yield "negative", np.full(good.shape, -5.0)
    limit = np.iinfo(good.dtype).max if good.dtype.kind in "iu" else np.finfo(good.dtype).max
    yield "saturated", np.full_like(good, limit)
    yield "text", np.full(good.shape, "x")


def _odd_arrays(good: np.ndarray[Any, Any]) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """What is finite and of the right shape, but nothing that a detector gives."""
    number = np.arange(good.size, dtype=float).reshape(good.shape)
    middle = number == good.size // 2
    yield "rising", number
    yield "falling", number[::-1]
    yield "stepped", np.where(number < good.size / 2, 0.0, 1e6)
    yield "all but one zero", np.where(middle, 1e4, 0.0)
    yield "all but one equal", np.where(middle, 1e4, 10.0)
    yield "alternating", number % 2
    yield "decaying", 1e8 * np.exp(-50 * number / good.size)
    yield "one NaN", np.where(middle, np.nan, good)
    yield "one infinite", np.where(middle, -np.inf, good)
    yield "tiny", good * 1e-30
    yield "denormal", np.where(number % 3 == 0, 5e-324, 0.0)
    yield "huge", good * 1e30
    yield "vast", good * 1e200
    yield "marked by 3.4e38", np.where(number % 7 == 0, np.finfo(np.float32).max, 0.0)
    yield "smallest", np.full(good.shape, np.iinfo(np.int64).min)
    yield "true and false", good > np.median(good)
    yield "half-precision", np.clip(good, 0, 6e4).astype(np.float16)
    yield "complex", good.astype(complex)


def _fault(output: Output, value: Any) -> str:
    if output.kind == "estimate":
        if not isinstance(value, Estimate):
            return f"expected an Estimate, got {type(value).__name__}"
        if np.isfinite(value.value) and not value.sigma >= 0:
            return f"a value with sigma {value.sigma}"
        return (
            "no interval" if output.interval and np.isfinite(value.value) and value.interval90 is None else ""
        )
    if output.kind == "curve":
        shape = np.shape(value)
        return "" if shape == output.shape else f"shape {shape}, declared {output.shape}"
    kinds = {"flag": (bool, np.bool_), "text": (str,), "number": (int, float, np.number)}[output.kind]
    return "" if isinstance(value, kinds) else f"expected a {output.kind}, got {type(value).__name__}"


def _bits(value: Any) -> Any:
    """A picture of a value that two equal bit patterns share and no others do."""
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, dict):
        return {k: _bits(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_bits(v) for v in value]
    if hasattr(value, "__dataclass_fields__"):
        return [_bits(getattr(value, name)) for name in value.__dataclass_fields__]
    return value


def _hold(holds: bool, fault: str) -> None:
    if not holds:
        raise _Broken(fault)


def _same(expected: Any, got: Any, what: str) -> None:
    if expected != got:
        raise _Broken(f"{what} differ: expected {str(expected)[:160]}, got {str(got)[:160]}")
