"""ResultRun: composes the documents of one result run, from start to stop.

Nothing here reads a clock or draws a random number: every uid is a uuid5 of what determines it and
every time is copied from the raw run (``docs/decisions/0001-shape.md``, DESIGN decisions 5 and 6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamproc.analysis import FrameResult, Output, Provenance
from streamproc.ledger import Ledger
from streamproc.results.motors import copied_readings, copied_value, raw_dimensions, safe_key
from streamproc.results.outputs import COMMON, event_data, expand_outputs
from streamproc.results.uids import document_uid, result_run_uid
from streamproc.runs import Run

__all__ = ["NamedDocument", "ResultRun"]

NamedDocument = tuple[str, dict[str, Any]]

_COPIED = (
    "scan_id", "sample", "sample_name", "data_session", "data_groups", "cycle", "group", "owner", "project",
    "proposal_id", "plan_name", "plan_type", "plan_args", "num_points", "num_intervals", "shape", "extents",
    "snaking", "tiled_access_tags",
)  # fmt: skip


class ResultRun:
    """Composes the documents of one result run.

    Parameters
    ----------
    run : Run
        The raw run as known when its first frame came.
    stream : str
        The raw stream that is analysed.
    provenance : Provenance
        What, with the raw run, determines the numbers.
    outputs, run_outputs
        As the analysis declares them.
    key : str
        The data key that is analysed; empty when none was chosen.
    uid : str, optional
        Another uid than that of the result run (a supplementary run's).
    """

    def __init__(
        self,
        run: Run,
        stream: str,
        provenance: Provenance,
        outputs: Sequence[Output],
        run_outputs: Mapping[str, Sequence[Output]],
        key: str = "",
        *,
        uid: str | None = None,
    ) -> None:
        self._stream, self._key = stream, key
        self.uid = uid or result_run_uid(run.uid, provenance)
        self.provenance = provenance
        self._raw_uid = run.uid
        self._source = safe_key(provenance.analysis.replace("-", "_"))
        self._outputs = {"primary": (*outputs, *COMMON), **{k: tuple(v) for k, v in run_outputs.items()}}
        self._motors = copied_readings(run, stream)
        self._num_events: dict[str, int] = {}
        self._time_s = float(run.start.get("time", 0.0))
        self._described: set[str] = set()

    def start(self, run: Run) -> NamedDocument:
        """Compose the start document."""
        raw = run.start
        doc: dict[str, Any] = {"uid": self.uid, "time": self._time_s, "original_run_uid": run.uid}
        doc.update({k: raw[k] for k in _COPIED if k in raw})
        # BestEffortCallback looks these up without a default.
        doc.setdefault("plan_name", "unknown")
        doc.setdefault("plan_type", "generator")
        if "motors" in raw:
            doc["motors"] = raw["motors"]
        doc["hints"] = {"dimensions": self._dimensions(raw)}
        p = self.provenance
        doc["streamproc"] = {
            "analysis": p.analysis,
            "analysis_version": p.version,
            "model_sha256": p.model_sha256,
            "settings_sha256": p.settings_sha256,
            "calibration_sha256": p.calibration_sha256,
            "stream": self._stream,
            "key": self._key,
            "raw_start_known": run.complete_start,
            **p.details,
        }
        return "start", doc

    def event(
        self, result: FrameResult, time_s: float, readings: Mapping[str, Any], timestamps: Mapping[str, float]
    ) -> list[NamedDocument]:
        """Compose the event of one frame, preceded by the stream's descriptor the first time."""
        values = {
            **result.values,
            "in_domain": result.in_domain,
            "reasons": "; ".join(result.reasons),
            "model": result.model_id,
        }
        data = event_data(self._outputs["primary"], values)
        stamps = dict.fromkeys(data, time_s)
        for raw_key, (key, data_key) in self._motors.items():
            data[key] = copied_value(readings.get(raw_key), data_key)
            stamps[key] = float(timestamps.get(raw_key, time_s))
        return self._event("primary", result.seq_num, data, stamps, time_s)

    def run_event(
        self, stream: str, values: Mapping[str, Any], seq_num: int | None = None
    ) -> list[NamedDocument]:
        """Compose an event of a per-run stream (time: that of the newest frame)."""
        data = event_data(self._outputs[stream], values)
        number = seq_num or self._num_events.get(stream, 0) + 1
        return self._event(stream, number, data, dict.fromkeys(data, self._time_s), self._time_s)

    def stop(self, run: Run, ledger: Ledger, reason: str) -> NamedDocument:
        """Compose the stop document: the ledger, and an exit status that follows it."""
        counts = ledger.counts
        raw_status = (run.stop or {}).get("exit_status", "abort")
        status = "fail" if counts["failed"] else ("success" if raw_status == "success" else "abort")
        doc: dict[str, Any] = {
            "uid": document_uid(self.uid, "stop"),
            "run_start": self.uid,
            "time": float((run.stop or {}).get("time", self._time_s)),
            "exit_status": status,
            "reason": reason,
            "num_events": dict(self._num_events),
            "ledger": {"primary": ledger.summary()},
        }
        return "stop", doc

    def to_state(self) -> dict[str, Any]:
        """Return what a restart needs to go on composing the same documents."""
        return {
            "uid": self.uid, "key": self._key, "num_events": self._num_events, "time_s": self._time_s,
            "described": sorted(self._described),
            "motors": {k: [a, b] for k, (a, b) in self._motors.items()},
        }  # fmt: skip

    def restore_state(self, state: Mapping[str, Any]) -> None:
        """Take up a state that :meth:`to_state` gave; the run keeps its uid, whatever model goes on."""
        self.uid, self._key = state["uid"], state["key"]
        self._num_events = dict(state["num_events"])
        self._time_s = float(state["time_s"])
        self._described = set(state["described"])
        self._motors = {k: (a, b) for k, (a, b) in state["motors"].items()}

    def _event(
        self, stream: str, seq_num: int, data: dict[str, Any], stamps: dict[str, float], time_s: float
    ) -> list[NamedDocument]:
        documents: list[NamedDocument] = []
        descriptor_uid = document_uid(self.uid, "descriptor", stream)
        if stream not in self._described:
            self._described.add(stream)
            documents.append(self._descriptor(stream, descriptor_uid, time_s))
        self._time_s = max(self._time_s, time_s)
        self._num_events[stream] = self._num_events.get(stream, 0) + 1
        doc = {
            "uid": document_uid(self.uid, stream, str(seq_num)),
            "descriptor": descriptor_uid,
            "seq_num": seq_num,
            "time": time_s,
            "data": data,
            "timestamps": stamps,
            "filled": {},
        }
        documents.append(("event", doc))
        return documents

    def _descriptor(self, stream: str, uid: str, time_s: float) -> NamedDocument:
        outputs = self._outputs[stream]
        keys = expand_outputs(outputs, self._source)
        objects = {self._source: list(keys)}
        hints = {self._source: {"fields": [o.name for o in outputs if o.hinted]}}
        if stream == "primary":
            for key, data_key in self._motors.values():
                keys[key] = data_key
                owner = str(data_key.get("object_name", key))
                objects.setdefault(owner, []).append(key)
                hints.setdefault(owner, {"fields": []})["fields"].append(key)
        doc = {
            "uid": uid,
            "run_start": self.uid,
            "name": stream,
            "time": time_s,
            "data_keys": keys,
            "object_keys": objects,
            "configuration": {o: {"data": {}, "timestamps": {}, "data_keys": {}} for o in objects},
            "hints": hints,
        }
        return "descriptor", doc

    def _dimensions(self, raw: Mapping[str, Any]) -> list[Any]:
        """Copy the raw dimensions whose motors are copied; plots of the result run then have their axes."""
        kept = []
        for dimension in raw_dimensions(raw):
            fields = [self._motors[f][0] for f in dimension if f in self._motors]
            if fields:
                kept.append([fields, "primary"])
        return kept or [[["time"], "primary"]]
