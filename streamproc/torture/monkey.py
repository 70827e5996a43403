"""The monkey: carries out the faults, one after another, while earlier ones may still last."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from streamproc.errors import FatalError
from streamproc.torture.faults import Fault
from streamproc.torture.services import Supervised
from streamproc.transports.broker import Broker

__all__ = ["Done", "Monkey"]

_CUT_INTERVAL_S = 0.1
_WHOLE_INTERVAL_S = 0.5
_WHOLE_LOOKS = 3
"""A node that was frozen believes for a moment that nothing has changed."""
_WHOLE_TIMEOUT_S = 120.0


@dataclass(slots=True)
class Done:
    """A fault that was begun; times (s, monotonic)."""

    fault: Fault
    target: str
    begun_s: float
    until_s: float
    over_s: float | None = None
    cut: int = 0
    again_s: float = 0.0
    service: Supervised | None = None

    def to_json(self, begin_s: float) -> dict[str, Any]:
        """Return it as plain values, times (s) since ``begin_s``."""
        return {
            "number": self.fault.number,
            "kind": self.fault.kind,
            "target": self.target,
            "planned_pause_s": round(self.fault.after_s, 3),
            "planned_duration_s": round(self.fault.hold_s, 3),
            "begun_s": round(self.begun_s - begin_s, 3),
            "over_s": None if self.over_s is None else round(self.over_s - begin_s, 3),
            **({"connections_cut": self.cut} if self.fault.kind == "cut" else {}),
        }


@dataclass(slots=True)
class Monkey:
    """Begins faults when they are due and ends them when their time is over.

    Parameters
    ----------
    faults : sequence of Fault
        In order.
    services : sequence of Supervised
        Whom to hit; one that is frozen is left to itself until it goes on.
    broker : Broker or None
        Whose nodes to hit; never more than one is away.
    whole : callable
        Tells whether every node has every message again; called in a thread.
    tell : callable
        Gets a line per fault.
    """

    faults: Sequence[Fault]
    services: Sequence[Supervised]
    broker: Broker | None
    whole: Callable[[], bool]
    tell: Callable[[str], None]
    done: list[Done] = field(default_factory=list)
    _due_s: float | None = None
    _node: Future[None] | None = None
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "nodes"))
    _abandon: threading.Event = field(default_factory=threading.Event)

    @property
    def finished(self) -> bool:
        """Whether all faults are over and the broker is whole."""
        return len(self.done) == len(self.faults) and all(d.over_s is not None for d in self.done)

    @property
    def node_away(self) -> bool:
        """Whether a node is away or not whole yet."""
        return self._node is not None and not self._node.done()

    def turn(self) -> None:
        """Do what is due now.

        Raises
        ------
        StreamprocError
            A node did not come back.
        """
        now_s = time.monotonic()
        for done in self.done:
            if done.over_s is None and done.service is not None:
                self._go_on(done, done.service, now_s)
        if self._node is not None and self._node.done():
            self._node.result()
            self._node = None
        if len(self.done) == len(self.faults):
            return
        fault = self.faults[len(self.done)]
        if self._due_s is None:
            self._due_s = now_s + fault.after_s
        if now_s >= self._due_s and self._begin(fault, now_s):
            self._due_s = None

    def close(self) -> None:
        """Wait for no node any longer, except one that is just being started."""
        self._abandon.set()
        self._pool.shutdown(cancel_futures=True)

    def _begin(self, fault: Fault, now_s: float) -> bool:
        """Begin a fault, or say that it has to wait."""
        if fault.of_node:
            return self._begin_node(fault, now_s)
        able = [s for s in self.services if s.can_be_hit]
        if not able:
            return False
        service = able[int(fault.choice * len(able))]
        done = Done(fault, f"service {service.name}", now_s, now_s + fault.hold_s, service=service)
        self.done.append(done)
        if fault.kind == "cut":
            done.again_s = now_s
        else:
            service.send(_SIGNALS[fault.kind])
        self._say(done)
        self._go_on(done, service, now_s)
        return True

    def _go_on(self, done: Done, service: Supervised, now_s: float) -> None:
        """Cut again, and end what has lasted long enough."""
        if done.fault.kind == "cut" and now_s >= done.again_s:
            done.cut += service.cut()
            done.again_s = now_s + _CUT_INTERVAL_S
        if now_s >= done.until_s:
            if done.fault.kind == "stop":
                service.send(signal.SIGCONT)
                self.tell(f"      service {service.name} goes on")
            done.over_s = now_s

    def _begin_node(self, fault: Fault, now_s: float) -> bool:
        if self.broker is None or self.node_away:
            return False
        index = int(fault.choice * len(self.broker.nodes))
        done = Done(fault, f"node {index + 1}", now_s, now_s + fault.hold_s)
        self.done.append(done)
        self._say(done)
        self._node = self._pool.submit(self._take_node, done, self.broker, index)
        return True

    def _take_node(self, done: Done, broker: Broker, index: int) -> None:
        """Take a node away, bring it back and wait until nothing lacks a copy (in the thread)."""
        if done.fault.kind == "node-kill":
            broker.kill_node(index)
        else:
            broker.freeze_node(index)
        if self._abandon.wait(done.fault.hold_s):
            return
        if done.fault.kind == "node-kill":
            broker.restart_node(index)
        else:
            broker.thaw_node(index)
        deadline_s = time.monotonic() + _WHOLE_TIMEOUT_S
        looks = 0
        while looks < _WHOLE_LOOKS:
            if self._abandon.wait(_WHOLE_INTERVAL_S):
                return
            looks = looks + 1 if self.whole() else 0
            if time.monotonic() > deadline_s:
                raise FatalError(f"{done.target} did not catch up within {_WHOLE_TIMEOUT_S:g} s")
        done.over_s = time.monotonic()
        self.tell(f"      {done.target} is back and whole after {done.over_s - done.begun_s:.1f} s")

    def _say(self, done: Done) -> None:
        fault = done.fault
        lasting = f" for {fault.hold_s:.1f} s" if fault.hold_s else ""
        self.tell(f"{fault.number:>4}  {_WORDS[fault.kind]} {done.target}{lasting}")


_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "term": signal.SIGTERM}
_WORDS = {
    "kill": "SIGKILL",
    "stop": "SIGSTOP",
    "term": "SIGTERM",
    "cut": "cutting the connections of",
    "node-kill": "killing",
    "node-freeze": "freezing",
}
