"""Result runs: one derived Bluesky run per raw run and analysis, the same bytes every time.

Nothing here reads a clock or draws a random number: every uid is a uuid5 of what determines it and
every time is copied from the raw run (``docs/decisions/0001-shape.md``, DESIGN decisions 5 and 6).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from streamproc.analysis import Estimate, FrameResult, Output, Provenance
from streamproc.ledger import Ledger
from streamproc.runs import Run

__all__ = [
    "INTERRUPTED",
    "REPLAYED",
    "ResultRun",
    "copied_readings",
    "copied_value",
    "deduplicate",
    "document_uid",
    "expand_outputs",
    "is_interrupted",
    "is_shadow",
    "result_run_uid",
]

NamedDocument = tuple[str, dict[str, Any]]

INTERRUPTED = "interrupted"
"""Key of a stop that ends an interrupted replay; the whole run may come after it, from its start on."""
REPLAYED = "replayed"
"""Header of the messages of a replay: the same document may be in the topic already."""

_NAMESPACE = uuid.UUID("6f1f2c1e-52a5-5c1b-9d1c-0d1a3c9f7b10")
_COPIED = (
    "scan_id", "sample", "sample_name", "data_session", "data_groups", "cycle", "group", "owner", "project",
    "proposal_id", "plan_name", "plan_type", "plan_args", "num_points", "num_intervals", "shape", "extents",
    "snaking", "tiled_access_tags",
)  # fmt: skip


def _uid(*parts: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, "\n".join(parts)))


def result_run_uid(raw_run_uid: str, provenance: Provenance) -> str:
    """Return the result run's uid: a uuid5 of raw run, analysis, version and the three hashes.

    A shadow's (``details["shadow"]``) is another one: the same model may be the one at work later.
    """
    p = provenance
    shadow = ("shadow",) if p.details.get("shadow") is True else ()
    hashes = (p.model_sha256, p.settings_sha256, p.calibration_sha256)
    return _uid(raw_run_uid, p.analysis, p.version, *hashes, *shadow)


def is_shadow(start: Mapping[str, Any]) -> bool:
    """Tell whether a start document is that of a shadow model's result run: not to be acted upon."""
    about = start.get("streamproc")
    return isinstance(about, Mapping) and about.get("shadow") is True


def is_interrupted(stop: Mapping[str, Any]) -> bool:
    """Tell whether a stop is an interrupted replay's; the run's own stop, where there is one, counts."""
    return stop.get(INTERRUPTED) is True


def document_uid(result_uid: str, *what: str) -> str:
    """Return the uid of a document of a result run.

    Parameters
    ----------
    result_uid : str
        Uid of the result run (of its start).
    *what : str
        ``"descriptor", stream`` or ``stream, str(seq_num)`` (an event) or ``"stop"``.
    """
    return _uid(result_uid, *what)


def supplement_uid(result_uid: str, position: str) -> str:
    """Return the uid of the run with late results that a message at ``position`` made possible."""
    return _uid(result_uid, "supplement", position)


def expand_outputs(outputs: Sequence[Output], source: str) -> dict[str, dict[str, Any]]:
    """Return the event-model data keys of an analysis's outputs, with units and dtype."""
    keys: dict[str, dict[str, Any]] = {}
    for out in outputs:
        for name, description in _names(out):
            keys[name] = {"source": source, **_dtype(out), "units": out.units, "object_name": source}
            if description:
                keys[name]["description"] = description
    return keys


def _names(out: Output) -> list[tuple[str, str]]:
    names = [(out.name, out.description)]
    if out.kind == "estimate":
        names.append((f"{out.name}_sigma", f"standard uncertainty of {out.name}"))
        if out.interval:
            names.append((f"{out.name}_lo90", f"lower end of the 90 % interval of {out.name}"))
            names.append((f"{out.name}_hi90", f"upper end of the 90 % interval of {out.name}"))
    return names


def _dtype(out: Output) -> dict[str, Any]:
    if out.kind == "flag":
        return {"dtype": "boolean", "dtype_numpy": "|b1", "shape": []}
    if out.kind == "text":
        return {"dtype": "string", "dtype_numpy": "<U512", "shape": []}
    if out.kind == "curve":
        return {"dtype": "array", "dtype_numpy": "<f8", "shape": list(out.shape)}
    return {"dtype": "number", "dtype_numpy": "<f8", "shape": []}


