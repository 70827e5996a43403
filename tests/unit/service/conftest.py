from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from streamproc.service import life

_spec = importlib.util.spec_from_file_location("service_toy", Path(__file__).with_name("toy.py"))
_toy = importlib.util.module_from_spec(_spec)
sys.modules["service_toy"] = _toy
_spec.loader.exec_module(_toy)


@pytest.fixture
def bench():
    return _toy.Bench


@pytest.fixture
def toy():
    return _toy.Toy


@pytest.fixture
def stubborn(monkeypatch):
    """No reading is given up, though lives of a few turns end again and again in the middle of one."""
    monkeypatch.setattr(life, "_TRIES", 10**9)
