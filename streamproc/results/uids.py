"""Uids of result documents: a uuid5 of what determines each, so that they are the same every time."""

from __future__ import annotations

import uuid

from streamproc.analysis import Provenance

__all__ = ["document_uid", "result_run_uid", "supplement_uid"]

_NAMESPACE = uuid.UUID("6f1f2c1e-52a5-5c1b-9d1c-0d1a3c9f7b10")


def _uid(*parts: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, "\n".join(parts)))


def result_run_uid(raw_run_uid: str, provenance: Provenance) -> str:
    """Return the result run's uid: a uuid5 of raw run, analysis, version and the three hashes.

    A shadow's (``details["shadow"]``) is another one: the same model may be the one at work later.
    """
    p = provenance
    shadow = ("shadow",) if p.details.get("shadow") is True else ()
    hashes = (p.model_sha256, p.settings_sha256, p.calibration_sha256)
    return _uid(raw_run_uid, p.analysis, p.version, *hashes, *shadow)


def document_uid(result_uid: str, *what: str) -> str:
    """Return the uid of a document of a result run.

    Parameters
    ----------
    result_uid : str
        Uid of the result run (of its start).
    *what : str
        ``"descriptor", stream`` or ``stream, str(seq_num)`` (an event) or ``"stop"``.
    """
    return _uid(result_uid, *what)


def supplement_uid(result_uid: str, position: str) -> str:
    """Return the uid of the run with late results that a message at ``position`` made possible."""
    return _uid(result_uid, "supplement", position)
