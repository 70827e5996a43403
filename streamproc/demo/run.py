"""The whole demo: a broker, the stage with one experiment on it, and a folder for what it leaves."""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from streamproc.demo.deformation.experiment import Deformation
from streamproc.demo.diffraction import Diffraction, demo_config
from streamproc.demo.magnon.experiment import Magnon
from streamproc.demo.options import DemoOptions, Experiment
from streamproc.demo.stage import Stage
from streamproc.errors import ConfigurationError
from streamproc.transports.broker import Broker

__all__ = ["EXPERIMENTS", "DemoOptions", "demo_config", "run_demo"]

EXPERIMENTS: dict[str, Callable[[DemoOptions], Experiment]] = {
    "diffraction": Diffraction,
    "magnon": Magnon,
    "deformation": Deformation,
}
"""What there is to watch, by name."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_demo(options: DemoOptions, console: Console) -> dict[str, Any]:
    """Run the demo to its end; return the summary.

    Every process it starts has ended when this returns or raises.

    Raises
    ------
    ConfigurationError
        Options that the experiment has not.
    StreamprocError
        The broker did not start, a process died, or the answers did not come; with what it said last.
    KeyboardInterrupt
        The user had enough.
    """
    experiment = EXPERIMENTS[options.experiment](options)
    with _signals_restored(), contextlib.ExitStack() as stack:
        folder = stack.enter_context(_workplace(options.keep))
        stack.callback(_ignore_signals)
        broker = None
        if options.bootstrap is None:
            console.print("starting Apache Kafka")
            broker = stack.enter_context(Broker(tell=lambda line: console.print(line, markup=False)))
        demo = Stage(experiment, options, console, folder, broker)
        stack.callback(demo.close)
        # Runs first on the way out: nothing may stop us from ending what we started.
        stack.callback(_ignore_signals)
        demo.start()
        summary = demo.watch()
        demo.write(summary)
        return summary


@contextlib.contextmanager
def _signals_restored() -> Iterator[None]:
    """Put the signal handlers back as they were."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


def _ignore_signals() -> None:
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def _workplace(keep: Path | None) -> Iterator[Path]:
    """Give a folder that is removed afterwards, unless the user wants to keep it."""
    if keep is not None:
        if keep.exists() and any(keep.iterdir()):
            raise ConfigurationError(f"--keep {keep}: the folder is not empty; name a new one")
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    folder = Path(tempfile.mkdtemp(prefix="streamproc-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
