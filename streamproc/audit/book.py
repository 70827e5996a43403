"""ResultBook: folds the results topic, run by run; what is wrong with a document in itself is found here."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from streamproc.analysis import Provenance
from streamproc.audit.findings import Finding, Findings
from streamproc.audit.published import Answer, PublishedRun, ResultIndex
from streamproc.audit.soundness import Soundness
from streamproc.documents import BadMessage, Document
from streamproc.errors import DocumentRefused
from streamproc.results import REPLAYED, document_uid, is_interrupted, result_run_uid
from streamproc.runs.seen import TooManyGaps
from streamproc.transports.codec import encode

__all__ = ["ResultBook"]

_COPIED = "copied from "


class ResultBook:
    """Takes the messages of the results topic in order.

    Parameters
    ----------
    findings : Findings
        Where differences go.
    index : ResultIndex
        Where every start goes, also of runs that are passed over.
    only : collection of str, optional
        Raw runs whose results are wanted; all by default.
    whole : bool
        Whether the topic is read from its very first message: an event of an unknown run is then a fault.
    repeats_allowed : bool
        Whether identical repeats are no fault (at-least-once delivery).
    """

    def __init__(
        self,
        findings: Findings,
        index: ResultIndex,
        only: Collection[str] | None = None,
        *,
        whole: bool = True,
        repeats_allowed: bool = False,
    ) -> None:
        self.runs: dict[str, PublishedRun] = {}
        self.index = index
        self.messages = self.foreign = 0
        self._findings, self._only, self._repeats_allowed = findings, only, repeats_allowed
        self._strict = whole and only is None
        self._owner: dict[str, PublishedRun] = {}
        self._soundness = Soundness()
        self._take = {
            "start": self._start, "descriptor": self._descriptor, "event": self._event, "stop": self._stop,
        }  # fmt: skip

    def feed(self, message: Document | BadMessage) -> None:
        """Take one message."""
        self.messages += 1
        if isinstance(message, BadMessage):
            got = f"a message that cannot be decoded: {message.reason}"
            self._findings.add(Finding("invalid", "a document", got, positions=(str(message.position),)))
        elif message.name not in self._take:
            self.foreign += 1
        elif (refusal := self._soundness.refusal(message.name, message.doc)) is not None:
            self._refuse(message, refusal)
        else:
            self._take[message.name](message)

    def _refuse(self, document: Document, why: str) -> None:
        """Note a document that nobody could use; it counts for nothing."""
        doc = document.doc
        run = self._owner.get(str(doc.get("descriptor"))) or self.runs.get(str(doc.get("run_start")))
        if run is not None:
            self._tell(run, document, "invalid", f"a valid {document.name}", why)
        elif self._strict:
            at = (str(document.position),)
            self._findings.add(Finding("invalid", f"a valid {document.name}", why, positions=at))

    # -- one document -----------------------------------------------------------------------------------

    def _start(self, document: Document) -> None:
        doc = document.doc
        entry = self.index.add(doc, document.published_s)
        if entry is None:
            self.foreign += 1
        elif self._only is None or entry.raw_uid in self._only:
            run = self._run(entry.uid)
            if self._repeated(run, document):
                return
            about = doc["streamproc"]
            run.started, run.raw_uid, run.analysis = True, entry.raw_uid, entry.analysis
            run.supplements, run.version = entry.supplements, str(about.get("analysis_version", ""))
            run.stream, run.key = str(about.get("stream", "primary")), str(about.get("key", ""))
            run.facts = {k: doc[k] for k in ("time", "scan_id") if k in doc}
            self._check_run_uid(run, document, about)
            self._examine(run, document)

    def _descriptor(self, document: Document) -> None:
        run, doc = self._named(document), document.doc
        if run is None or self._repeated(run, document):
            return
        stream, entries = doc["name"], doc["data_keys"]
        if stream in run.keys:
            self._second(run, document, f"one descriptor of stream {stream!r}")
        self._check_uid(run, document, "descriptor", stream)
        self._examine(run, document)
        run.streams[doc["uid"]], self._owner[doc["uid"]] = stream, run
        run.keys[stream] = frozenset(entries)
        if stream == "primary":
            run.copies = tuple(k for k, v in entries.items() if _is_copy(v))

    def _event(self, document: Document) -> None:
        descriptor, seq_num = document.doc["descriptor"], document.doc["seq_num"]
        run = self._owner.get(descriptor)
        if run is None:
            self._orphan(document, f"descriptor {descriptor!r}")
            return
        stream = run.streams.get(descriptor)
        if stream is None:
            stream = run.streams[descriptor] = "primary"  # the only one that is known without its descriptor
            self._tell(run, document, "no-descriptor", "a descriptor before the first event", "none")
        if self._repeated(run, document):
            return
        run.events[stream] += 1
        self._examine(run, document, run.keys.get(stream))
        self._check_uid(run, document, stream, str(seq_num))
        if stream == "primary":
            self._answer(run, document, seq_num)

    def _stop(self, document: Document) -> None:
        run = self._named(document)
        if run is None or self._repeated(run, document):
            return
        if is_interrupted(document.doc):
            self._examine(run, document)
            run.stop = run.stop if _got_further(run.stop, document.doc) else document.doc
            return
        if run.stop is not None and not is_interrupted(run.stop):
            self._second(run, document, "one stop")
            return
        self._check_uid(run, document, "stop")
        self._examine(run, document)
        run.stop = document.doc

    def _answer(self, run: PublishedRun, document: Document, seq_num: int) -> None:
        doc = document.doc
        data, stamps, time_s = doc["data"], doc["timestamps"], float(doc["time"])
        if seq_num in run.done:
            run.doubled.add(seq_num)
            self._tell(run, document, "doubled", "one event for each reading", "another with its own uid")
            return
        if run.newest is not None and seq_num < run.newest[0] and run.disordered is None:
            run.disordered = (run.newest[0], seq_num)
        try:
            run.done.add(seq_num)
        except TooManyGaps as error:
            self._tell(run, document, "invalid", "seq_nums of a run", str(error))
        copied = None if run.copies is None else {k: (data.get(k), stamps.get(k)) for k in run.copies}
        run.answers[seq_num] = Answer(time_s, copied, str(document.position))
        run.newest = (seq_num, time_s)
        run.in_domain += data.get("in_domain") is True
        run.models[str(data.get("model", ""))] += 1
        latency_ms = _latency_ms(document)
        if latency_ms is not None:
            run.latencies_ms.append(latency_ms)

    # -- which run --------------------------------------------------------------------------------------

    def _run(self, uid: str) -> PublishedRun:
        run = self.runs.get(uid)
        if run is None:
            run = self.runs[uid] = PublishedRun(uid)
            # Events whose descriptor went missing are still known for what they are.
            self._owner.setdefault(document_uid(uid, "descriptor", "primary"), run)
        return run

    def _named(self, document: Document) -> PublishedRun | None:
        uid = document.doc["run_start"]
        if uid not in self.runs and self._strict:
            self._tell(self._run(uid), document, "no-start", "a start before anything else", "none")
        return self.runs.get(uid)

    def _orphan(self, document: Document, what: str) -> None:
        self.foreign += 1
        if self._strict:
            at = (str(document.position),)
            self._findings.add(Finding("no-descriptor", what, "an event without it", positions=at))

    # -- what is wrong with one document ----------------------------------------------------------------

    def _repeated(self, run: PublishedRun, document: Document) -> bool:
        """Note a document; True when one with its uid was there before."""
        uid, content = str(document.doc.get("uid", "")), _content(document)
        if document.published_s is not None:
            run.published_s = max(run.published_s or 0.0, document.published_s)
        if uid not in run.seen:
            run.seen[uid] = (content, str(document.position))
            return False
        known, position = run.seen[uid]
        allowed = self._repeats_allowed or any(key == REPLAYED for key, _ in document.headers)
        kind = "conflict" if known != content else "repeated" if allowed else "doubled"
        seq_num = document.doc.get("seq_num")
        primary = run.streams.get(str(document.doc.get("descriptor", ""))) == "primary"
        if primary and kind != "repeated" and type(seq_num) is int:
            run.doubled.add(seq_num)
        got = "the same once more" if known == content else "another content the second time"
        severity = "info" if kind == "repeated" else "fault"
        self._tell(run, document, kind, f"{document.name} {uid} once", got, position, severity=severity)
        return True

    def _second(self, run: PublishedRun, document: Document, expected: str) -> None:
        self._tell(run, document, "second", expected, f"another one, {document.doc.get('uid')}")

    def _check_run_uid(self, run: PublishedRun, document: Document, about: Mapping[str, Any]) -> None:
        if run.supplements:
            return
        names = ("model_sha256", "settings_sha256", "calibration_sha256")
        model, settings, calibration = (str(about.get(name, "")) for name in names)
        details = {"shadow": about.get("shadow")}
        name = str(about.get("analysis", ""))
        provenance = Provenance(name, run.version, model, settings, calibration, details)
        expected = result_run_uid(run.raw_uid, provenance)
        if run.uid != expected:
            self._tell(run, document, "uid", f"start uid {expected}", run.uid)

    def _check_uid(self, run: PublishedRun, document: Document, *what: str) -> None:
        expected, got = document_uid(run.uid, *what), document.doc.get("uid")
        if got != expected:
            self._tell(run, document, "uid", f"{document.name} uid {expected}", str(got))

    def _examine(self, run: PublishedRun, document: Document, keys: Collection[str] | None = None) -> None:
        fault = self._soundness.fault(document.name, document.doc, keys)
        if fault is not None:
            self._tell(run, document, "invalid", f"a valid {document.name}", fault)

    def _tell(
        self,
        run: PublishedRun,
        document: Document,
        kind: str,
        expected: str,
        got: str,
        *more: str,
        **how: Any,
    ) -> None:
        seq_num = document.doc.get("seq_num")
        stream = run.streams.get(str(document.doc.get("descriptor", "")), "")
        self._findings.add(
            run.finding(
                kind, expected, got, stream=stream, seq_num=seq_num if type(seq_num) is int else None,
                positions=(*more, str(document.position)), **how,
            )
        )  # fmt: skip


def _content(document: Document) -> int:
    """Return a hash of the document's bytes: those that came, or would come over the wire."""
    if document.raw:
        return hash(document.raw)
    try:
        return hash(encode(document.name, document.doc))
    except DocumentRefused:
        return hash(repr(document.doc))


def _got_further(stop: Mapping[str, Any] | None, interrupted: Mapping[str, Any]) -> bool:
    """Tell whether a stop counts rather than one of an interrupted replay."""
    if stop is None:
        return False
    counts = [s.get("num_events") for s in (stop, interrupted)]
    events, others = (sum(c.values()) if isinstance(c, Mapping) else 0 for c in counts)
    return not is_interrupted(stop) or events >= others


def _is_copy(entry: Any) -> bool:
    return isinstance(entry, Mapping) and str(entry.get("source", "")).startswith(_COPIED)


def _latency_ms(document: Document) -> float | None:
    try:
        latency_ms = next((float(v) for k, v in document.headers if k == "latency_ms"), math.nan)
    except ValueError:
        return None
    return latency_ms if math.isfinite(latency_ms) else None
