"""CellConstants: another table of a plan's pixels, with the dark of the run made ready once."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.reduction.azimuthal import AzimuthalPlan
from streamproc.reduction.passes import Constants

__all__ = ["CellConstants"]


class CellConstants:
    """Constants of a table of one plan's pixels, without a dark of the run and with its newest one.

    Parameters
    ----------
    plan : AzimuthalPlan
        Says how a dark is made ready.
    plain : Constants
        The table, with the dark of the plan's correction.
    """

    def __init__(self, plan: AzimuthalPlan, plain: Constants) -> None:
        self._plan, self.plain = plan, plain
        self._newest: tuple[Any, Constants] | None = None

    def with_dark(self, dark: npt.NDArray[Any] | None) -> Constants:
        """Return the constants with the dark of a run; None: the plain ones.

        Only an array that nobody can write to is remembered.

        Raises
        ------
        FrameFailed
            As :meth:`~streamproc.reduction.correction.Correction.run_dark`.
        """
        if dark is None:
            return self.plain
        known = self._newest
        if known is not None and known[0] is dark:
            return known[1]
        cells = self.plain.with_dark(self._plan.correction.run_dark(np.asarray(dark), self._plan.shape))
        if not dark.flags.writeable:
            self._newest = (dark, cells)
        return cells
