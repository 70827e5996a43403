"""Readers: one file per storage form, chosen by mimetype or spec."""

from streamproc.frames.readers.dispatch import FrameReader

__all__ = ["FrameReader"]
