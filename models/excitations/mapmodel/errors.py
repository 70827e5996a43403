"""What can be wrong with a model at some parameters."""

from __future__ import annotations

from streamproc.errors import ConfigurationError

__all__ = ["NotStable"]


class NotStable(ConfigurationError):
    """The order or the lattice that is assumed is no minimum of the energy: there is nothing to draw."""
