"""NeXus: an HDF5 file that NeXus viewers plot by themselves, with the process that made the numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from streamproc.export.facts import attributes, provenance
from streamproc.export.table import Column, ResultTable

__all__ = ["write_nexus"]


def write_nexus(table: ResultTable, path: Path) -> None:
    """Write a table as NeXus.

    ``/entry/data`` (NXdata): the hinted quantities over the motors, uncertainties as ``NAME_errors``;
    ``/entry/points`` (NXcollection): every column; ``/entry/process_1`` ... (NXprocess): program, model and
    hashes of each result run; ``/entry/ledger`` (NXcollection): what became of every reading.
    """
    facts = attributes(table)
    with h5py.File(path, "w") as file:
        _attributes(file, NX_class="NXroot", default="entry")
        entry = _group(file, "entry", "NXentry")
        first = table.starts[0]
        entry["title"] = f"{facts.get('analysis', 'results')} of scan {facts.get('scan_id', '?')}"
        entry["entry_identifier"], entry["collection_identifier"] = str(facts["raw_uid"]), str(first["uid"])
        if isinstance(first.get("time"), int | float) and math.isfinite(first["time"]):
            entry["start_time"] = datetime.fromtimestamp(first["time"], UTC).isoformat()
        if "sample" in facts:
            _group(entry, "sample", "NXsample")["name"] = str(facts["sample"])
        points = _group(entry, "points", "NXcollection")
        for column in table.columns:
            _dataset(points, column.name, column)
        _data(entry, table)
        for number, start in enumerate(table.starts, 1):
            _process(entry, number, start)
        _ledger(entry, table, facts)


def _data(entry: Any, table: ResultTable) -> None:
    """Write the plottable group: signals, their errors and axes."""
    shown = [c for c in table.columns if c.kind == "value" and c.hinted]
    shown = shown or [c for c in table.columns if c.kind == "value"]
    if not shown:
        return
    data = _group(entry, "data", "NXdata")
    motors = [c for c in table.columns if c.kind == "motor" and c.values.dtype == np.float64]
    axes: Sequence[Column] = motors if len(motors) == 1 else [table["seq_num"]]
    for column in (*shown, *motors, table["seq_num"]):
        _dataset(data, column.name, column)
    for column in table.columns:
        if column.kind == "sigma" and column.of in data:
            _dataset(data, f"{column.of}_errors", column)
    data.attrs["signal"] = shown[0].name
    if len(shown) > 1:
        data.attrs["auxiliary_signals"] = [c.name for c in shown[1:]]
    data.attrs["axes"] = [c.name for c in axes]
    for column in (*motors, table["seq_num"]):
        data.attrs[f"{column.name}_indices"] = 0
    entry.attrs["default"] = "data"


def _process(entry: Any, number: int, start: Mapping[str, Any]) -> None:
    process = _group(entry, f"process_{number}", "NXprocess")
    about = provenance(start)
    process["program"] = "streamproc"
    process["sequence_index"] = number
    if "analysis_version" in about:
        process["version"] = f"{about.get('analysis', '')} {about['analysis_version']}"
    note = _group(process, "parameters", "NXnote")
    for key, value in about.items():
        note[key] = value


def _ledger(entry: Any, table: ResultTable, facts: Mapping[str, Any]) -> None:
    ledger = _group(entry, "ledger", "NXcollection")
    for key, value in facts.items():
        if key.startswith("ledger_"):
            ledger[key.removeprefix("ledger_")] = int(value)
    ledger["complete"], ledger["finished"] = str(facts["ledger"]), table.finished
    ledger["notes"] = str(facts["notes"])


def _dataset(group: Any, name: str, column: Column) -> None:
    text = column.values.dtype == object
    values = column.values.astype(h5py.string_dtype()) if text else column.values
    made = group.create_dataset(name.replace("/", "_"), data=values)
    found = {"units": column.units, "long_name": column.description}
    _attributes(made, **{k: v for k, v in found.items() if v})


def _group(parent: Any, name: str, kind: str) -> Any:
    group = parent.create_group(name)
    _attributes(group, NX_class=kind)
    return group


def _attributes(node: Any, **values: str) -> None:
    for key, value in values.items():
        node.attrs[key] = value
