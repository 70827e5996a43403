"""What every test may use; heavy fixtures live beside the tests that need them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of measured data beside the project; tests that need it are skipped where it is absent."""
    root = os.environ.get("STREAMPROC_SHARED")
    shared = Path(root) if root else Path(__file__).resolve().parents[2] / "shared"
    data = shared / "data"
    if not data.is_dir():
        pytest.skip(f"no measured data at {data}; set STREAMPROC_SHARED to the folder that holds 'data'")
    return data
