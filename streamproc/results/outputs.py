"""Declared outputs as event-model data keys, and the values of a result as event data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from streamproc.analysis import Estimate, Output

__all__ = ["COMMON", "event_data", "expand_outputs"]

COMMON = (
    Output("in_domain", "flag", description="the model may be believed for this reading"),
    Output("reasons", "text", description="why not, or what to look at; empty when all is well"),
    Output(
        "model", "text", description="name, version and hash of the model that made this reading's numbers"
    ),
)
"""What every result event says, whatever the analysis."""


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


def event_data(outputs: Sequence[Output], values: Mapping[str, Any]) -> dict[str, Any]:
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
