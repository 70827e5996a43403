"""xarray and netCDF: values that know their uncertainty, unit and origin."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from streamproc.export.facts import attributes
from streamproc.export.need import needed
from streamproc.export.table import Column, ResultTable

if TYPE_CHECKING:
    import xarray

__all__ = ["to_dataset", "write_netcdf"]

_POINT = "seq_num"
_LONG_NAMES = {
    "sigma": "standard uncertainty of {}",
    "low": "lower end of the 90 % interval of {}",
    "high": "upper end of the 90 % interval of {}",
}


def to_dataset(table: ResultTable) -> xarray.Dataset:
    """Return a table as a Dataset over ``seq_num``; see :func:`streamproc.open_results`."""
    xr = needed("xarray", "xarray")
    links = _links(table)
    variables = {c.name: _variable(xr, c, links) for c in table.columns}
    coordinates = {
        c.name: variables.pop(c.name) for c in table.columns if c.kind in ("index", "time", "motor")
    }
    attrs: dict[str, Any] = {"Conventions": "CF-1.11", **attributes(table)}
    made: xarray.Dataset = xr.Dataset(variables, coordinates, attrs)
    return made


def write_netcdf(table: ResultTable, path: Path) -> None:
    """Write a table as netCDF 4 (HDF5)."""
    needed("h5netcdf", "xarray")
    dataset = to_dataset(table)
    encoding = {"time": {"units": "seconds since 1970-01-01", "dtype": "float64", "calendar": "standard"}}
    dataset.to_netcdf(path, engine="h5netcdf", encoding=encoding if "time" in dataset.coords else {})


def _links(table: ResultTable) -> dict[str, str]:
    """Return for each value the names of what belongs to it."""
    found: dict[str, list[str]] = {}
    for column in table.columns:
        if column.of:
            found.setdefault(column.of, []).append(column.name)
    flags = [n for n in ("in_domain", "reasons", "model") if n in table.names]
    return {of: " ".join([*names, *flags]) for of, names in found.items()}


def _variable(xr: Any, column: Column, links: dict[str, str]) -> Any:
    dims = (_POINT, *(f"{column.name}_{axis}" for axis in range(1, column.values.ndim)))
    attrs: dict[str, Any] = {}
    if column.kind == "time":
        stamps = (
            np.round(column.values * 1e9).astype("datetime64[ns]") if len(column.values) else column.values
        )
        values = np.asarray(stamps, "datetime64[ns]")
    else:
        values = column.values
        if column.units:
            attrs["units"] = column.units
    long_name = (
        _LONG_NAMES[column.kind].format(column.of) if column.kind in _LONG_NAMES else column.description
    )
    if long_name:
        attrs["long_name"] = long_name
    if column.name in links:
        attrs["ancillary_variables"] = links[column.name]
    return xr.Variable(dims, values, attrs)
