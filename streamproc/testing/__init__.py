"""Public helpers for testing consumers and services: memory transports, a clock, run makers, a hostile corpus."""

from streamproc.testing.clock import FakeClock
from streamproc.testing.memory import Delivery, MemorySink, MemorySource, documents

__all__ = ["Delivery", "FakeClock", "MemorySink", "MemorySource", "documents"]
