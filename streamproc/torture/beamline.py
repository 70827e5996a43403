"""The producer: runs that overlap, published at a steady rate whatever becomes of the broker."""

from __future__ import annotations

import contextlib
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from zlib import crc32

from streamproc.errors import ConfigurationError, DeliveryError, FatalError
from streamproc.settings import Settings
from streamproc.torture.runs import LiveRun, Pair, model_patterns
from streamproc.transports.codec import encode
from streamproc.transports.kafka import KafkaSink
from streamproc.transports.ports import Outgoing

__all__ = ["Beamline"]

_OPEN_RUNS = 6
_READINGS = (8, 40)
_GIVE_UP_S = 120.0


class Beamline:
    """A thread that publishes runs until it is told to finish.

    What the broker does not acknowledge is published again by a new producer, so a document can be in the
    topic twice: a real beamline's producer does that too, and a service answers it once.

    Parameters
    ----------
    settings : Settings
        Broker, raw topic, deadlines.
    partitions : int
        Of the raw topic; all documents of a run go to one.
    folder : Path
        For HDF5 files.
    seed : int
        Decides order, length and storage of the runs, and their uids.
    rate_Hz : float
        Readings a second, all runs together.
    tell : callable
        Gets a line when the broker does not answer.

    Attributes
    ----------
    readings : dict of str to int
        Acknowledged readings by run uid.
    storages : Counter
        Runs by storage.
    published, retried : int
        Documents acknowledged; documents that had to be published again.
    longest_stall_s : float
        Longest time that one publication took (s).
    failure : Exception or None
        What ended it before its time.
    """

    def __init__(
        self,
        settings: Settings,
        partitions: int,
        folder: Path,
        seed: int,
        rate_Hz: float,
        tell: Callable[[str], None],
    ) -> None:
        self.readings: dict[str, int] = {}
        self.storages: Counter[str] = Counter()
        self.published = self.retried = 0
        self.longest_stall_s = 0.0
        self.failure: Exception | None = None
        self._settings, self._partitions, self._folder = settings, partitions, folder
        self._seed, self._rate_Hz, self._tell = seed, rate_Hz, tell
        self._dice = random.Random(seed)
        self._axis, self._patterns = model_patterns()
        self._sink: KafkaSink | None = None
        self._runs: list[LiveRun] = []
        self._finish, self._abandon = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="beamline", daemon=True)

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def finish(self) -> None:
        """Begin no more runs and end the open ones after their next reading."""
        self._finish.set()

    @property
    def finished(self) -> bool:
        """Whether every run has its stop, or it failed."""
        return not self._thread.is_alive()

    def close(self) -> None:
        """End at once."""
        self._abandon.set()
        if self._thread.ident is not None:
            self._thread.join(self._settings.delivery.flush_timeout_s + 2.0)

    def _work(self) -> None:
        try:
            due_s = time.monotonic()
            while not (self._abandon.is_set() or (self._finish.is_set() and not self._runs)):
                self._turn()
                # What an outage kept back is not caught up with: the rate is that of a scan.
                due_s = max(due_s + 1.0 / self._rate_Hz, time.monotonic() - 1.0)
                self._abandon.wait(max(0.0, due_s - time.monotonic()))
        except Exception as error:
            self.failure = error
        finally:
            for run in self._runs:
                run.close()
            self._drop_sink()

    def _turn(self) -> None:
        """Take one reading of one of the open runs."""
        if len(self._runs) < _OPEN_RUNS and not self._finish.is_set():
            self._begin()
        run = self._dice.choice(self._runs)
        self._publish(run, run.reading())
        self.readings[run.uid] = run.taken
        if run.taken >= run.planned or self._finish.is_set():
            self._runs.remove(run)
            self._publish(run, run.stop())

    def _begin(self) -> None:
        number = len(self.readings) + 1
        storage = self._folder if self._dice.random() < 0.5 else None
        uid = str(uuid.uuid5(uuid.NAMESPACE_URL, f"streamproc-torture/{self._seed}/{number}"))
        run = LiveRun(uid, number, self._dice.randint(*_READINGS), storage, self._axis, self._patterns)
        self._runs.append(run)
        self.readings[uid] = 0
        self.storages[run.storage] += 1
        self._publish(run, run.begin())

    def _publish(self, run: LiveRun, pairs: Sequence[Pair]) -> None:
        """Publish documents of a run until they are acknowledged.

        Raises
        ------
        FatalError
            Not within two minutes.
        """
        topic, key = self._settings.topic("raw"), run.uid.encode()
        partition = crc32(key) % self._partitions
        outgoing = [Outgoing(topic, key, encode(*pair), partition=partition) for pair in pairs]
        begun_s = time.monotonic()
        while not self._abandon.is_set():
            try:
                if self._sink is None:
                    self._sink = KafkaSink(self._settings.kafka, self._settings.delivery)
                self._sink.deliver(outgoing, {})
                break
            except (DeliveryError, ConfigurationError) as error:
                self._drop_sink()
                self.retried += len(outgoing)
                self._tell(f"the broker did not take {len(outgoing)} document(s), publishing them again")
                if time.monotonic() - begun_s > _GIVE_UP_S:
                    raise FatalError(f"the broker took nothing for {_GIVE_UP_S:g} s: {error}") from error
        self.published += len(outgoing)
        self.longest_stall_s = max(self.longest_stall_s, time.monotonic() - begun_s)

    def _drop_sink(self) -> None:
        if self._sink is not None:
            with contextlib.suppress(Exception):
                self._sink.close()
            self._sink = None
