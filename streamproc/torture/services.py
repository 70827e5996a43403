"""Services under a supervisor that starts them again at once, as systemd would, and takes notes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamproc.demo.processes import Child
from streamproc.torture.connections import cut_connections
from streamproc.torture.looks import Look

__all__ = ["Life", "Supervised"]


@dataclass(slots=True)
class Life:
    """One process, from its start to its end; times as ``time.monotonic()`` has them (s).

    Attributes
    ----------
    number, pid : int
        From 1; process number.
    started_s, ended_s
        Begin and end.
    answered_s : float or None
        When it had published a result, or was ready with nothing left to answer.
    answered_with : str
        ``result`` or ``ready``.
    hit_s : float or None
        When the first fault hit it that kept it from answering, or ended it.
    exit_code : int or None
        Negative: the signal.
    said : str
        The last line of its log, where it ended by itself with an error.
    """

    number: int
    pid: int
    started_s: float
    answered_s: float | None = None
    answered_with: str = ""
    hit_s: float | None = None
    ended_s: float | None = None
    exit_code: int | None = None
    said: str = ""

    @property
    def answer_time_s(self) -> float | None:
        """From the start to the first answer (s); None when there was none."""
        return None if self.answered_s is None else self.answered_s - self.started_s

    def waited_s(self, now_s: float) -> float:
        """How long it had for its first answer before a fault, its end or the present stopped it (s)."""
        ends = [now_s, *(s for s in (self.hit_s, self.ended_s) if s is not None)]
        return min(ends) - self.started_s

    def to_json(self, begin_s: float) -> dict[str, Any]:
        """Return it as plain values, times (s) since ``begin_s``."""

        def since(at_s: float | None, when_s: float) -> float | None:
            return None if at_s is None else round(at_s - when_s, 3)

        return {
            "number": self.number,
            "pid": self.pid,
            "started_s": since(self.started_s, begin_s),
            "answered_after_s": since(self.answered_s, self.started_s),
            "answered_with": self.answered_with,
            "hit_before_answer_after_s": since(self.hit_s, self.started_s),
            "ended_s": since(self.ended_s, begin_s),
            "exit_code": self.exit_code,
            "said": self.said,
        }


@dataclass(slots=True)
class Supervised:
    """One service: its present process and all earlier ones.

    Attributes
    ----------
    name : str
        What it is called; also its ``group_instance_id``.
    argv : sequence of str
        Program and arguments.
    logs : Path
        Folder for a log per process.
    port : int
        Its status server.
    tell : callable
        Gets a line for what happens to it.
    frozen : bool
        Stopped by SIGSTOP and not continued yet.
    """

    name: str
    argv: Sequence[str]
    logs: Path
    port: int
    tell: Callable[[str], None]
    frozen: bool = False
    lives: list[Life] = field(default_factory=list)
    memory: list[tuple[float, int]] = field(default_factory=list)
    """Time (s, monotonic) and resident memory (bytes), without the begin of each life."""
    done: Counter[int] = field(default_factory=Counter)
    """Answers by life, as its metrics say."""
    waiting: bool = True
    """Whether it has something to answer, as far as is known."""
    _child: Child | None = None
    _killed: bool = False
    _ending: bool = False

    @property
    def life(self) -> Life:
        """The newest process."""
        return self.lives[-1]

    @property
    def can_be_hit(self) -> bool:
        """Whether its process runs, and is not as good as gone."""
        running = self._child is not None and self._child.returncode() is None
        return running and not (self.frozen or self._killed)

    @property
    def idle(self) -> bool:
        """Whether the present process has answered and has nothing left to do."""
        return self.can_be_hit and self.life.answered_s is not None and not self.waiting

    def present(self) -> tuple[int, float]:
        """Return number and start (s, monotonic) of the present process."""
        return self.life.pid, self.life.started_s

    def start(self) -> None:
        """Start a process."""
        number = len(self.lives) + 1
        self._child = Child(f"service {self.name}", self.argv, self._log(number))
        self.frozen, self._killed, self.waiting = False, False, True
        self.lives.append(Life(number, self._child.pid, time.monotonic()))

    def look(self) -> None:
        """Start it again when it has ended."""
        code = self._child.returncode() if self._child is not None else None
        if code is None or self._ending:
            return
        self._note_end(code)
        self.tell(f"service {self.name} ended with {_exit(code)}; starting it again")
        self.start()

    def take(self, look: Look) -> None:
        """Note what was seen of a process."""
        life = self.life
        if look.pid != life.pid:
            return
        if look.rss_bytes is not None and life.answered_s is not None:
            self.memory.append((look.at_s, look.rss_bytes))
        if look.done is None:
            return
        self.done[life.number] = look.done
        self.waiting = look.busy
        if life.answered_s is None and (look.done or look.nothing_to_do):
            life.answered_s, life.answered_with = look.at_s, "result" if look.done else "ready"
            how = "with a result" if look.done else "with nothing to do"
            self.tell(f"service {self.name} answers after {life.answer_time_s:.1f} s, {how}")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the present process; SIGSTOP and SIGCONT are kept account of."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.life.pid, number)
        if number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP):
            self.hit()
        if number in (signal.SIGSTOP, signal.SIGCONT):
            self.frozen = number == signal.SIGSTOP
        self._killed = self._killed or number == signal.SIGKILL

    def cut(self) -> int:
        """Cut its connections; returns how many."""
        self.hit()
        return cut_connections(self.life.pid, self.port)

    def hit(self) -> None:
        """Note that a fault hits a process that has not answered yet."""
        if self.life.answered_s is None and self.life.hit_s is None:
            self.life.hit_s = time.monotonic()

    def end(self, timeout_s: float) -> None:
        """End it for good: SIGTERM, after ``timeout_s`` (s) SIGKILL; 0: at once."""
        self._ending = True
        if self._child is None:
            return
        if timeout_s > 0:
            self.send(signal.SIGCONT)
            self._child.ask_to_stop()
        self._child.finish(timeout_s)
        if self.lives and self.life.exit_code is None:
            self._note_end(self._child.returncode() or 0)

    def to_json(self, begin_s: float) -> list[dict[str, Any]]:
        """Return all processes as plain values, times (s) since ``begin_s``."""
        return [
            {**life.to_json(begin_s), "frames": self.done[life.number], "rss_bytes": self._rss(life)}
            for life in self.lives
        ]

    def events(self) -> Counter[str]:
        """Count what its logs say, all processes together."""
        counts: Counter[str] = Counter()
        for life in self.lives:
            for line in self._log(life.number).read_text(errors="replace").splitlines():
                # A process that was killed may have left half a line.
                with contextlib.suppress(ValueError, TypeError, KeyError):
                    counts[json.loads(line)["event"]] += 1
        return counts

    def _note_end(self, code: int) -> None:
        life = self.life
        life.ended_s, life.exit_code = time.monotonic(), code
        if code > 0 and self._child is not None:
            life.said = self._child.last_words(1)

    def _rss(self, life: Life) -> list[int]:
        """Return resident memory (bytes) of a process when it was first and last looked at; or nothing."""
        end_s = life.ended_s if life.ended_s is not None else float("inf")
        seen = [rss for at_s, rss in self.memory if life.started_s <= at_s <= end_s]
        return [seen[0], seen[-1]] if seen else []

    def _log(self, number: int) -> Path:
        return self.logs / f"{self.name}-{number:03d}.log"


def _exit(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
