"""Lattice defects over one run: flags of good readings, sequential alarms, classical checks, a summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamproc.consumers._defect_checking import Asked, Checking, DefectChecker
from streamproc.consumers._defect_outputs import FLAGS, SUMMARY, alarm_said, evidence_text
from streamproc.consumers._defect_reader import DefectReader, Look
from streamproc.models.defects.evidence import reflections_of
from streamproc.models.defects.scan_alarms import Alarm, ScanAlarms

from streamproc.analysis import RunResult

__all__ = ["DefectRun"]

_COUNTS = ("readings", "bad", "out_of_domain", "judged", "flagged", "alarms")
_MOST_SENTENCES = 40


class DefectRun:
    """The ordered half for defects. A bad reading, or one out of domain, changes nothing but the counts.

    Parameters
    ----------
    reader : DefectReader
        Model, limits, names.
    checker : DefectChecker
        Does the classical checks.
    """

    def __init__(self, reader: DefectReader, checker: DefectChecker) -> None:
        self._reader, self._settings = reader, reader.settings
        self._alarms = ScanAlarms(reader.watched, reader.settings.alarm)
        self._checking = Checking(checker)
        self._counts = dict.fromkeys(_COUNTS, 0)
        self._up: list[str] = []
        self._sentences: list[str] = []

    def take(self, seq_num: int, look: Look, bad: bool, reasons: Sequence[str]) -> list[RunResult]:
        """Say what is known with one more reading.

        Parameters
        ----------
        seq_num : int
            Which.
        look : Look
            What the model says of it.
        bad : bool
            Whether its data are bad within the run.
        reasons : sequence of str
            Data flags that are up.
        """
        good = not bad and look.usable
        self._count(bad, good)
        if bad:
            self._note(seq_num, [r for r in reasons if r.startswith("bad-frame")])
        values = {name: (e.plain, e.plain_sigma) for name, e in look.estimates().items()}
        risen = self._alarms.take(seq_num, values, not bad)
        beyond = {**look.beyond, **(look.cake.beyond if look.cake is not None else {})}
        flagged = [name for name, up in beyond.items() if up and not bad]
        self._counts["flagged"] += bool(flagged)
        rings = look.cake.reasons if look.cake is not None else ()
        why = [r for r in reasons if r.startswith("bad-frame")] if bad else [*look.reasons, *rings]
        said = [self._flags(seq_num, look, bad, flagged, why), *self._risen(look, risen)]
        return [*said, *self._check(seq_num, look, good, flagged, risen)]

    def _count(self, bad: bool, good: bool) -> None:
        self._counts["readings"] += 1
        self._counts["bad" if bad else "judged" if good else "out_of_domain"] += 1

    def _note(self, seq_num: int, sentences: Sequence[str]) -> None:
        for sentence in sentences:
            if len(self._sentences) < _MOST_SENTENCES:
                self._sentences.append(f"reading {seq_num}: {sentence}")

    def _flags(
        self, seq_num: int, look: Look, bad: bool, flagged: Sequence[str], why: Sequence[str]
    ) -> RunResult:
        levels, raised = self._alarms.levels(), self._alarms.raised()
        values: dict[str, Any] = {"seq_num": float(seq_num), "defect_judged": look.usable and not bad}
        if self._reader.cake is not None:
            values["defect_cake_judged"] = look.cake is not None and look.cake.usable and not bad
        for name in self._settings.limits:
            values[f"defect_flag_{name}"] = name in flagged
        for name in self._reader.watched:
            values |= {f"defect_cusum_{name}": levels[name], f"defect_alarm_{name}": raised[name]}
        beyond = [f"defect: {name} beyond {self._settings.limits[name]:g}" for name in flagged]
        evidence = evidence_text({name: look.evidence[name] for name in flagged if name in look.evidence})
        return RunResult(FLAGS, values | {"defect_evidence": evidence, "reasons": "; ".join([*why, *beyond])})

    def _risen(self, look: Look, risen: Sequence[Alarm]) -> list[RunResult]:
        said = []
        for alarm in risen:
            evidence = evidence_text(self._evidence(look, alarm.quantity))
            rate = self._settings.frames_per_false_alarm
            of_pattern = alarm.quantity in self._reader.names or self._reader.cake is None
            model = self._reader.model if of_pattern else self._reader.cake.model
            said.append(alarm_said(alarm, look, rate, evidence, model.model_id))
            self._counts["alarms"] += 1
            self._note(alarm.seq_num, [f"alarm: {said[-1].values['said']}"])
        return said

    def _evidence(self, look: Look, quantity: str) -> Mapping[str, Any]:
        """Reflections that carry an alarm; those of a flag are known already."""
        if look.reading is None or quantity in look.evidence or quantity not in self._reader.names:
            return {quantity: look.evidence.get(quantity, ())}
        reader, values = self._reader, {name: e.value for name, e in look.reading.estimates.items()}
        return reflections_of(reader.axis, look.intensity, reader.reference, values, [quantity])

    def _check(
        self, seq_num: int, look: Look, good: bool, flagged: list[str], risen: Sequence[Alarm]
    ) -> list[RunResult]:
        """Ask for a classical check of every n-th good reading, and where a flag or an alarm rises."""
        if not good or look.reading is None:
            return []
        every = self._settings.cross_check_every
        new = [name for name in flagged if name not in self._up]
        self._up = flagged
        why = [f"flag: {name}" for name in new] + [f"alarm: {a.quantity}" for a in risen]
        if every and (seq_num - 1) % every == 0:
            why.append(f"every {every}")
        if not why:
            return []
        network = {name: e.value for name, e in look.reading.estimates.items()}
        return self._checking.ask(Asked(seq_num, "; ".join(why), look.intensity, network))

    def end(self) -> list[RunResult]:
        """Say the last check and the summary."""
        if not self._counts["readings"]:
            return []
        counts = {name: float(n) for name, n in self._counts.items()}
        said = "; ".join(self._sentences) or "no alarm and no bad reading"
        return [*self._checking.rest(), RunResult(SUMMARY, counts | {"said": said})]

    def snapshot(self) -> dict[str, Any]:
        """Return the state: numbers, strings, lists, bytes."""
        return {
            "counts": dict(self._counts), "up": list(self._up), "sentences": list(self._sentences),
            "alarms": self._alarms.snapshot(), "checking": self._checking.snapshot(),
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`snapshot` gave."""
        self._counts = {name: int(state["counts"][name]) for name in _COUNTS}
        self._up, self._sentences = list(state["up"]), list(state["sentences"])
        self._alarms.restore(state["alarms"])
        self._checking.restore(state["checking"])
