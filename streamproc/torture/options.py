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

__all__ = ["ANALYSIS", "PARTITIONS", "SERVICES", "SESSION_TIMEOUT_S", "TortureOptions", "service_config"]

ANALYSIS = "phase-map"
PARTITIONS = 3
SERVICES = ("a", "b")
SESSION_TIMEOUT_S = 6.0


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


def service_config(settings: Settings, name: str, frames: Path, port: int) -> str:
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
    """
    tables: dict[str, dict[str, Any]] = {
        "kafka": {
            "bootstrap": settings.kafka.bootstrap,
            # A killed service that is back within its session causes no rebalance.
            "group_instance_id": name,
            "session_timeout_s": SESSION_TIMEOUT_S,
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
