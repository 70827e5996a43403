"""What every test may use; heavy fixtures live beside the tests that need them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

# Unit tests are to be quick; HYPOTHESIS_PROFILE=thorough looks harder.
settings.register_profile("quick", max_examples=25, deadline=None)
settings.register_profile("thorough", max_examples=1000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(autouse=True)
def _logging_of_its_own() -> Iterator[None]:
    """A command that a test runs sets up logging for the whole process; the next test is none of its business."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of measured data beside the project; tests that need it are skipped where it is absent."""
    root = os.environ.get("STREAMPROC_SHARED")
    shared = Path(root) if root else Path(__file__).resolve().parents[2] / "shared"
    data = shared / "data"
    if not data.is_dir():
        pytest.skip(f"no measured data at {data}; set STREAMPROC_SHARED to the folder that holds 'data'")
    return data
