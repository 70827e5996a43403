"""Messages for a service, as a transport gives them."""

from __future__ import annotations

from streamproc.documents import Document, Position
from streamproc.transports.codec import decode, encode


def as_read(pairs):
    """Documents with their bytes, as a transport gives them."""
    raws = [encode(*pair) for pair in pairs]
    return [Document(*decode(raw), Position("memory", 0, i), b"k", raw) for i, raw in enumerate(raws)]


def interleaved(runs, choose):
    """Return the documents of several runs, each in its order, mixed by chance."""
    runs, mixed = [list(r) for r in runs], []
    while any(runs):
        mixed.append(choose.choice([r for r in runs if r]).pop(0))
    return mixed
