"""The course of a training: its curve, and a line about how far it is."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

__all__ = ["Course", "progress_line"]


@dataclass(slots=True)
class Course:
    """The learning curve, and the best state by the patterns that may stop the training."""

    step: list[int] = field(default_factory=list)
    training: list[float] = field(default_factory=list)
    simulated: list[float] = field(default_factory=list)
    stopping: list[float] = field(default_factory=list)
    stopped_at: int | None = None


def progress_line(what: str, done: int, total: int, seconds: float, note: str = "") -> None:
    """A bar on a terminal, a line now and then elsewhere."""
    tty = sys.stderr.isatty()
    if not tty and done != total and done % max(1, total // 10):
        return
    bar = "#" * round(30 * done / total)
    left = seconds / done * (total - done)
    text = f"{what:11s} [{bar:30s}] {done}/{total}  {seconds:.0f} s, {left:.0f} s left  {note}"
    print(
        f"\r{text:110s}" if tty else text,
        end="\n" if done == total or not tty else "",
        file=sys.stderr,
        flush=True,
    )
