"""A bar for a run that is replayed, on stderr where that is a terminal."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from streamproc.replay import Progress
from streamproc.transports.archive.ports import RunRef

__all__ = ["run_progress"]


@contextmanager
def run_progress(run: RunRef, quiet: bool, pause: threading.Event | None = None) -> Iterator[Progress | None]:
    """Yield what `replay_run` takes as ``progress``; None where nothing is shown.

    Parameters
    ----------
    run : RunRef
        The run.
    quiet : bool
        Show nothing.
    pause : threading.Event, optional
        While set, the bar says so.
    """
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
    )
    with Bar(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        shown = bar.add_task(f"run {run.uid[:8]}", total=None, rate="")

        def tell(answered: int, total: int, read: int) -> None:
            speed = bar.tasks[0].speed
            rate = f"{speed:.1f}/s" if speed else ""
            if pause is not None and pause.is_set():
                rate = "paused"
            bar.update(shown, completed=answered, total=total or None, rate=rate)

        yield tell
