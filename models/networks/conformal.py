"""Run a model file on held-out inputs, and conformal quantiles of what it gets wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["OnnxRunner", "conformal_quantile"]

Array = npt.NDArray[Any]


class OnnxRunner:
    """Runs a model file's bytes with onnxruntime (two threads)."""

    def __init__(self, data: bytes) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = 2
        self._session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def __call__(self, x: Array) -> dict[str, Array]:
        """Return every output by name."""
        names = [o.name for o in self._session.get_outputs()]
        parts = [self._session.run(names, {"x": x[i : i + 256]}) for i in range(0, len(x), 256)]
        return {name: np.concatenate([p[k] for p in parts]) for k, name in enumerate(names)}


def conformal_quantile(values: Array | Sequence[float], level: float) -> float:
    """Conformal quantile: the ceil((n + 1) level)-th smallest (Vovk, Gammerman & Shafer 2005)."""
    rank = min(len(values) - 1, int(np.ceil((len(values) + 1) * level)) - 1)
    return float(np.sort(values)[rank])
