"""The board in a terminal: a live picture on a terminal, a line per answer elsewhere.

``NO_COLOR`` is honoured: every cell of the map also says in letters what it shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from streamproc.dashboard.converging import converging_line, converging_picture, estimate_text
from streamproc.dashboard.state import Board, Point, Quantity, RunView

__all__ = ["LiveView", "PlainView", "Screen", "plain_line", "render", "view_for"]

_COLOURS = (
    (60, 140, 230), (240, 170, 30), (0, 180, 130), (205, 80, 170), (110, 200, 240), (230, 90, 20)
)  # fmt: skip
"""After Okabe & Ito 2008: told apart with any colour vision, on black and on white."""

_SPARKS = "▁▂▃▄▅▆▇█"
_LATEST = 4
_FIXED_LINES = 8 + _LATEST
"""Lines besides the map: headings, progress, legend, latest answers, latency, alert."""

_FEW_LINES = 6
"""Lines besides a fit of the run so far: heading, progress, latency, alert, and what is empty."""


def render(board: Board, run_uid: str | None, width: int, height: int) -> RenderableType:
    """Return the picture of one run, at most ``height`` lines high.

    Parameters
    ----------
    board : Board
        What is known.
    run_uid : str or None
        Which result run; the newest when None.
    width, height : int
        Room (columns, lines).
    """
    run = board.runs.get(run_uid or "") or next(reversed(board.runs.values()), None)
    if run is None:
        return Text("no results yet", style="dim")
    parts: list[RenderableType] = [_heading(run), _progress(run, width), Text()]
    so_far = run.converging()
    if so_far is not None:
        parts += [*converging_picture(so_far, width, max(height - _FEW_LINES, 2)), Text(), _footer(run)]
    else:
        parts += _picture(run, width, max(height - _FIXED_LINES, 1))
        parts += [_latest(run, width), _footer(run)]
    alert = _alert(run, width)
    return Group(*parts, *([alert] if alert else []))


def _heading(run: RunView) -> Text:
    about = run.about
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(str(about.get("analysis", "results")) + (" (shadow)" if run.shadow else ""), style="bold")
    text.append(
        f"  {about.get('sample', '')}  scan {about.get('scan_id', '?')}  run {run.raw_uid[:8] or '?'}"
    )
    return text.append(f"  {run.model}", style="dim")


def _progress(run: RunView, width: int) -> RenderableType:
    expected = run.ledger.expected if run.ledger else run.expected
    told = f" {run.count}/{expected if expected is not None else '?'} answers"
    if run.exit_status is not None:
        told += f", run ended: {run.exit_status}"
    row = Table.grid(padding=0)
    row.add_row(ProgressBar(total=expected, completed=run.count, width=max(width // 3, 10)), Text(told))
    return row


def _picture(run: RunView, width: int, height: int) -> list[RenderableType]:
    """Return map (two motors) or curves (one motor or none), then the legend."""
    shown = run.estimates()
    if not shown:
        return [Text("waiting for the first answer", style="dim")]
    grid = run.grid()
    if grid is None:
        return [*_curves(run, shown, width, height), Text()]
    every = max(math.ceil(len(grid) / height), math.ceil(len(grid[0]) * 3 / width) if grid else 1, 1)
    scale = _scale(run, shown)
    # The slow motor points up, as on paper.
    lines = [_map_row(row[::every], shown, scale) for row in reversed(grid[::every])]
    legend = Text(no_wrap=True, overflow="ellipsis")
    for i, quantity in enumerate(shown):
        legend.append(_letter(i, shown), style=_style(i, 1.0)).append(f" {quantity.name}  ")
    told = f" digit: 0 = {scale[0]:.3g} to 9 = {scale[1]:.3g}; !: not to be trusted"
    told += f"; every {every}. point is shown" if every > 1 else ""
    return [*lines, legend, Text(told, style="dim", no_wrap=True, overflow="ellipsis")]


def _scale(run: RunView, shown: Sequence[Quantity]) -> tuple[float, float]:
    """Return the range of strengths: 0 to 1 for fractions, else what was seen."""
    values = [v for p in run.points.values() for q in shown if math.isfinite(v := p.values[q.name])]
    if not values or (min(values) >= 0 and max(values) <= 1):
        return 0.0, 1.0
    return min(values), max(values)


def _map_row(row: Sequence[Point | None], shown: Sequence[Quantity], scale: tuple[float, float]) -> Text:
    line = Text(" ", no_wrap=True, overflow="crop")
    low, high = scale
    for point in row:
        if point is None:
            line.append(" · ", style="dim")
            continue
        values = [point.values.get(q.name, math.nan) for q in shown]
        if not any(map(math.isfinite, values)):
            line.append(" ! ", style="bold white on red")
            continue
        top = max(range(len(values)), key=lambda i: values[i] if math.isfinite(values[i]) else -math.inf)
        strength = (values[top] - low) / (high - low) if high > low else 0.5
        digit = min(max(int(strength * 10), 0), 9)
        mark = f"{_letter(top, shown)}{digit}{' ' if point.in_domain else '!'}"
        line.append(mark, style=_style(top, strength))
    return line


def _letter(index: int, shown: Sequence[Quantity]) -> str:
    """Return a letter of the quantity's name that no earlier quantity took."""
    taken: list[str] = []
    for quantity in shown[: index + 1]:
        free = [c for c in quantity.name if c.isalpha() and c not in taken]
        taken.append(free[0] if free else str(len(taken)))
    return taken[index]


