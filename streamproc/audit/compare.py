"""Audit: results, then raw documents, then dead letters go in; the report comes out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from streamproc.audit.book import ResultBook
from streamproc.audit.findings import Finding, Findings
from streamproc.audit.judge import judge
from streamproc.audit.published import SHADOW, PublishedRun, ResultIndex
from streamproc.audit.raw import RawBook, RawRun
from streamproc.audit.report import AuditReport, RunAudit
from streamproc.documents import BadMessage, Document
from streamproc.transports.letters import Letter

__all__ = ["Audit", "audit_runs"]

Messages = Iterable[Document | BadMessage]


class Audit:
    """One comparison, fed in this order: :meth:`results`, :meth:`raw`, :meth:`letters`, :meth:`report`.

    The results come first, so that a raw reading can be compared and forgotten when it comes by, and so that
    on live topics nothing is answered that was not read.

    Parameters
    ----------
    analysis : str, optional
        Only this analysis; its result runs are expected for every run that has frames for it.
    only : collection of str, optional
        Raw run uids to compare; all by default.
    now_s : float
        The time at which the topics were read (Unix s).
    grace_s : float
        How long (s) after a raw run's stop its answers may be missing.
    repeats_allowed : bool
        Whether identical repeats are no fault (at-least-once delivery).
    whole_raw, whole_results : bool
        Whether the topics are read from their very first message. If not, what began before is passed over.
    index : ResultIndex, optional
        Starts of result runs known already.
    """

    def __init__(
        self,
        *,
        analysis: str | None = None,
        only: Collection[str] | None = None,
        now_s: float,
        grace_s: float = 30.0,
        repeats_allowed: bool = False,
        whole_raw: bool = True,
        whole_results: bool = True,
        index: ResultIndex | None = None,
    ) -> None:
        self.findings = Findings()
        self.book = ResultBook(
            self.findings, index or ResultIndex(), only, whole=whole_results, repeats_allowed=repeats_allowed
        )
        self.raw_book: RawBook | None = None
        self._analysis, self._only, self._whole_raw = analysis, only, whole_raw
        self._due_s = now_s - grace_s
        self._letters: list[Letter] = []

    def results(self, messages: Messages) -> None:
        """Take the results topic."""
        for message in messages:
            self.book.feed(message)

    def raw(self, messages: Messages, *, whole: bool | None = None) -> None:
        """Take the raw topic.

        Parameters
        ----------
        messages : iterable of Document or BadMessage
            The topic.
        whole : bool, optional
            As ``whole_raw``, where it is known only now.
        """
        self._whole_raw = self._whole_raw if whole is None else whole
        self.raw_book = RawBook(self.book, self.findings, self._only)
        for message in messages:
            self.raw_book.feed(message)
        self.raw_book.finish()

    def has_start(self, run_uid: str) -> bool:
        """Tell whether a raw run was read from its start."""
        known = self.raw_book.runs.get(run_uid) if self.raw_book is not None else None
        return known is not None and known.whole

    def letters(self, letters: Iterable[Letter]) -> None:
        """Take the dead letters that are not settled."""
        self._letters = list(letters)

    def report(self) -> AuditReport:
        """Compare and say what was found."""
        raw = self.raw_book or RawBook(self.book, self.findings, self._only)
        rows = [self._judge(raw, first, rest) for first, rest in self._groups()]
        rows += list(self._lost_runs(raw))
        letters = self._of_runs(rows)
        for row in rows:
            faults = self.findings.faults
            row.faults = sum(faults[uid] for uid in (row.result_uid or row.run_uid, *row.supplements))
            known = raw.runs.get(row.run_uid)
            facts = known.facts if known is not None else {}
            row.scan_id, row.plan_name = facts.get("scan_id"), facts.get("plan_name")
        rows.sort(key=lambda row: _begin_s(raw.runs.get(row.run_uid)))
        return AuditReport(tuple(rows), self.findings, tuple(letters), self._counts(raw))

    # -- result runs ------------------------------------------------------------------------------------

    def _groups(self) -> Iterator[tuple[PublishedRun, list[PublishedRun]]]:
        """Yield each first result run with what supplements it."""
        runs = [r for r in self.book.runs.values() if self._wanted(r.analysis)]
        firsts = {run.uid: run for run in runs if not run.supplements}
        rest: dict[str, list[PublishedRun]] = {}
        for run in runs:
            if run.supplements in firsts:
                rest.setdefault(run.supplements, []).append(run)
            elif run.supplements:
                what = f"result run {run.supplements}, which it supplements"
                severity = "fault" if self._whole_raw else "info"
                self.findings.add(run.finding("no-first-run", what, "none", severity=severity))
        return ((run, rest.get(uid, [])) for uid, run in firsts.items())

    def _wanted(self, analysis: str) -> bool:
        """A shadow's results are looked at only when asked for by name."""
        return analysis == self._analysis if self._analysis else not analysis.endswith(SHADOW)

    def _judge(self, raw: RawBook, first: PublishedRun, rest: list[PublishedRun]) -> RunAudit:
        known = raw.runs.get(first.raw_uid)
        if known is None and first.started:
            severity = "fault" if self._whole_raw else "info"
            what = f"raw run {first.raw_uid} in the raw topic"
            self.findings.add(first.finding("no-raw-run", what, "none", severity=severity))
        return judge(known, first, rest, self.findings, due_s=self._due_s)

    # -- raw runs without an answer -----------------------------------------------------------------------

    def _lost_runs(self, raw: RawBook) -> Iterator[RunAudit]:
        index = self.book.index
        depended_on = sorted(a for a in index.answered if self._wanted(a)) or [""]
        analyses = [self._analysis] if self._analysis is not None else depended_on
        for run in raw.runs.values():
            for analysis in analyses:
                if run.whole and run.uid not in index.answered.get(analysis, ()):
                    pairs = _frame_keys(run, index.keys.get(analysis))
                    if pairs:
                        yield self._lost_run(run, analysis, *pairs[0])

    def _lost_run(self, run: RawRun, analysis: str, stream: str, key: str) -> RunAudit:
        seen = run.streams[stream].seen
        row = RunAudit(run.uid, "", analysis)
        row.expected = max(run.announced(stream), len(seen))
        if run.stop is not None and run.stop_s <= self._due_s:
            row.lost = row.expected
            what = f"a result run of {analysis or 'any analysis'} for {row.expected} reading(s) of {key}"
            self.findings.add(
                Finding("lost-run", what, "none", run_uid=run.uid, analysis=analysis, stream=stream)
            )
        else:
            row.waiting, row.state = row.expected, "open" if run.stop is None else "stopped"
        return row

    # -- dead letters and counts ----------------------------------------------------------------------------

    def _of_runs(self, rows: list[RunAudit]) -> list[Letter]:
        found: list[Letter] = []
        by_run = {(row.run_uid, row.analysis): row for row in rows}
        for letter in self._letters:
            about = [(letter.run_uid or "", analysis) for analysis in letter.analyses]
            concerned = [by_run[pair] for pair in about if pair in by_run]
            for row in concerned:
                row.dead_letters += 1
                self.findings.add(_letter_finding(letter, row))
            if concerned:
                found.append(letter)
        return found

    def _counts(self, raw: RawBook) -> dict[str, int]:
        return {
            "raw_messages": raw.messages,
            "raw_undecodable": raw.undecodable,
            "raw_refused": raw.refused,
            "result_messages": self.book.messages,
            "foreign_results": self.book.foreign,
            "letters_without_run": sum(not letter.run_uid for letter in self._letters),
        }


