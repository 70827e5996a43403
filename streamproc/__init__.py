"""streamproc: an answer while the scan is still running, one that says how far to trust it."""

__version__ = "0.1.0"
