"""The diffraction experiment of the demo: a map of four minerals, answered by the phase map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from streamproc.dashboard.state import RunView
from streamproc.demo.calibration import write_calibration
from streamproc.demo.options import BEAMLINE, DemoOptions, service_config
from streamproc.demo.summary import read_truth, summarise, summary_lines

__all__ = ["Diffraction", "demo_config"]

_POINTS, _RATE_HZ = 49, 5.0

_TABLES = """\
[analysis.phase-map.reduction]
poni = "geometry.poni"
mask = "mask.tif"
dark = "dark.tif"
bins = 2000
range_min = 20.0
range_max = 100.0
"""


def demo_config(
    bootstrap: str, http_port: int, group_id: str, *, beamline: str = BEAMLINE, from_beginning: bool
) -> str:
    """Return the phase map's configuration (TOML) for a demo folder: what a beamline would write."""
    return service_config(
        bootstrap, http_port, group_id, _TABLES, beamline=beamline, from_beginning=from_beginning
    )


class Diffraction:
    """A map of a sample with an area detector; frames are stored in one of several ways."""

    analysis = "phase-map"

    def __init__(self, options: DemoOptions) -> None:
        self.points = _POINTS if options.points is None else options.points
        self.rate_Hz = _RATE_HZ if options.rate_Hz is None else options.rate_Hz
        self._storage = options.storage or "inline"

    def tables(self) -> str:
        """Return the phase map's tables."""
        return _TABLES

    def prepare(self, folder: Path) -> None:
        """Write geometry, mask and dark."""
        write_calibration(folder)

    def beamline(self) -> list[str]:
        """Return the mapping beamline with its points and storage."""
        return ["streamproc.demo.acquisition", "--points", str(self.points), "--storage", self._storage]

    def doing(self) -> str:
        """Say how many points, and how frames are stored."""
        return f"mapping {self.points} points, frames stored as {self._storage}"

    def summarise(self, run: RunView, folder: Path, elapsed_s: float) -> dict[str, Any]:
        """Compare weight fractions with the sample's."""
        truth = read_truth(folder / "truth.json")
        return summarise(run, truth, elapsed_s=elapsed_s, storage=self._storage)

    def lines(self, summary: dict[str, Any]) -> list[str]:
        """Return the summary for a reader."""
        return summary_lines(summary)
