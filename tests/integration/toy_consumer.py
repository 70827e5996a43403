"""A small analysis in a file of its own: the mean of each frame, after a pause that a test chooses.

A frame with the mean ``deadly`` ends the process, as a library does that crashes on it.
"""

from __future__ import annotations

import os
import time
from typing import ClassVar

import numpy as np
from pydantic import BaseModel

from streamproc.analysis import Estimate, Example, FrameResult, Output, Provenance, RunResult


class ToySettings(BaseModel):
    base_dir: str = "."
    pause_s: float = 0.0
    deadly: float | None = None


class Toy:
    name: ClassVar[str] = "toy"
    version: ClassVar[str] = "1"
    Settings: ClassVar = ToySettings

    def __init__(self, settings):
        self.settings = settings

    @classmethod
    def load(cls, settings, context):
        return cls(settings)

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
        return next((k for k, v in keys.items() if len(v["shape"]) >= 2), None)

    def report(self, result):
        return {"mean": result.values["mean"].value}

    def begin(self, run):
        return ToyRun(self)


class ToyRun:
    def __init__(self, toy):
        self.provenance = toy.provenance()
        self._pause_s, self._total = toy.settings.pause_s, 0.0
        self._deadly = toy.settings.deadly

    def process(self, frames):
        time.sleep(self._pause_s * len(frames))
        means = [float(np.mean(f.array)) for f in frames]
        if self._deadly in means:
            os.abort()
        return [
            FrameResult(f.seq_num, {"mean": Estimate(m, m**0.5, True, "toy")}, True, (), "toy:1")
            for f, m in zip(frames, means, strict=True)
        ]

    def update(self, results):
        self._total += sum(r.values["mean"].value for r in results if isinstance(r, FrameResult))
        return []

    def end(self):
        return [RunResult("total", {"sum": self._total})]

    def snapshot(self):
        return {"total": self._total}

    def restore(self, state):
        self._total = state["total"]


ANALYSIS = Toy
