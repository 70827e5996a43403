"""A fit of the run so far in a terminal: dispersion and estimates closing in, in lines that fit."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from streamproc.dashboard.state import Board
from streamproc.dashboard.terminal import PlainView, render

POINTS = 6


def _keys(names: dict[str, str]) -> dict[str, Any]:
    return {
        n + ending: {"dtype": "number", "shape": [], "source": "x", "units": u}
        for n, u in names.items()
        for ending in ("", "_sigma", "_lo90", "_hi90")
    }


def _values(name: str, value: float, sigma: float) -> dict[str, float]:
    return {
        name: value,
        f"{name}_sigma": sigma,
        f"{name}_lo90": value - 1.645 * sigma,
        f"{name}_hi90": value + 1.645 * sigma,
    }


def documents(in_domain: bool = True) -> list[tuple[str, dict[str, Any]]]:
    """A scan whose points say nothing by themselves, and three fits of the scan so far."""
    arrays = {
        k: {"dtype": "array", "shape": [48, 2], "source": "x", "units": "meV"}
        for k in ("dispersion_energy", "dispersion_sigma")
    }
    text = {"dtype": "string", "shape": [], "source": "x"}
    said = {"in_domain": {"dtype": "boolean", "shape": [], "source": "x"}, "reasons": text, "model": text}
    fit_keys = (
        _keys({"Zc*J": "meV"}) | arrays | said | {"seq_num": {"dtype": "number", "shape": [], "source": "x"}}
    )
    hints = {"hints": {"a": {"fields": ["Zc*J"]}}}
    made = [
        ("start", {"uid": "r", "time": 0, "original_run_uid": "raw", "num_points": POINTS, "streamproc": {}}),
        (
            "descriptor",
            {
                "uid": "p",
                "run_start": "r",
                "name": "primary",
                "data_keys": _keys({"Zc*J": "meV"}) | said,
                **hints,
            },
        ),
        ("descriptor", {"uid": "f", "run_start": "r", "name": "fit", "data_keys": fit_keys, **hints}),
    ]
    band = 5 * np.abs(np.sin(np.linspace(0, 3, 48)))[:, None] * [1.0, 1.1]
    for n in range(1, POINTS + 1):
        data = _values("Zc*J", math.nan, math.nan) | {"in_domain": True, "reasons": "", "model": "m"}
        made.append(("event", {"uid": f"e{n}", "descriptor": "p", "seq_num": n, "data": data}))
        if n % 2 == 0:
            data = _values("Zc*J", 2.0, 1.0 / n**2) | {
                "seq_num": float(n), "in_domain": in_domain, "reasons": "" if in_domain else "residual: bad", "model": "m",
                "dispersion_energy": band.tolist(), "dispersion_sigma": (0 * band + 1 / n).tolist(),
            }  # fmt: skip
            made.append(("event", {"uid": f"f{n}", "descriptor": "f", "seq_num": n // 2, "data": data}))
    return made


def picture(feed: list[tuple[str, dict[str, Any]]], width: int = 100, height: int = 30) -> list[str]:
    board = Board()
    for name, doc in feed:
        board.feed(name, doc)
    assert board.refused == 0
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    console.print(render(board, None, width, height - 1))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [(80, 24), (60, 12), (200, 60), (40, 8)])
def test_the_picture_of_a_fit_fits_the_terminal(size: tuple[int, int]) -> None:
    lines = picture(documents(), *size)
    assert len(lines) < size[1]
    assert max(map(len, lines)) <= size[0]


def test_the_band_is_drawn_and_the_interval_shrinks_with_the_scan() -> None:
    feed = documents()
    early = picture(feed[: 3 + 2 + 1])
    late = picture(feed)
    assert "fit of readings 1 to 2" in "\n".join(early) and "fit of readings 1 to 6" in "\n".join(late)
    assert sum("●" in line for line in late) > 8

    def bar(lines: list[str]) -> str:
        return next(line for line in lines if "Zc*J" in line).split("σ")[1]

    assert bar(early).count("━") > bar(late).count("━") + 10
    assert "2.000±0.028" in "\n".join(late)


def test_a_fit_that_is_not_to_be_believed_says_why() -> None:
    assert "out of domain: residual: bad" in "\n".join(picture(documents(in_domain=False)))


def test_without_a_terminal_points_that_say_nothing_are_left_out_and_every_fit_has_its_line() -> None:
    console = Console(file=io.StringIO(), width=100, color_system=None)
    with PlainView(Board(), console) as view:
        for name, doc in documents():
            view.feed(name, doc)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [line.split(":")[0] for line in lines] == [f"fit of readings 1 to {n}" for n in (2, 4, 6)]
