"""``streamproc results``: the numbers of a run, one row per point."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamproc.errors import ConfigurationError

if TYPE_CHECKING:
    from streamproc.export import ResultTable

__all__ = ["results_command"]

_FORMS = ("csv", "parquet", "xarray", "nexus")


@click.command("results")
@click.option(
    "--run", "run_uid", metavar="UID",
    help="Uid (or its first six characters) of the raw or result run, a scan number, or -1: the newest. Not "
    "needed where the source has one run.",
)  # fmt: skip
@click.option(
    "--source", metavar="WHERE",
    help="Settings file (.toml: its results topic), a .jsonl or .msgpack file of documents or a folder of "
    "them, tiled (the catalog of the settings) or the address of a Tiled catalog. Default: the topic that "
    "--config and its like name.",
)  # fmt: skip
@click.option("--to", "form", type=click.Choice(_FORMS), default="csv", show_default=True, help="Written as.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="File; csv: default standard output."
)
@click.option("--analysis", metavar="NAME", help="Where several analyses answered the run.")
@click.option(
    "--model", metavar="MODEL", help="Where several models did: NAME, NAME:VERSION or its hash's beginning."
)
@click.option(
    "--stream", default="primary", show_default=True, help="primary: the points; others: of the whole run."
)
@click.option("--config", "-c", type=click.Path(path_type=Path), help="Settings file (TOML).")
@click.option("--bootstrap", metavar="HOST:PORT", help="Broker; overrides the file.")
@click.option("--beamline", metavar="NAME", help="Short name that begins every topic; overrides the file.")
@click.option(
    "--api-key-env", default="TILED_API_KEY", show_default=True, metavar="NAME",
    help="Environment variable with the key of the Tiled server.",
)  # fmt: skip
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=0, min_open=True), default=600.0, show_default=True,
    metavar="SECONDS", help="Deadline for reading the topic.",
)  # fmt: skip
def results_command(
    run_uid: str | None, source: str | None, form: str, out: Path | None, analysis: str | None,
    model: str | None, stream: str, config: Path | None, bootstrap: str | None, beamline: str | None,
    api_key_env: str, timeout_s: float,
) -> int:  # fmt: skip
    """Get numbers out: one row per point with motors, values, uncertainties, flags and provenance.

    Rows are in the order of seq_num, each point once; late results of supplementary runs are merged in. The
    run may still be going on. csv: standard output, comment lines with provenance, ledger and units, then the
    names; parquet; xarray: a netCDF file; nexus: an HDF5 file with NXdata and NXprocess.

    \b
    Examples:
      streamproc results --run 3f2a91 --config beamline.toml > points.csv
      streamproc results --run 412 --source http://tiled.example:8000 --to xarray --out 412.nc
      streamproc results --source results.jsonl --to nexus --out 412.nxs

    Exit codes: 0 written, 2 no such run (or several: they are listed), or the source cannot be read.
    """
    from streamproc.cli.wiring import settings_of
    from streamproc.export import read_table

    if form != "csv" and out is None:
        raise ConfigurationError(f"--to {form} writes a file: name it with --out FILE")
    where: Any = source if source is not None else settings_of(config, bootstrap, beamline)
    if source == "tiled":
        settings = settings_of(config, bootstrap, beamline)
        where, api_key_env = settings.tiled_catalog(), settings.tiled.api_key_env
    table = read_table(
        where, run_uid, analysis=analysis, model=model, stream=stream,
        api_key=os.environ.get(api_key_env), timeout_s=timeout_s,
    )  # fmt: skip
    write_table(table, form, out)
    for note in table.notes:
        click.echo(f"note: {note}", err=True)
    if out is not None:
        click.echo(f"{len(table)} points of result run {table.starts[0]['uid']} in {out}", err=True)
    return 0


def write_table(table: ResultTable, form: str, out: Path | None) -> None:
    """Write a table in one of the forms; a file appears whole or not at all.

    Raises
    ------
    ConfigurationError
        The file cannot be written.
    """
    if out is None:
        from streamproc.export.csvfile import write_csv

        write_csv(table, sys.stdout)
        return
    part = out.with_name(f".{out.name}.part")
    try:
        _write_file(table, form, part)
        part.replace(out)
    except OSError as error:
        raise ConfigurationError(f"{out}: cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def _write_file(table: ResultTable, form: str, path: Path) -> None:
    if form == "parquet":
        from streamproc.export.columnar import write_parquet

        write_parquet(table, path)
    elif form == "xarray":
        from streamproc.export.dataset import write_netcdf

        write_netcdf(table, path)
    elif form == "nexus":
        from streamproc.export.nexus import write_nexus

        write_nexus(table, path)
    else:
        from streamproc.export.csvfile import write_csv

        with path.open("w", encoding="utf-8", newline="") as file:
            write_csv(table, file)
