"""Model latency: one onnxruntime session as the service uses it, batches of 1, 8 and 32, in turn in one run.

Also the classical cross-check that goes with each answer, so that the two can be weighed against each other.
A batch of 1 right after such a fit finds weights and code gone from the nearest caches: it stands apart.
Usage: python benchmarks/model.py [--model phase_qpa] [--rounds 200]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from streamproc.models.powder.fit import QuickFitter

from streamproc.inference.model import OnnxModel
from streamproc.inference.registry import find_model
from streamproc.settings import InferenceSettings

FIRST = "batch 1, after a fit"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="phase_qpa")
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    settings = InferenceSettings(max_batch=32)
    model = OnnxModel(find_model(arguments.model, settings), settings)
    with np.load(model.path.with_name("golden.npz")) as golden:
        x = np.ascontiguousarray(np.resize(golden["x"], (32, golden["x"].shape[1])), np.float32)
    axis = model.card.axis
    fitter = QuickFitter(model.card.reference, model.card.labels, axis.start, axis.stop, axis.n)
    rivals: dict[str, tuple[Callable[[], object], int]] = {
        FIRST: (lambda: model.run(x[:1]), 1),
        "batch 1": (lambda: model.run(x[:1]), 1),
        "batch 8": (lambda: model.run(x[:8]), 8),
        "batch 32": (lambda: model.run(x), 32),
        "classical fit": (lambda: fitter.fit(x[0]), 1),
    }
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(arguments.rounds):
        for name, (call, _size) in rivals.items():
            begin = time.perf_counter()
            call()
            times[name].append((time.perf_counter() - begin) * 1e3)
    print(f"{model.model_id}, 1 thread, {arguments.rounds} rounds in turn")
    print(f"{'':<22}{'median ms':>10}{'p99 ms':>10}{'us/pattern':>12}{'per pattern / batch 1':>23}")
    reference = float(np.median(times["batch 1"]))
    for name, (_, size) in rivals.items():
        median, p99 = np.median(times[name]), np.percentile(times[name], 99)
        each = median / size
        print(f"{name:<22}{median:>10.3f}{p99:>10.3f}{each * 1e3:>12.1f}{each / reference:>23.2f}")


if __name__ == "__main__":
    main()
