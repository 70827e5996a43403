"""The report as one PDF: A4 pages that text, tables and figures flow down."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from streamproc.models.report.parts import Table
from streamproc.models.report.sections import Bullets, Section
from streamproc.models.report.style import GREY, RC, WIDTH_IN, Drawing
from streamproc.models.report.wrapping import column_widths, wrap

__all__ = ["write_pdf"]

_PAGE_IN = (8.27, 11.69)
_LEFT, _TOP, _BOTTOM = (8.27 - WIDTH_IN) / 2, 0.7, 0.7
_LEADING = 1.38
_GAP_IN = 0.16
"""Between columns of a table."""


def write_pdf(title: str, subtitle: str, parts: Sequence[Section], path: Path) -> int:
    """Write all sections and return the number of pages."""
    import matplotlib
    from matplotlib.backends.backend_pdf import PdfPages

    metadata = {"Title": title, "Creator": "streamproc", "CreationDate": None, "Producer": None}
    with matplotlib.rc_context(dict(RC)), PdfPages(path, metadata=metadata) as file:
        flow = _Flow(file, title)
        flow.text(title, 16, bold=True)
        flow.text(subtitle, 8.5, colour=GREY)
        for section in parts:
            # A heading never stands alone at the foot: the first figure below it must fit, too.
            flow.need(1.5 + _first_height(section))
            flow.skip(0.22)
            flow.text(section.title, 12.5, bold=True)
            flow.skip(0.04)
            for block in section.blocks:
                _block(flow, block)
        flow.finish()
        return flow.pages


def _first_height(section: Section) -> float:
    """Height of the figure that follows the heading, at once or after a sentence."""
    heights = [b.height_in for b in section.blocks[:2] if isinstance(b, Drawing)]
    return heights[0] if heights else 0.0


def _block(flow: _Flow, block: str | Bullets | Table | Drawing) -> None:
    if isinstance(block, str):
        if block.strip():
            flow.text(block, 9)
            flow.skip(0.06)
    elif isinstance(block, Bullets):
        if block.title:
            flow.skip(0.08)
            flow.text(block.title, 9.5, bold=True)
        for line in block.lines:
            flow.text(line, 9, indent=0.16, bullet=True)
            flow.skip(0.03)
    elif isinstance(block, Table):
        flow.table(block)
    else:
        flow.drawing(block)


class _Flow:
    """Places things below each other and turns the page when one does not fit."""

    def __init__(self, file: Any, title: str) -> None:
        self._file, self._title = file, title
        self._figure: Any = None
        self._y = 0.0
        self.pages = 0
        self._turn()

    def finish(self) -> None:
        """Write the last page."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        FigureCanvasAgg(self._figure)
        self._file.savefig(self._figure, dpi=150)

    def _turn(self) -> None:
        from matplotlib.figure import Figure

        if self._figure is not None:
            self.finish()
        self._figure = Figure(_PAGE_IN)
        self.pages += 1
        self._y = _PAGE_IN[1] - _TOP
        self._write(_LEFT, 0.4, self._title, 7, colour=GREY)
        self._write(_PAGE_IN[0] - _LEFT, 0.4, str(self.pages), 7, colour=GREY, ha="right")

    def need(self, height_in: float) -> None:
        """Turn the page when less than this is left, unless the page is empty anyway."""
        if self._y - height_in < _BOTTOM and self._y < _PAGE_IN[1] - _TOP - 0.01:
            self._turn()

    def skip(self, height_in: float) -> None:
        """Leave room."""
        self._y -= height_in

    def _write(
        self,
        x: float,
        y: float,
        text: str,
        size: float,
        *,
        bold: bool = False,
        colour: str = "black",
        ha: str = "left",
    ) -> None:
        self._figure.text(
            x / _PAGE_IN[0],
            y / _PAGE_IN[1],
            text,
            fontsize=size,
            weight="bold" if bold else "normal",
            color=colour,
            ha=ha,
            va="baseline",
            parse_math=False,
        )

    def text(
        self,
        text: str,
        size: float,
        *,
        bold: bool = False,
        colour: str = "black",
        indent: float = 0.0,
        bullet: bool = False,
    ) -> None:
        """Write a paragraph."""
        line_in = size * _LEADING / 72
        for k, line in enumerate(wrap(text, size, WIDTH_IN - indent, bold=bold)):
            self.need(line_in)
            self._y -= line_in
            if bullet and k == 0:
                self._write(_LEFT + 0.02, self._y, "•", size)
            self._write(_LEFT + indent, self._y, line, size, bold=bold, colour=colour)

    def drawing(self, drawing: Drawing) -> None:
        """Draw a figure with its caption on one page."""
        caption = wrap(drawing.caption, 8, WIDTH_IN)
        room = _PAGE_IN[1] - _TOP - _BOTTOM
        height = drawing.height_in
        self.need(min(room, 0.1 + height + len(caption) * 8 * _LEADING / 72 + 0.15))
        self._y -= 0.1 + height
        rows = (_PAGE_IN[1] - self._y - height, height, self._y)
        columns = (_LEFT, WIDTH_IN, _PAGE_IN[0] - _LEFT - WIDTH_IN)
        grid = self._figure.add_gridspec(3, 3, height_ratios=rows, width_ratios=columns)
        drawing.draw(self._figure.add_subfigure(grid[1, 1]))
        self.text(drawing.caption, 8, colour=GREY)
        self.skip(0.15)

    def table(self, table: Table) -> None:
        """Write a table; its header comes again on every page."""
        size = 8.0 if len(table.header) <= 5 else 7.2
        widths = column_widths([table.header, *table.rows], size, WIDTH_IN, _GAP_IN)
        self.need(0.75)
        if table.title:
            self.skip(0.1)
            self.text(table.title, 9.5, bold=True)
        if table.rows:
            self._header(table, widths, size)
        for row in table.rows:
            cells = [wrap(c, size, w) for c, w in zip(row, widths, strict=True)]
            height = max(map(len, cells)) * size * _LEADING / 72 + 0.03
            if self._y - height < _BOTTOM:
                self._turn()
                self._header(table, widths, size)
            self._row(cells, widths, size)
        if table.note:
            self.skip(0.03)
            self.text(table.note, 7.5, colour=GREY)
        self.skip(0.1)

    def _header(self, table: Table, widths: Sequence[float], size: float) -> None:
        if any(table.header):
            self._row(
                [wrap(c, size, w, bold=True) for c, w in zip(table.header, widths, strict=True)],
                widths,
                size,
                True,
            )

    def _row(
        self, cells: Sequence[Sequence[str]], widths: Sequence[float], size: float, bold: bool = False
    ) -> None:
        from matplotlib.lines import Line2D

        line_in = size * _LEADING / 72
        x = _LEFT
        for lines, width in zip(cells, widths, strict=True):
            for k, line in enumerate(lines):
                self._write(x, self._y - (k + 1) * line_in, line, size, bold=bold)
            x += width + _GAP_IN
        self._y -= max(map(len, cells)) * line_in + 0.03
        y = (self._y - 0.01) / _PAGE_IN[1]
        ends = [_LEFT / _PAGE_IN[0], (_LEFT + WIDTH_IN) / _PAGE_IN[0]]
        self._figure.add_artist(Line2D(ends, [y, y], lw=0.8 if bold else 0.3, color="#b5bac1"))
