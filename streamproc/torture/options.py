"""What a torture is asked to do, and the settings of the services under it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamproc.settings import Settings
from streamproc.torture.faults import KINDS
from streamproc.torture.runs import AXIS_KEY

__all__ = ["ANALYSIS", "BROKER_PROPERTIES", "PARTITIONS", "SERVICES", "TortureOptions", "service_config"]

ANALYSIS = "phase-map"
PARTITIONS = 3
SERVICES = ("a", "b")

BROKER_PROPERTIES = {"group.min.session.timeout.ms": "4000"}
"""Of the broker that is started: it lets members have a shorter session than a broker does as delivered."""

_SESSION_TIMEOUT_S, _LEAST_ELSEWHERE_S = 4.0, 6.0


@dataclass(frozen=True, slots=True)
class TortureOptions:
    """See ``streamproc torture --help``."""

    kills: int = 50
    seed: int = 0
    faults: Mapping[str, float] = field(default_factory=lambda: dict(KINDS))
    rate_Hz: float = 10.0
    pace_s: float = 7.0
    restart_limit_s: float = 10.0
    bootstrap: str | None = None
    keep: Path | None = None

    @property
    def session_timeout_s(self) -> float:
        """After how much silence a service loses its partitions.

        A service that comes back while the other one is frozen waits for the end of that one's session: this
        and a start are to fit into the limit of a restart. Other people's brokers refuse less than 6 s.
        """
        return _SESSION_TIMEOUT_S if self.bootstrap is None else _LEAST_ELSEWHERE_S


def service_config(settings: Settings, name: str, frames: Path, port: int, session_timeout_s: float) -> str:
    """Return the settings file (TOML) of one service.

    Parameters
    ----------
    settings : Settings
        Broker and beamline.
    name : str
        Of the service.
    frames : Path
        Where HDF5 files are.
    port : int
        For its status server.
    session_timeout_s : float
        After this silence its partitions go to the other one.
    """
    tables: dict[str, dict[str, Any]] = {
        "kafka": {
            "bootstrap": settings.kafka.bootstrap,
            # A killed service that is back within its session causes no rebalance.
            "group_instance_id": name,
            "session_timeout_s": session_timeout_s,
        },
        "frames": {"roots": [str(frames)]},
        "observability": {"http_port": port, "log_format": "json"},
        # The classical fit beside the model is left out: it tests nothing here and takes most of the time.
        f"analysis.{ANALYSIS}": {"key": "intensity", "axis_key": AXIS_KEY, "cross_check_every": 1_000_000},
    }
    lines = [f"beamline = {json.dumps(settings.beamline)}"]
    for table, entries in tables.items():
        lines += ["", f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in entries.items())]
    return "\n".join(lines) + "\n"