def _style(index: int, strength: float) -> str:
    """Return a background: the quantity's colour, darker where it is weaker; the text stays readable."""
    share = 0.35 + 0.65 * min(max(strength, 0.0), 1.0)
    r, g, b = (round(c * share) for c in _COLOURS[index % len(_COLOURS)])
    text = "black" if 0.3 * r + 0.6 * g + 0.1 * b > 110 else "white"
    return f"{text} on rgb({r},{g},{b})"


def _curves(run: RunView, shown: Sequence[Quantity], width: int, height: int) -> list[Text]:
    """Return one line of bars per quantity, over the motor or in order of arrival."""
    points = list(run.points.values())
    if run.motors:
        points.sort(key=lambda p: p.place[0])
    room = max(width - 34, 8)
    points = points[:: max(math.ceil(len(points) / room), 1)]
    lines = []
    for i, quantity in enumerate(shown[:height]):
        values = [p.values.get(quantity.name, math.nan) for p in points]
        finite = [v for v in values if math.isfinite(v)] or [0.0]
        low, high = min(finite), max(finite)
        line = Text(f"{quantity.name[:14]:>14} ", no_wrap=True, overflow="crop")
        line.append("".join(_spark(v, low, high) for v in values), style=f"rgb{_COLOURS[i % len(_COLOURS)]}")
        lines.append(line.append(f" {low:.3g} to {high:.3g} {quantity.units}", style="dim"))
    return lines


