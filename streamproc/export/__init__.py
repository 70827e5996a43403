"""The numbers of a result run: as columns, CSV, Parquet, xarray or NeXus."""

from streamproc.export.choice import Choice, choose
from streamproc.export.reading import open_results, read_table
from streamproc.export.table import Column, ResultTable, build_table

__all__ = ["Choice", "Column", "ResultTable", "build_table", "choose", "open_results", "read_table"]
