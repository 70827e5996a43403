"""Parquet and Arrow: typed columns with their units, for large runs and for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamproc.export.facts import attributes
from streamproc.export.need import needed
from streamproc.export.table import Column, ResultTable

if TYPE_CHECKING:
    import pyarrow

__all__ = ["to_arrow", "write_parquet"]


def to_arrow(table: ResultTable) -> pyarrow.Table:
    """Return the table for Arrow: units, description and role in the metadata of each field.

    The schema's metadata has everything about the run, each value under a key that begins ``streamproc.``.
    """
    pa = needed("pyarrow", "parquet")
    fields, arrays = [], []
    for column in table.columns:
        array = _array(pa, column)
        meta = {
            "units": column.units,
            "description": column.description,
            "kind": column.kind,
            "of": column.of,
        }
        fields.append(pa.field(column.name, array.type, metadata={k: v for k, v in meta.items() if v}))
        arrays.append(array)
    about = {f"streamproc.{k}": str(v) for k, v in attributes(table).items()}
    return pa.table(arrays, schema=pa.schema(fields, metadata=about))


def write_parquet(table: ResultTable, path: Path) -> None:
    """Write a table as one Parquet file."""
    needed("pyarrow", "parquet")
    from pyarrow import parquet

    parquet.write_table(to_arrow(table), path)


def _array(pa: Any, column: Column) -> Any:
    values = column.values
    if column.kind == "curve":
        flat = pa.array(values.reshape(-1))
        for size in reversed(values.shape[1:]):
            flat = pa.FixedSizeListArray.from_arrays(flat, size)
        return flat
    if values.dtype == object:
        return pa.array(values.tolist(), pa.string())
    return pa.array(values)
