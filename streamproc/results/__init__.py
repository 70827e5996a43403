"""Result runs: one derived Bluesky run per raw run and analysis, the same bytes every time."""

from streamproc.results.marks import INTERRUPTED, REPLAYED, is_interrupted, is_shadow
from streamproc.results.motors import copied_readings, copied_value
from streamproc.results.outputs import expand_outputs
from streamproc.results.repeats import deduplicate
from streamproc.results.run import NamedDocument, ResultRun
from streamproc.results.uids import document_uid, result_run_uid, supplement_uid

__all__ = [
    "INTERRUPTED",
    "REPLAYED",
    "NamedDocument",
    "ResultRun",
    "copied_readings",
    "copied_value",
    "deduplicate",
    "document_uid",
    "expand_outputs",
    "is_interrupted",
    "is_shadow",
    "result_run_uid",
    "supplement_uid",
]
