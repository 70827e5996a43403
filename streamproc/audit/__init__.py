"""Completeness made visible: raw documents held against result documents, one by one."""

from streamproc.audit.compare import Audit, audit_runs
from streamproc.audit.findings import KINDS, Finding, Findings
from streamproc.audit.published import PublishedRun, ResultIndex, StartEntry
from streamproc.audit.raw import RawRun
from streamproc.audit.report import AuditReport, RunAudit

__all__ = [
    "KINDS",
    "Audit",
    "AuditReport",
    "Finding",
    "Findings",
    "PublishedRun",
    "RawRun",
    "ResultIndex",
    "RunAudit",
    "StartEntry",
    "audit_runs",
]
