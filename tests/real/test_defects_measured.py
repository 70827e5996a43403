"""Another code's spectra and a measured film: the commands that print the figures reach what is wanted."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

COMMANDS = Path(__file__).resolve().parents[2] / "benchmarks" / "science"
NAMES = ["defects_diffault", "defects_nimo", "defects_pure"]
FEW = {"defects_pure": ["--draws", "1"]}


def run(name: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", [name, str(data), *FEW.get(name, [])])
    return int(runpy.run_path(str(COMMANDS / f"{name}.py"))["main"]())


@pytest.mark.real
@pytest.mark.parametrize("name", NAMES)
def test_the_wanted_figure_is_reached(name, shared_data, monkeypatch, capsys) -> None:
    assert run(name, shared_data, monkeypatch) == 0, capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_without_data_the_commands_say_so(name, tmp_path, monkeypatch, capsys) -> None:
    assert run(name, tmp_path, monkeypatch) == 2
    assert "not measured: there is no" in capsys.readouterr().out
