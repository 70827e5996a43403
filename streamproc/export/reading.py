"""read_table and open_results: from a source to the numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamproc.export.choice import choose
from streamproc.export.sources import open_source
from streamproc.export.table import ResultTable, build_table

if TYPE_CHECKING:
    import xarray

__all__ = ["open_results", "read_table"]


def read_table(
    source: Any,
    run: str | None = None,
    *,
    analysis: str | None = None,
    model: str | None = None,
    stream: str = "primary",
    api_key: str | None = None,
    timeout_s: float = 600.0,
) -> ResultTable:
    """Read the results of one run as plain columns; parameters as :func:`open_results` has them."""
    opened = open_source(source, run=run, api_key=api_key, timeout_s=timeout_s)
    choice = choose(opened.starts(), run, analysis=analysis, model=model, where=opened.name)
    return build_table(choice, opened.documents(choice.uids), stream)


def open_results(
    source: Any,
    run: str | None = None,
    *,
    analysis: str | None = None,
    model: str | None = None,
    stream: str = "primary",
    api_key: str | None = None,
    timeout_s: float = 600.0,
) -> xarray.Dataset:
    """Read the results of one run.

    Parameters
    ----------
    source : str, Path, Settings, Tiled container or iterable of (name, doc)
        Where the results are: settings or their ``.toml`` file (the results topic), a ``.jsonl`` or
        ``.msgpack`` file of documents or a folder of them, the address of a Tiled catalog, a Tiled container,
        or the documents themselves.
    run : str, optional
        Uid (or its first six characters) of the raw or of the result run, a scan number, or ``-1`` for the
        newest. Not needed where there is only one.
    analysis, model : str, optional
        Where several result runs answer the raw run: name of the analysis; model as ``NAME``,
        ``NAME:VERSION`` or the beginning of its hash.
    stream : str
        ``primary``: one row per point. Others (``summary``, ...) hold what is said of the run as a whole.
    api_key : str, optional
        For a Tiled server; by default the environment variable ``TILED_API_KEY``.
    timeout_s : float
        Deadline for reading a topic (s).

    Returns
    -------
    xarray.Dataset
        Dimension ``seq_num``. Motors and ``time`` are coordinates. A value names its uncertainty, the ends of
        its 90 % interval and the in-domain flag in ``ancillary_variables`` (CF conventions); ``units`` are on
        everything. Attributes: uids, analysis, model and hashes, the ledger, what a reader must know.

    Raises
    ------
    ConfigurationError
        No such run, several that fit (they are listed), or the source cannot be read.
    """
    from streamproc.export.dataset import to_dataset

    table = read_table(
        source, run, analysis=analysis, model=model, stream=stream, api_key=api_key, timeout_s=timeout_s
    )
    return to_dataset(table)
