"""What is said of a whole table: provenance, ledger and notes, as text or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from streamproc.export.table import ResultTable

__all__ = ["attributes", "ledger_lines", "provenance"]

_HASHES = ("model_sha256", "settings_sha256", "calibration_sha256")
_ABOUT = ("analysis", "analysis_version", "model", *_HASHES)
_RAW = ("scan_id", "sample", "sample_name", "plan_name", "data_session", "cycle", "proposal_id")


def provenance(start: Mapping[str, Any]) -> dict[str, str]:
    """Return what, with the raw run, determined the numbers of a result run."""
    about = start.get("streamproc")
    table = about if isinstance(about, Mapping) else {}
    found = {"result_uid": str(start["uid"])}
    found.update({k: str(table[k]) for k in _ABOUT if table.get(k)})
    if start.get("supplements"):
        found["supplements"] = str(start["supplements"])
    if table.get("shadow") is True:
        found["shadow"] = "true"
    return found


def attributes(table: ResultTable) -> dict[str, str | int]:
    """Return everything about a table as texts and whole numbers, which any file format takes.

    ``provenance`` (one entry per result run, by uid), ``start`` and ``ledger`` are JSON.
    """
    first = table.starts[0]
    found: dict[str, str | int] = {"raw_uid": str(first.get("original_run_uid", ""))}
    found.update(provenance(first))
    for key in _RAW:
        if first.get(key) is not None:
            value = first[key]
            found[key] = value if isinstance(value, str | int) else _json(value)
    found["models"] = "; ".join(_models(table))
    found["finished"] = int(table.finished)
    ledger = table.ledger
    found.update({f"ledger_{k}": int(ledger[k]) for k in _COUNTS if k in ledger})
    found["ledger"] = _json(ledger)
    found["provenance"] = _json([provenance(start) for start in table.starts])
    found["start"] = _json(first)
    found["stream"] = table.stream
    found["notes"] = "; ".join(table.notes)
    return found


_COUNTS = ("expected", "done", "failed", "dropped", "late")


def ledger_lines(table: ResultTable) -> Iterator[str]:
    """Yield the ledger for people: counts, then each reason with its first readings."""
    ledger = table.ledger
    if not ledger:
        yield "ledger: none yet"
        return
    yield "ledger: " + ", ".join(f"{k} {ledger[k]}" for k in _COUNTS if k in ledger)
    for outcome in ("failed", "dropped"):
        for row in ledger.get(f"{outcome}_reasons", ()):
            numbers = list(row.get("first_seq_nums", ()))
            more = ", ..." if row.get("count", 0) > len(numbers) else ""
            named = ", ".join(map(str, numbers))
            yield f"{outcome} {row.get('count')}: {row.get('reason')} (seq_num {named}{more})"


def _models(table: ResultTable) -> list[str]:
    """Return the models that made the numbers, in the order they came."""
    if "model" not in table.names:
        return []
    return list(dict.fromkeys(str(m) for m in table["model"].values))


def _json(value: Any) -> str:
    return json.dumps(value, default=lambda v: v.tolist() if hasattr(v, "tolist") else str(v))
