"""Archiver: reads the results topic, stores each run when it is whole, commits what is safe."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from streamproc.archiving.gather import GatheredRun, Gatherer
from streamproc.archiving.keeper import Attempt, Keeper
from streamproc.archiving.ports import ArchiveOptions, ResultsSource
from streamproc.archiving.positions import Positions
from streamproc.archiving.spool import Spool, stem_of
from streamproc.documents import Document
from streamproc.errors import DeliveryError
from streamproc.observability.archive_metrics import ArchiveMetrics

__all__ = ["Archiver"]

_log = structlog.get_logger()

_POLL_S = 0.1
_COMMIT_INTERVAL_S = 1.0
_LOOK_INTERVAL_S = 1.0
_FIRST_PAUSE_S = 0.5
_TRIES_ONCE = 5
"""With ``once``: attempts in a row that fail before what is in the spool stays there."""


class Archiver:
    """Stores the result runs of a topic, each once.

    Positions are committed only past runs that are in the store or in the spool. What comes again after a
    crash is found complete in the store and skipped; what was half-written is written anew.

    Parameters
    ----------
    source : ResultsSource
        The results topic, as a member of the archiver's group.
    store : Store
        Where runs go.
    spool : Spool
        Where runs wait that the store does not take.
    metrics : ArchiveMetrics
        What is counted.
    options : ArchiveOptions
        Deadlines.
    clock : callable
        Seconds from any origin.
    """

    def __init__(
        self,
        source: ResultsSource,
        store: Any,
        spool: Spool,
        metrics: ArchiveMetrics,
        options: ArchiveOptions,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source, self._spool, self._metrics = source, spool, metrics
        self._options, self._clock = options, clock
        self._keeper = Keeper(store)
        self._gatherer = Gatherer()
        self._positions = Positions()
        self._whole: deque[tuple[GatheredRun, float]] = deque()
        self._attempt: tuple[Attempt, GatheredRun | None] | None = None
        self._failures = 0
        self._files: Sequence[Path] = ()
        self._looked_s = clock() - _LOOK_INTERVAL_S
        self._next_try_s = self._last_commit_s = self._last_turn_s = clock()
        self._refused: dict[str, tuple[float, float]] = {}
        self._stop_requested = False

    def stop(self) -> None:
        """Ask the loop to end; any thread or signal handler may call it."""
        self._stop_requested = True

    def run(self) -> int:
        """Turn the loop until :meth:`stop` (or, with ``once``, until all is done); returns runs in the spool.

        Raises
        ------
        DeliveryError
            The spool cannot be written, or positions cannot be committed: end and restart.
        """
        while not self._stop_requested:
            idle = not self.step()
            if idle and self._options.once and self._all_done():
                break
        self._drain()
        return len(self._spool.waiting())

    def step(self) -> bool:
        """Turn the loop once; returns whether anything happened."""
        self._last_turn_s = now_s = self._clock()
        polled = self._source.poll(_POLL_S if self._attempt is None else _POLL_S / 5)
        for message in polled:
            self._positions.read(message)
            self._metrics.document()
            if isinstance(message, Document):
                self._take(message, now_s)
        self._drop_revoked()
        self._expire(now_s)
        moved = self._collect() | self._begin(now_s)
        self._give_up(now_s)
        self._commit(now_s)
        spooled = len(self._spooled(now_s))
        self._metrics.state(spool=spooled, open_runs=len(self._gatherer.open), lag=self._source.lag())
        return bool(polled) or moved or self._attempt is not None

    def health(self) -> tuple[bool, Mapping[str, Any]]:
        """Say whether the loop turns, and how much waits on the disk."""
        silent_s = self._clock() - self._last_turn_s
        return silent_s < 30.0, {
            "seconds_since_last_turn": round(silent_s, 3), "failures_in_a_row": self._failures,
            "spooled": len(self._files), "open_runs": len(self._gatherer.open),
        }  # fmt: skip

    # -- reading ------------------------------------------------------------------------------------------

    def _take(self, document: Document, now_s: float) -> None:
        try:
            whole = self._gatherer.feed(document, now_s)
        except KeyError as error:
            whole = self._look_back(str(error.args[0]), document, now_s)
        if whole is not None:
            self._whole.append((whole, now_s))

    def _look_back(self, uid: str, document: Document, now_s: float) -> GatheredRun | None:
        """Bring in what came before a document of a run joined in the middle: from the spool or the topic."""
        position = document.position
        kept = self._spool.open_run(uid) if uid else []
        earlier = [Document(n, d, position, document.key) for n, d in kept]
        earlier = earlier or list(self._source.rewind_to_start(uid or None, document))
        try:
            for one in (*earlier, document):
                whole = self._gatherer.feed(one, now_s)
                if whole is not None:
                    return whole
        except KeyError:
            _log.warning("result document without a start", name=document.name, position=str(position))
            self._metrics.run("lost_start")
        return None

    def _drop_revoked(self) -> None:
        for partition in self._source.revoked():
            self._gatherer.drop(partition)
            self._positions.drop(partition)
            self._whole = deque(item for item in self._whole if item[0].partition != partition)

    def _expire(self, now_s: float) -> None:
        for run in list(self._gatherer.open.values()):
            if now_s - run.touched_s > self._options.idle_timeout_s:
                _log.warning("result run has no stop; kept in the spool", result_uid=run.uid)
                self._spool.keep(run.uid, run.documents(), complete=False)
                self._metrics.run("open")
                self._gatherer.forget(run.uid)
                run.close()

    # -- storing ------------------------------------------------------------------------------------------

    def _begin(self, now_s: float) -> bool:
        """Start an attempt when none goes on: a run that waits, else one of the spool."""
        if self._attempt is not None or now_s < self._next_try_s:
            return False
        if self._whole:
            run = self._whole[0][0]
            self._attempt = (self._keeper.begin(run.uid, run.documents()), run)
            return True
        path = next((p for p in self._spooled(now_s) if self._due(p, now_s)), None)
        kept = self._spool.load(path) if path is not None else None
        if kept is not None:
            self._attempt = (self._keeper.begin(str(kept.start.get("uid", "")), kept), None)
        elif path is not None:
            self._looked_s = now_s - _LOOK_INTERVAL_S
        return path is not None

    def _spooled(self, now_s: float) -> Sequence[Path]:
        """Return the files of the spool, looked for once a second and whenever one came or went."""
        if now_s - self._looked_s >= _LOOK_INTERVAL_S:
            self._looked_s, self._files = now_s, self._spool.waiting()
        return self._files

    def _due(self, path: Path, now_s: float) -> bool:
        return now_s >= self._refused.get(path.stem, (0.0, 0.0))[0]

    def _collect(self) -> bool:
        """Take the result of an attempt that is over."""
        if self._attempt is None or not self._attempt[0].over.is_set():
            return False
        (attempt, run), self._attempt = self._attempt, None
        if attempt.outcome:
            self._stored(attempt, run)
        else:
            self._failed(attempt, run)
        return True

    def _stored(self, attempt: Attempt, run: GatheredRun | None) -> None:
        if self._failures:
            _log.info("the store takes runs again")
        self._failures, self._next_try_s = 0, self._clock()
        self._spool.settled(attempt.uid)
        self._looked_s -= _LOOK_INTERVAL_S
        self._refused.pop(stem_of(attempt.uid), None)
        self._metrics.run(attempt.outcome)
        self._metrics.took(attempt.seconds)
        _log.info("result run archived", result_uid=attempt.uid, outcome=attempt.outcome)
        if run is not None:
            self._let_go(run)

    def _failed(self, attempt: Attempt, run: GatheredRun | None) -> None:
        now_s = self._clock()
        self._failures += 1
        self._metrics.failure()
        pause_s = min(_FIRST_PAUSE_S * 2 ** min(self._failures - 1, 20), self._options.most_pause_s)
        self._next_try_s = now_s + pause_s
        _log.warning("result run not stored, tried again", result_uid=attempt.uid, reason=attempt.reason)
        if run is None:  # one that the store refuses must not keep the others of the spool from it
            longer_s = min(2 * max(self._refused.get(stem_of(attempt.uid), (0.0, 0.0))[1], pause_s), 3600.0)
            self._refused[stem_of(attempt.uid)] = (now_s + longer_s, longer_s)
        elif len(self._whole) > 1:
            self._whole.rotate(-1)

    def _give_up(self, now_s: float) -> None:
        """Keep on the disk what could not be stored for too long, so that reading and committing go on."""
        trying = None if self._attempt is None else self._attempt[1]
        for run, since_s in list(self._whole):
            if self._failures and run is not trying and now_s - since_s > self._options.give_up_s:
                self._keep(run)

    def _keep(self, run: GatheredRun) -> None:
        path = self._spool.keep(run.uid, run.documents())
        self._looked_s -= _LOOK_INTERVAL_S
        _log.warning("result run kept in the spool", result_uid=run.uid, file=str(path))
        self._metrics.run("spooled")
        self._let_go(run)

    def _let_go(self, run: GatheredRun) -> None:
        self._whole = deque(item for item in self._whole if item[0] is not run)
        run.close()

    # -- positions ----------------------------------------------------------------------------------------

    def _commit(self, now_s: float, *, force: bool = False) -> None:
        """Commit up to the first document of the oldest run that is not safe yet."""
        if not force and now_s - self._last_commit_s < _COMMIT_INTERVAL_S:
            return
        self._last_commit_s = now_s
        runs = [*self._gatherer.open.values(), *(run for run, _ in self._whole)]
        if self._attempt is not None and self._attempt[1] is not None:
            runs.append(self._attempt[1])
        self._positions.commit(self._source, runs)

    # -- ending -------------------------------------------------------------------------------------------

    def _all_done(self) -> bool:
        """Tell whether everything read is stored, or was tried and is in the spool."""
        if self._source.lag() or self._whole or self._attempt is not None:
            return False
        if self._failures >= _TRIES_ONCE:
            return True
        return all(path.stem in self._refused for path in self._spooled(self._clock()))

    def _drain(self) -> None:
        """Finish the attempt that goes on, keep what waits, commit."""
        deadline_s = self._clock() + self._options.drain_timeout_s
        if self._attempt is not None:
            self._attempt[0].over.wait(max(0.0, deadline_s - self._clock()))
            self._collect()
        for run, _ in list(self._whole):
            self._keep(run)
        self._attempt = None
        try:
            self._commit(self._clock(), force=True)
        except DeliveryError as error:
            # All of it is stored or spooled: what is read again the next time is found there and skipped.
            _log.warning("the last positions are not committed", reason=error.message)