def _values(outputs: Sequence[Output], values: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten the values of one result into event data, in the order of the declared outputs."""
    data: dict[str, Any] = {}
    for out in outputs:
        value = values[out.name]
        if out.kind == "estimate":
            if not isinstance(value, Estimate):
                raise TypeError(f"output {out.name!r} is declared an estimate, got {type(value).__name__}")
            data[out.name], data[f"{out.name}_sigma"] = float(value.value), float(value.sigma)
            if out.interval:
                low, high = value.interval90 or (float("nan"), float("nan"))
                data[f"{out.name}_lo90"], data[f"{out.name}_hi90"] = float(low), float(high)
        elif out.kind == "curve":
            data[out.name] = np.ascontiguousarray(value, dtype=np.float64)
        else:
            data[out.name] = {"flag": bool, "text": str, "number": float}[out.kind](value)
    return data


_COMMON = (
    Output("in_domain", "flag", description="the model may be believed for this reading"),
    Output("reasons", "text", description="why not, or what to look at; empty when all is well"),
    Output(
        "model", "text", description="name, version and hash of the model that made this reading's numbers"
    ),
)


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
        self._source = _safe_key(provenance.analysis.replace("-", "_"))
        self._outputs = {"primary": (*outputs, *_COMMON), **{k: tuple(v) for k, v in run_outputs.items()}}
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
        data = _values(self._outputs["primary"], values)
        stamps = dict.fromkeys(data, time_s)
        for raw_key, (key, data_key) in self._motors.items():
            data[key] = copied_value(readings.get(raw_key), data_key)
            stamps[key] = float(timestamps.get(raw_key, time_s))
        return self._event("primary", result.seq_num, data, stamps, time_s)

    def run_event(
        self, stream: str, values: Mapping[str, Any], seq_num: int | None = None
    ) -> list[NamedDocument]:
        """Compose an event of a per-run stream (time: that of the newest frame)."""
        data = _values(self._outputs[stream], values)
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
        for dimension in _raw_dimensions(raw):
            fields = [self._motors[f][0] for f in dimension if f in self._motors]
            if fields:
                kept.append([fields, "primary"])
        return kept or [[["time"], "primary"]]


def _raw_dimensions(start: Mapping[str, Any]) -> list[list[str]]:
    """Return the fields of each dimension hint, tolerating what is malformed."""
    hints = start.get("hints")
    found = hints.get("dimensions", []) if isinstance(hints, Mapping) else []
    dimensions: list[list[str]] = []
    for dimension in found if isinstance(found, list | tuple) else ():
        if isinstance(dimension, list | tuple) and dimension and isinstance(dimension[0], list | tuple):
            dimensions.append([f for f in dimension[0] if isinstance(f, str)])
    return dimensions


def copied_readings(run: Run, stream: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Choose the readings to copy: dimension fields and hinted fields of the plan's motors, scalars only.

    Returns
    -------
    dict
        Raw data key -> (data key in the result, its entry in the result's descriptor).
    """
    descriptors = run.stream_descriptors(stream)
    if not descriptors:
        return {}
    data_keys = descriptors[-1].get("data_keys", {})
    wanted: dict[str, None] = {f: None for d in _raw_dimensions(run.start) for f in d}
    motors = run.start.get("motors", ())
    objects = descriptors[-1].get("object_keys") or {}
    hints = descriptors[-1].get("hints") or {}
    for motor in motors if isinstance(motors, list | tuple) else ():
        hinted = (hints.get(motor) or {}).get("fields") or objects.get(motor, ())
        wanted.update(dict.fromkeys(hinted))
    chosen: dict[str, tuple[str, dict[str, Any]]] = {}
    for field in wanted:
        entry = data_keys.get(field)
        if isinstance(entry, Mapping) and not entry.get("external") and not entry.get("shape"):
            chosen[field] = (_safe_key(field), _motor_data_key(field, entry, objects))
    return chosen


def _motor_data_key(field: str, entry: Mapping[str, Any], objects: Mapping[str, Any]) -> dict[str, Any]:
    text = entry.get("dtype") == "string"
    owner = next((o for o, keys in objects.items() if field in keys), field)
    copied = {k: entry[k] for k in ("units", "precision") if entry.get(k) is not None}
    return {
        "source": f"copied from {entry.get('source', 'the raw run')}",
        "dtype": "string" if text else "number",
        "dtype_numpy": "<U128" if text else "<f8",
        "shape": [],
        "object_name": _safe_key(str(entry.get("object_name", owner))),
        **copied,
    }


def copied_value(value: Any, data_key: Mapping[str, Any]) -> float | str:
    """Return a raw reading as it stands in the result: text, or a number (NaN for what is none)."""
    if data_key["dtype"] == "string":
        return "" if value is None else str(value)
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _safe_key(key: str) -> str:
    """event-model refuses ``.`` and ``/`` in keys."""
    return key.replace(".", "_").replace("/", "_")


def deduplicate(
    documents: Iterable[NamedDocument], *, on_conflict: Callable[[str, Mapping[str, Any]], None] | None = None
) -> Iterable[NamedDocument]:
    """Yield each result document once, for readers of a topic written at least once.

    Parameters
    ----------
    documents : iterable of (name, doc)
        As read from the results topic. Repeats carry the same uid; the first is passed on.
    on_conflict : callable, optional
        Called with (name, doc) when a repeat's content differs from the first: that must never happen.
    """
    seen: dict[str, int] = {}
    for name, doc in documents:
        uid = str(doc.get("uid", ""))
        content = hash(_frozen(doc))
        if uid and uid in seen:
            if on_conflict is not None and seen[uid] != content:
                on_conflict(name, doc)
            continue
        seen[uid] = content
        yield name, doc


def _frozen(value: Any) -> Any:
    """Return a hashable picture of a document's content."""
    if isinstance(value, Mapping):
        return tuple((k, _frozen(v)) for k, v in sorted(value.items()))
    if isinstance(value, list | tuple):
        return tuple(_frozen(v) for v in value)
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    return repr(value)
