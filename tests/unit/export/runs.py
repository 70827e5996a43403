"""Result documents made by the service itself, with a small analysis, for the export tests."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from streamproc.analysis import Estimate, FrameResult, Output, Provenance
from streamproc.documents import Position
from streamproc.ledger import Ledger
from streamproc.results import ResultRun, supplement_uid
from streamproc.runs import Run

OUTPUTS = (
    Output("share", "estimate", "1", "share of it", interval=True, hinted=True),
    Output("rwp", "number", "1", "residual"),
    Output("pattern", "curve", "1", "as read", (4,)),
)
RUN_OUTPUTS = {"summary": (Output("points", "number", ""),)}


class Hashes:
    """Provenance of two models of one analysis."""

    a: ClassVar = Provenance("phase-map", "1", "a" * 64, "s" * 64, "c" * 64, {"model": "qpa:1@aaaaaaaaaaaa"})
    b: ClassVar = Provenance("phase-map", "1", "b" * 64, "s" * 64, "c" * 64, {"model": "qpa:2@bbbbbbbbbbbb"})


class Whole:
    """A run's documents as a store takes them."""

    def __init__(self, documents):
        self.documents = list(documents)
        self.start, self.stop = self.documents[0][1], self.documents[-1][1]

    def __iter__(self):
        return iter(self.documents)


def raw_run(uid="raw-run-0001", scan_id=412, **extra):
    start = {
        "uid": uid, "time": 1.7e9, "scan_id": scan_id, "plan_name": "scan", "plan_type": "generator",
        "motors": ["x"], "hints": {"dimensions": [[["x"], "primary"]]}, "sample": "ore, 3", **extra,
    }  # fmt: skip
    run = Run(uid=uid, start=start, first_position=Position("t", 0, 0))
    run.descriptors["d"] = {
        "uid": "d", "name": "primary", "run_start": uid, "time": 1.7e9,
        "data_keys": {
            "x": {"source": "SIM", "dtype": "number", "shape": [], "units": "mm", "object_name": "x"},
            "det": {"source": "SIM", "dtype": "array", "shape": [4, 4], "object_name": "det"},
        },
        "object_keys": {"x": ["x"], "det": ["det"]},
        "hints": {"x": {"fields": ["x"]}},
    }  # fmt: skip
    run.stop = {"exit_status": "success", "time": 1.7e9 + 100}
    return run


def answer(seq_num, model="qpa:1@aaaaaaaaaaaa", offset=0.0, sigma=0.01, in_domain=True):
    value = 0.1 * seq_num + offset if in_domain else float("nan")
    estimate = Estimate(value, sigma, in_domain, "m", (value - 0.02, value + 0.02))
    values = {"share": estimate, "rwp": 0.1 + 1e-17, "pattern": np.arange(4.0) * seq_num}
    reasons = () if in_domain else ('unlike "training", # 7',)
    return FrameResult(seq_num, values, in_domain, reasons, model)


def result_documents(
    run=None,
    seq_nums=(1, 2, 3),
    failed=(),
    provenance=Hashes.a,
    stop=True,
    answers=None,
    uid=None,
    supplements=None,
):
    """Return the documents of one result run."""
    run = run or raw_run()
    result = ResultRun(run, "primary", provenance, OUTPUTS, RUN_OUTPUTS, "det", uid=uid)
    ledger = Ledger()
    name, start = result.start(run)
    made = [(name, {**start, "supplements": supplements} if supplements else start)]
    for n in sorted({*seq_nums, *failed}):
        ledger.expect(n)
        if n in failed:
            ledger.failed(n, "file cut off")
            continue
        given = (answers or {}).get(n) or answer(n)
        made += result.event(given, 1.7e9 + n, {"x": n / 3}, {"x": 1.7e9 + n - 0.5})
        ledger.done(n)
    if stop:
        if not supplements and seq_nums:
            made += result.run_event("summary", {"points": float(len(seq_nums))})
        made.append(result.stop(run, ledger, ""))
    return made


def late_documents(first, seq_nums, run=None):
    """Return the documents of a supplementary run."""
    uid = first[0][1]["uid"]
    return result_documents(run, seq_nums, uid=supplement_uid(uid, "t/0@9"), supplements=uid)
