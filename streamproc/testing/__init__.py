"""Public helpers for tests: memory transports, a clock, makers of whole runs, a hostile corpus."""

from streamproc.testing.clock import FakeClock
from streamproc.testing.memory import Delivery, MemorySink, MemorySource, documents

__all__ = ["Delivery", "FakeClock", "MemorySink", "MemorySource", "documents"]
