"""CSV: what a spreadsheet, pandas and a text editor all open."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import IO, Any

from streamproc.export.choice import describe_start
from streamproc.export.facts import attributes, ledger_lines, provenance
from streamproc.export.table import Column, ResultTable

__all__ = ["write_csv"]


def write_csv(table: ResultTable, out: IO[str]) -> None:
    """Write a table: comment lines (``#``) with provenance, ledger and units, the names, a row per point.

    Numbers keep every digit, texts are quoted, ``nan`` is what the model did not say. Curves are left out and
    named in a comment. ``pandas.read_csv(file, comment="#")`` reads it.
    """
    for line in _heading(table):
        out.write(f"# {line}".replace("\n", " ") + "\n")
    columns = [c for c in table.columns if c.kind != "curve"]
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    out.write("# units: " + ",".join(c.units for c in columns) + "\n")
    writer.writerow([c.name for c in columns])
    cells = [_cells(c) for c in columns]
    for row in zip(*cells, strict=True):
        writer.writerow(row)


def _heading(table: ResultTable) -> Iterator[str]:
    facts = attributes(table)
    about = [f"{k} {facts[k]}" for k in ("scan_id", "sample", "plan_name") if k in facts]
    yield f"raw run {facts['raw_uid']}" + (f" ({', '.join(about)})" if about else "")
    for start in table.starts:
        kind = "supplementary run" if start.get("supplements") else "result run"
        yield f"{kind} {describe_start(start)}"
        hashes = [f"{k} {v}" for k, v in provenance(start).items() if k.endswith("_sha256")]
        yield "  " + ", ".join(hashes)
    yield from ledger_lines(table)
    yield from (f"note: {note}" for note in table.notes)
    for column in table.columns:
        if column.kind == "curve":
            yield (
                f"left out: {column.name}, a curve of {column.values[0].size if len(table) else 0} values; "
                "parquet, xarray and nexus keep it"
            )


def _cells(column: Column) -> list[Any]:
    if column.values.dtype == bool:
        return [int(v) for v in column.values]
    return [v.item() if hasattr(v, "item") else v for v in column.values]
