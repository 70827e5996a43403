"""What can be wrong with a magnetic structure."""

from __future__ import annotations

from streamproc.models.excitations.mapmodel.errors import NotStable

__all__ = ["NotAMinimum"]


class NotAMinimum(NotStable):
    """The assumed order is not a minimum of the energy for these couplings: it has no spin waves."""
