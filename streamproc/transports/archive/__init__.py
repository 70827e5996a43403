"""Archives: stores of past runs, each behind the same small Protocol."""

from streamproc.transports.archive.ports import Archive, FramePlaces, NamedDocument, Query, RunRef

__all__ = ["Archive", "FramePlaces", "NamedDocument", "Query", "RunRef"]