def audit_runs(
    raw: Messages, results: Messages, letters: Iterable[Letter] = (), **options: Any
) -> AuditReport:
    """Compare raw and result documents, document by document.

    Time and memory grow with the number of documents, never with the size of their frames.

    Parameters
    ----------
    raw, results : iterable of Document or BadMessage
        The two topics in order (within each partition); ``results`` is used up before ``raw`` is touched.
    letters : iterable of Letter
        Dead letters that are not settled.
    **options
        As :class:`Audit` takes them; ``now_s`` may be left out when every raw run is over.

    Returns
    -------
    AuditReport
        ``differs`` says whether there is any difference.
    """
    audit = Audit(**{"now_s": float("inf"), **options})
    audit.results(results)
    audit.raw(raw)
    audit.letters(letters)
    return audit.report()


def _frame_keys(run: RawRun, known: Collection[tuple[str, str]] | None) -> list[tuple[str, str]]:
    """Return what an analysis would look at in a run: what it looked at in others, or else any array."""
    pairs = [(name, key) for name, stream in run.streams.items() for key in sorted(stream.keys)]
    return [p for p in pairs if (p in known if known else p[0] == "primary")]


def _letter_finding(letter: Letter, row: RunAudit) -> Finding:
    return Finding(
        "dead-letter", "none that is not settled", f"{letter.kind}: {letter.reason}", "info",
        run_uid=row.run_uid, result_uid=row.result_uid, analysis=row.analysis, stream=letter.stream or "",
        seq_num=min(letter.seq_nums, default=None), last_seq_num=max(letter.seq_nums, default=None),
        positions=(letter.name,),
    )  # fmt: skip


def _begin_s(run: RawRun | None) -> float:
    time_s = run.facts.get("time") if run is not None else None
    return float(time_s) if isinstance(time_s, int | float) else 0.0
