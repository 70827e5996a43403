"""The report as one HTML file: images inside, no script, nothing fetched."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

from streamproc.models.report.parts import Table
from streamproc.models.report.sections import Bullets, Section
from streamproc.models.report.style import RC, WIDTH_IN, Drawing

__all__ = ["write_html"]

_DPI = 150

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5a6069; --paper: #fff; --line: #d5d9de;
  --tint: #f3f5f8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7eb; --soft: #a2a9b3; --paper: #16191d; --line: #3a4048; --tint: #20252b; }
}
body { margin: 0 auto; max-width: 58rem; padding: 1.5rem 1.2rem 4rem; color: var(--ink);
  background: var(--paper);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; line-height: 1.2; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .6rem; padding-top: .5rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; }
p.sub, figcaption, p.note { color: var(--soft); font-size: .88rem; }
p.note { margin-top: .3rem; }
nav { font-size: .9rem; margin: .8rem 0; }
nav a { margin-right: .9rem; white-space: nowrap; color: inherit; }
ul { padding-left: 1.2rem; margin: .3rem 0; }
figure { margin: 1.2rem 0 1.8rem; }
figure img { display: block; width: 100%; max-width: 52rem; height: auto; background: #fff;
  border-radius: 6px; border: 1px solid var(--line); box-sizing: border-box; padding: .4rem; }
figcaption { max-width: 52rem; margin-top: .4rem; }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .86rem; margin: .4rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .22rem .8rem .22rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: break-word; }
th { border-bottom: 2px solid var(--line); white-space: nowrap; overflow-wrap: normal; }
section.first { background: var(--tint); border-radius: 8px; padding: .2rem 1.2rem 1rem; }
section.first h2 { border: 0; margin-top: .8rem; }
@media print {
  :root { --ink: #000; --soft: #444; --paper: #fff; --line: #bbb; --tint: #fff; }
  body { font-size: 10pt; max-width: none; padding: 0; }
  figure, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  nav { display: none; }
  div.wide { overflow: visible; }
  table { font-size: 8pt; }
  th, td { padding-right: .5rem; }
}
"""


def write_html(title: str, subtitle: str, parts: Sequence[Section], path: Path) -> None:
    """Write all sections; the same evidence gives the same bytes."""
    links = "".join(f'<a href="#s{k}">{escape(s.title)}</a> ' for k, s in enumerate(parts))
    body = "\n".join(_section(k, s) for k, s in enumerate(parts))
    page = (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'<h1>{escape(title)}</h1>\n<p class="sub">{escape(subtitle)}</p>\n<nav>{links}</nav>\n'
        f"{body}\n</body>\n</html>\n"
    )
    path.write_text(page, encoding="utf-8")


def _section(number: int, section: Section) -> str:
    kind = ' class="first"' if number == 0 else ""
    inner = "\n".join(_block(b) for b in section.blocks)
    return f'<section id="s{number}"{kind}>\n<h2>{escape(section.title)}</h2>\n{inner}\n</section>'


def _block(block: str | Bullets | Table | Drawing) -> str:
    if isinstance(block, str):
        return f"<p>{escape(block)}</p>" if block.strip() else ""
    if isinstance(block, Bullets):
        head = f"<h3>{escape(block.title)}</h3>\n" if block.title else ""
        return head + "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in block.lines) + "</ul>"
    return _table(block) if isinstance(block, Table) else _figure(block)


def _table(table: Table) -> str:
    title = f"<h3>{escape(table.title)}</h3>\n" if table.title else ""
    head = "".join(f'<th scope="col">{escape(c)}</th>' for c in table.header)
    head = f"<thead><tr>{head}</tr></thead>" if any(table.header) else ""
    rows = "\n".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in table.rows)
    note = f'\n<p class="note">{escape(table.note)}</p>' if table.note else ""
    body = f'<div class="wide"><table>{head}<tbody>\n{rows}\n</tbody></table></div>' if table.rows else ""
    return f"{title}{body}{note}"


def _figure(drawing: Drawing) -> str:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(dict(RC)):
        figure = Figure((WIDTH_IN, drawing.height_in))
        FigureCanvasAgg(figure)
        drawing.draw(figure)
        image = io.BytesIO()
        figure.savefig(image, dpi=_DPI, format="png", metadata={"Software": None})
    data = base64.b64encode(image.getvalue()).decode()
    size = f'width="{round(WIDTH_IN * _DPI)}" height="{round(drawing.height_in * _DPI)}"'
    return (
        f'<figure><img alt="{escape(drawing.alt)}" {size} src="data:image/png;base64,{data}"/>'
        f"<figcaption>{escape(drawing.caption)}</figcaption></figure>"
    )
