"""What the demo is asked to do, and what an experiment brings to its stage."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from streamproc.dashboard.state import RunView
from streamproc.errors import ConfigurationError

__all__ = ["BEAMLINE", "DemoOptions", "Experiment", "service_config"]

BEAMLINE = "demo"
"""What the demo's topics begin with."""

_FRAME_WAIT_S = 15.0


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the demo is asked to do; see ``streamproc demo --help``. None: what the experiment has."""

    experiment: str = "diffraction"
    points: int | None = None
    storage: str | None = None
    rate_Hz: float | None = None
    seed: int = 0
    bootstrap: str | None = None
    keep: Path | None = None

    def for_events(self, points: int, rate_Hz: float, what: str) -> tuple[int, float]:
        """Return points and rate of an experiment whose data travel in the events.

        Parameters
        ----------
        points, rate_Hz
            Where nothing is asked for.
        what : str
            Its data, and what they are.

        Raises
        ------
        ConfigurationError
            A way of storing frames is asked for.
        """
        if self.storage is not None:
            raise ConfigurationError(
                f"--storage {self.storage}: it says how frames of an area detector travel; {what}"
            )
        return (
            points if self.points is None else self.points,
            rate_Hz if self.rate_Hz is None else self.rate_Hz,
        )


class Experiment(Protocol):
    """What one experiment of the demo adds to the stage.

    Attributes
    ----------
    analysis : str
        Analysis that the service runs.
    points : int
        Readings of the scan.
    rate_Hz : float
        Readings a second at most.
    """

    analysis: str
    points: int
    rate_Hz: float

    def tables(self) -> str:
        """Return the analysis's tables of the service's configuration (TOML)."""

    def prepare(self, folder: Path) -> None:
        """Write the files that the configuration names."""

    def beamline(self) -> list[str]:
        """Return the beamline's module and the options that only it has."""

    def doing(self) -> str:
        """Say what is measured."""

    def summarise(self, run: RunView, folder: Path, elapsed_s: float) -> dict[str, Any]:
        """Compare the answers with the truth that the beamline left in the folder."""

    def lines(self, summary: dict[str, Any]) -> list[str]:
        """Return the summary for a reader."""


def service_config(
    bootstrap: str,
    http_port: int,
    group_id: str,
    tables: str,
    *,
    beamline: str = BEAMLINE,
    from_beginning: bool,
) -> str:
    """Return the service's configuration (TOML) for a demo folder: what a beamline would write."""
    return f"""\
# The service's configuration for `streamproc demo`; paths are relative to this file.
beamline = {json.dumps(beamline)}

[kafka]
bootstrap = {json.dumps(bootstrap)}
group_id = {json.dumps(group_id)}
from_beginning = {str(from_beginning).lower()}

[frames]
roots = ["frames"]
wait_s = {_FRAME_WAIT_S}

[observability]
http_port = {http_port}
log_format = "json"

{tables}"""