def _spark(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return "!"
    return (
        _SPARKS[min(int((value - low) / (high - low) * len(_SPARKS)), len(_SPARKS) - 1)]
        if high > low
        else "▄"
    )


def _latest(run: RunView, width: int) -> RenderableType:
    shown = [q for q in run.quantities if q.estimate]
    columns = max(min(len(shown), (width - 16) // 13), 1)
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    for name in ("point", *(q.name[:11] for q in shown[:columns])):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, overflow="ellipsis")
    for point in run.newest(_LATEST):
        cells = [estimate_text(point, q.name) for q in shown[:columns]]
        table.add_row(
            str(point.seq_num),
            *cells,
            "" if point.in_domain else "!",
            style="" if point.in_domain else "bold red",
        )
    return table


def _footer(run: RunView) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    p50, p95 = run.latency_ms(50), run.latency_ms(95)
    text.append(f"latency p50 {_ms(p50)}  p95 {_ms(p95)}", style="bold")
    if run.ledger is None:
        return text.append("  completeness: known when the run ends", style="dim")
    ledger = run.ledger
    told = f"  {ledger.done} of {ledger.expected} done, {ledger.failed} failed, {ledger.dropped} dropped"
    return text.append(told, style="bold green" if ledger.complete else "bold red")


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"


def _alert(run: RunView, width: int) -> Text | None:
    """Return what deserves attention: lost readings first, then alarms, then answers not to be trusted."""
    if run.ledger is not None and run.ledger.reasons:
        text = f"! {run.ledger.reasons[0][1]} readings: {run.ledger.reasons[0][0]}"
    elif alarms := run.alarms():
        text = f"! {len(alarms)} alarms; first: {alarms[0]}"
    elif run.flagged:
        last = next((p for p in reversed(run.points.values()) if not p.in_domain), None)
        why = f"; last, point {last.seq_num}: {last.reasons}" if last else ""
        text = f"! {run.flagged} answers are out of the model's domain{why}"
    else:
        return None
    return Text(text[:width], style="bold red", no_wrap=True, overflow="ellipsis")


def plain_line(run: RunView, point: Point) -> str:
    """Return one answer as one line of text."""
    place = " ".join(f"{m}={v:g}" for m, v in zip(run.motors, point.place, strict=True))
    told = " ".join(f"{q.name}={estimate_text(point, q.name)}" for q in run.quantities if q.estimate)
    latency = "" if point.latency_ms is None else f" {point.latency_ms:.0f} ms"
    flag = "" if point.in_domain else f" OUT OF DOMAIN: {point.reasons}"
    shadow = f"shadow {run.model} " if run.shadow else ""
    return f"{shadow}{point.seq_num}/{run.expected or '?'} {place} {told}{latency}{flag}"


class Screen:
    """What both views have: a board that is fed, shown while in the ``with`` block."""

    def __init__(self, board: Board, console: Console, run_uid: str | None = None) -> None:
        self.board = board
        self.run_uid = run_uid
        self._console = console

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def feed(self, name: str, doc: Any, latency_ms: float | None = None) -> None:
        """Fold a result document in and show what it changed."""
        self.board.feed(name, doc, latency_ms)

    def say(self, text: str) -> None:
        """Print a line of its own."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


class PlainView(Screen):
    """A line per answer: for files, pipes and logs."""

    def feed(self, name: str, doc: Any, latency_ms: float | None = None) -> None:
        """Fold a result document in and print its line."""
        known = {uid: run.count for uid, run in self.board.runs.items()}
        fits = {uid: _fits(run) for uid, run in self.board.runs.items()}
        alarms = {uid: len(run.alarms()) for uid, run in self.board.runs.items()}
        changed = self.board.feed(name, doc, latency_ms)
        if changed is None:
            return
        run, point = changed
        for said in run.alarms()[alarms.get(run.uid, 0) :]:
            self.say(f"ALARM {said}")
        so_far = run.converging()
        if so_far is not None and _fits(run) != fits.get(run.uid, 0):
            self.say(converging_line(so_far))
        elif point is not None and run.count > known.get(run.uid, 0) and _says_something(point):
            self.say(plain_line(run, point))
        elif name == "stop":
            self.say(f"run {run.raw_uid or run.uid} ended: {run.exit_status}; {_footer(run).plain}")


def _says_something(point: Point) -> bool:
    """Whether an answer has a number, or a reason why not; one point of a map by itself has neither."""
    return (
        not point.in_domain or not point.sigmas or any(math.isfinite(point.values[k]) for k in point.sigmas)
    )


def _fits(run: RunView) -> int:
    """Newest reading that the fit of the run so far knows."""
    so_far = run.converging()
    return so_far.points[-1].seq_num if so_far is not None else 0


class LiveView(Screen):
    """The picture, drawn again at most ten times a second."""

    def __init__(self, board: Board, console: Console, run_uid: str | None = None) -> None:
        super().__init__(board, console, run_uid)
        self._live = Live(
            console=console, refresh_per_second=10, get_renderable=self._picture, transient=False
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def _picture(self) -> RenderableType:
        width, height = self._console.size
        return render(self.board, self.run_uid, width, height - 1)


def view_for(board: Board, console: Console, run_uid: str | None = None) -> Screen:
    """Return the live picture on a terminal, else the view that prints a line per answer."""
    return LiveView(board, console, run_uid) if console.is_terminal else PlainView(board, console, run_uid)
