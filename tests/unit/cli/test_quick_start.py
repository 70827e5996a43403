"""A restart is waited for: what a service loads before it is ready is kept small."""

from __future__ import annotations

import subprocess
import sys

START = """
import sys
from streamproc.cli.wiring import build_service
from streamproc.errors import BrokerAway
from streamproc.settings import load_settings

table = {"key": "intensity", "axis_key": "two_theta"}
kafka = {"bootstrap": "127.0.0.1:9", "connect_timeout_s": 0.2}
settings = load_settings(None, {"beamline": "test", "kafka": kafka, "analysis": {"phase-map": table}})
try:
    build_service("phase-map", settings)
except BrokerAway:
    print(*(m for m in ("awkward", "sparse", "scipy.optimize", "scipy.stats", "torch") if m in sys.modules))
"""


def test_a_service_loads_no_package_that_only_others_need() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", START], capture_output=True, text=True, timeout=300, check=False
    )
    assert (ended.returncode, ended.stdout.strip()) == (0, ""), ended.stderr
