"""A small real analysis for service tests: mean counts of a frame, running total of a run."""

from __future__ import annotations

import threading
from typing import ClassVar

import numpy as np
from pydantic import BaseModel

from streamproc.analysis import (
    Estimate,
    Example,
    FrameFailure,
    FrameResult,
    Output,
    Provenance,
    RunResult,
)
from streamproc.errors import RunRefused
from streamproc.frames.paths import PathPolicy
from streamproc.frames.readers import FrameReader
from streamproc.observability.metrics import ServiceMetrics
from streamproc.runs import RunTracker
from streamproc.service import Service, ServiceParts
from streamproc.settings import load_settings
from streamproc.testing.memory import MemorySink, MemorySource, MemoryState
from streamproc.transports.codec import decode


class ToySettings(BaseModel):
    base_dir: str = "."


class Toy:
    name: ClassVar[str] = "toy"
    version: ClassVar[str] = "1"
    Settings: ClassVar = ToySettings

    def __init__(self, gate: threading.Event | None = None, fault=None, run_fault=None, end_fault=None):
        self.gate, self.fault, self.run_fault, self.end_fault = gate, fault, run_fault, end_fault

    @classmethod
    def load(cls, settings, context):
        return cls()

    @classmethod
    def example(cls, folder):
        return Example({}, None, [])

    def outputs(self):
        return (Output("mean", "estimate", "counts", hinted=True),)

    def run_outputs(self):
        return {"total": (Output("sum", "number", "counts"),)}

    def stream(self):
        return "primary"

    def provenance(self):
        return Provenance("toy", "1", "m", "s", "c")

    def frame_key(self, run):
        keys = run.stream_descriptors("primary")[-1]["data_keys"]
        fitting = [k for k, v in keys.items() if len(v["shape"]) >= 2]
        if len(fitting) > 1:
            raise RunRefused(f"more than one key fits: {', '.join(fitting)}")
        return fitting[0] if fitting else None

    def report(self, result):
        return {"mean": result.values["mean"].value}

    def begin(self, run):
        return ToyRun(self)


class ToyRun:
    def __init__(self, toy):
        self.provenance = toy.provenance()
        self.toy, self.total = toy, 0.0

    def process(self, frames):
        if self.toy.gate is not None:
            self.toy.gate.wait(10)
        return [self._one(f) for f in frames]

    def _one(self, frame):
        if self.toy.fault is not None and self.toy.fault(frame):
            raise ValueError(f"cannot digest {frame.seq_num}")
        mean = float(np.mean(frame.array))
        dark = 0.0 if frame.dark is None else float(np.mean(frame.dark))
        values = {"mean": Estimate(mean - dark, mean**0.5, True, "toy")}
        return FrameResult(frame.seq_num, values, True, (), "toy:1")

    def update(self, results):
        for r in results:
            if self.toy.run_fault is not None and self.toy.run_fault(r):
                raise ValueError(f"cannot add up {r.seq_num}")
            if not isinstance(r, FrameFailure):
                self.total += r.values["mean"].value
        return []

    def end(self):
        if self.toy.end_fault is not None:
            raise self.toy.end_fault
        return [RunResult("total", {"sum": self.total})]

    def snapshot(self):
        return {"total": self.total}

    def restore(self, state):
        self.total = state["total"]


class Bench:
    """A service on memory transports with everything at hand."""

    def __init__(
        self,
        messages,
        tmp_path=None,
        *,
        toy=None,
        batch_size=100,
        sink=None,
        source=None,
        before=(),
        committed=None,
        held=None,
        **overrides,
    ):
        base = {
            "frames": {
                "roots": [str(tmp_path)] if tmp_path else [],
                "wait_s": 0.5,
                "retry_interval_s": 0.005,
            },
            "service": {"poll_timeout_s": 0.01, "one_pass": True, "workers": 2},
        }
        for section, table in overrides.items():
            base[section] = {**base.get(section, {}), **table}
        self.settings = load_settings(None, base)
        self.source = source or MemorySource(messages, batch_size)
        self.sink = sink or MemorySink()
        self.metrics = ServiceMetrics("toy")
        roots = tuple(self.settings.frames.roots)
        self.parts = ServiceParts(
            source=self.source,
            sink=self.sink,
            analysis=toy or Toy(),
            state=MemoryState(self.settings.state_topic("toy"), *before, committed=committed, held=held),
            make_tracker=lambda: RunTracker(self.settings.runs.max_open, self.settings.runs.idle_timeout_s),
            reader=FrameReader(PathPolicy(roots, {}), max_frame_bytes=10**8),
            metrics=self.metrics,
        )
        self.service = Service(self.parts, self.settings)

    def run(self):
        self.service.run()
        return self

    def results(self, sink=None):
        topic = self.settings.topic("results")
        return [decode(m.value) for m in (sink or self.sink).on_topic(topic)]

    def wire(self):
        return [(m.key, bytes(m.value)) for m in self.sink.on_topic(self.settings.topic("results"))]

    def dead(self):
        return self.sink.on_topic(self.settings.topic("deadletters"))

    def ledgers(self):
        return [d["ledger"]["primary"] for n, d in self.results() if n == "stop"]
