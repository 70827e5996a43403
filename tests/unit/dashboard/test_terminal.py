from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from streamproc.dashboard.state import Board
from streamproc.dashboard.terminal import LiveView, PlainView, render, view_for

Make = Callable[..., list[tuple[str, dict[str, Any]]]]


def _picture(
    documents: list[tuple[str, dict[str, Any]]], width: int = 80, height: int = 24, **options: Any
) -> str:
    board = Board()
    for name, doc in documents:
        board.feed(name, doc, 12.0 if name == "event" else None)
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, **options)
    console.print(render(board, None, width, height - 1))
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [(80, 24), (60, 20), (200, 60)])
@pytest.mark.parametrize("motors", [0, 1, 2])
@pytest.mark.parametrize("grid", [(1, 1), (7, 7), (40, 30), (1, 50)])
def test_the_picture_fits_the_terminal(
    documents: Make, size: tuple[int, int], motors: int, grid: tuple[int, int]
) -> None:
    columns, rows = grid
    made = documents(columns=columns, rows=rows, motors=motors, doubtful=(1,))
    lines = _picture(made, *size, color_system=None).splitlines()
    assert len(lines) < size[1]
    assert max(map(len, lines)) <= size[0]


def test_without_colour_the_map_still_says_which_phase_dominates(documents: Make) -> None:
    picture = _picture(documents(doubtful=(6,)), color_system=None)
    # The slow motor points up: points 4 to 6 lie above points 1 to 3.
    assert " c5 c7 c8!" in picture
    assert " z8 z7 z5 " in picture
    assert "\x1b" not in picture


def test_no_color_is_honoured(documents: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[38;2" in _picture(documents(), color_system="truecolor")
    monkeypatch.setenv("NO_COLOR", "1")
    coloured = _picture(documents(), color_system="truecolor")
    assert ";2;" not in coloured
    assert "38;" not in coloured


def test_progress_latency_completeness_and_doubt_are_told(documents: Make) -> None:
    picture = _picture(documents(doubtful=(2,)), color_system=None)
    for told in (
        "6/6 answers",
        "p50 12 ms",
        "6 of 6 done, 0 failed, 0 dropped",
        "0.857±0.010",
        "unknown-material",
    ):
        assert told in picture


def test_nothing_yet_is_said() -> None:
    assert "no results yet" in _picture([], color_system=None)


def test_elsewhere_than_on_a_terminal_each_answer_is_one_line(documents: Make) -> None:
    out = io.StringIO()
    view = view_for(Board(), Console(file=out, width=300))
    assert isinstance(view, PlainView)
    made = documents(doubtful=(2,))
    for name, doc in [*made[:3], *made[2:]]:
        view.feed(name, doc, 12.0 if name == "event" else None)
    lines = out.getvalue().splitlines()
    assert len(lines) == 7
    assert lines[0].startswith("1/6 sample_y=0 sample_x=0 corundum=0.143±0.010 zincite=0.857±0.010")
    assert lines[1].endswith("OUT OF DOMAIN: unknown-material")
    assert "6 of 6 done" in lines[-1]


def test_a_terminal_gets_the_live_picture(documents: Make) -> None:
    out = io.StringIO()
    view = view_for(Board(), Console(file=out, width=80, height=24, force_terminal=True))
    assert isinstance(view, LiveView)
    with view:
        for name, doc in documents():
            view.feed(name, doc)
    assert "6/6 answers" in out.getvalue()
