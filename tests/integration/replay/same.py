"""Documents as bytes that do not depend on the order of keys, which SQL catalogs may change."""

from __future__ import annotations

from streamproc.transports.codec import encode


def canonical(named):
    """Return (name, doc) in bytes, its keys in order."""
    return encode(named[0], _ordered(named[1]))


def _ordered(value):
    if isinstance(value, dict):
        return {k: _ordered(value[k]) for k in sorted(value)}
    return [_ordered(v) for v in value] if isinstance(value, list | tuple) else value
