"""Keys pressed while a command runs, without Enter; only in the foreground of a terminal."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

__all__ = ["pressed"]

_LOOK_S = 0.2


@contextmanager
def pressed(actions: Mapping[str, Callable[[], None]]) -> Iterator[None]:
    """Call an action when its key is pressed; does nothing where standard input is no terminal.

    Parameters
    ----------
    actions : Mapping of str to callable
        By key; called on a thread of its own.
    """
    main = threading.current_thread() is threading.main_thread()
    if not (main and sys.stdin is not None and sys.stdin.isatty()):
        yield
        return
    terminal = _Terminal(sys.stdin.fileno())
    over = threading.Event()
    before = signal.signal(signal.SIGTSTP, lambda number, frame: terminal.stopped())
    terminal.take()
    listening = threading.Thread(target=_listen, args=(terminal, actions, over), daemon=True)
    listening.start()
    try:
        yield
    finally:
        over.set()
        listening.join(2 * _LOOK_S)
        signal.signal(signal.SIGTSTP, before)
        terminal.give_back()


def _listen(terminal: _Terminal, actions: Mapping[str, Callable[[], None]], over: threading.Event) -> None:
    while not over.is_set():
        # In the background reading would stop the process.
        if not terminal.ours():
            over.wait(_LOOK_S)
        elif select.select([terminal.number], [], [], _LOOK_S)[0] and terminal.ours():
            key = os.read(terminal.number, 1).decode(errors="replace")
            if not key:
                return
            if key in actions:
                actions[key]()


class _Terminal:
    """A terminal that gives keys at once while it is taken."""

    def __init__(self, number: int) -> None:
        import termios

        self.number = number
        self._usual = termios.tcgetattr(number)

    def ours(self) -> bool:
        """Tell whether this process is in the foreground."""
        try:
            return os.tcgetpgrp(self.number) == os.getpgrp()
        except OSError:
            return False

    def take(self) -> None:
        """Have keys at once, also those that came before; Ctrl-C and Ctrl-Z stay what they are."""
        if self.ours():
            import termios
            import tty

            with suppress(OSError):
                tty.setcbreak(self.number, termios.TCSADRAIN)

    def give_back(self) -> None:
        """Make it what it was."""
        if self.ours():
            import termios

            with suppress(termios.error):
                termios.tcsetattr(self.number, termios.TCSADRAIN, self._usual)

    def stopped(self) -> None:
        """Stop as Ctrl-Z does, with the terminal as it was; returns when the process goes on."""
        self.give_back()
        handler: Any = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, handler)
        self.take()
