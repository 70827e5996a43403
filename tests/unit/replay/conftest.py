from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

_path = Path(__file__).parents[1] / "service" / "toy.py"
_spec = importlib.util.spec_from_file_location("replay_toy", _path)
_toy = importlib.util.module_from_spec(_spec)
sys.modules["replay_toy"] = _toy
_spec.loader.exec_module(_toy)


@pytest.fixture
def toy():
    return _toy.Toy


@pytest.fixture
def bench():
    return _toy.Bench
