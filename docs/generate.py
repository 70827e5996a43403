"""Write the reference pages that come from the code; ``--check`` only says whether they are up to date."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from click.testing import CliRunner

from streamproc.cli import _COMMANDS, _group
from streamproc.loading import analysis_names, find_analysis
from streamproc.observability.archive_metrics import ArchiveMetrics
from streamproc.observability.metrics import ServiceMetrics
from streamproc.results import expand_outputs

REFERENCE = Path(__file__).parent / "reference"
HEAD = "<!-- Written by docs/generate.py from the code; edit the code instead. -->\n\n"


def commands() -> str:
    """Every command with its --help."""
    page = io.StringIO()
    page.write(HEAD + "# Commands\n")
    for name in _COMMANDS:
        for path in _paths(name):
            asked = [*path, "--help"]
            text = CliRunner().invoke(_group, asked, prog_name="streamproc", terminal_width=100).output
            page.write(f"\n## streamproc {' '.join(path)}\n\n```\n{text.rstrip()}\n```\n")
    return page.getvalue()


def _paths(name: str) -> Iterator[list[str]]:
    yield [name]
    command = _group.get_command(click.Context(_group), name)
    if isinstance(command, click.Group):
        yield from ([name, inner] for inner in command.list_commands(click.Context(command)))


def settings() -> str:
    """Every setting, as `streamproc config schema` explains it."""
    text = CliRunner().invoke(_group, ["config", "schema"], prog_name="streamproc").output
    return (
        f"{HEAD}# Settings\n\nIn a TOML file; each can also be given as an environment variable\n"
        "`STREAMPROC_SECTION__KEY`. `streamproc config show` prints a whole file.\n\n"
        f"```\n{text.rstrip()}\n```\n"
    )


def analyses() -> str:
    """What each analysis publishes."""
    page = io.StringIO()
    page.write(HEAD + "# Analyses and the data keys of their results\n")
    for name in analysis_names():
        found = find_analysis(name)
        summary = (found.__doc__ or "").strip().splitlines()[0]
        page.write(f"\n## {name} (version {found.version})\n\n{summary}\n\n")
        describe = getattr(found, "describe", None)
        if describe is None:
            continue
        page.write("| data key | dtype | units | meaning |\n|---|---|---|---|\n")
        for key, entry in expand_outputs(describe(), name.replace("-", "_")).items():
            meaning = entry.get("description", "")
            page.write(f"| `{key}` | {entry['dtype']} | {entry['units']} | {meaning} |\n")
    return page.getvalue()


def metrics() -> str:
    """Every Prometheus metric of a service."""
    page = io.StringIO()
    page.write(HEAD + "# Metrics\n\n| metric | kind | meaning |\n|---|---|---|\n")
    for metric in ServiceMetrics("phase-map").registry.collect():
        page.write(f"| `{metric.name}` | {metric.type} | {metric.documentation} |\n")
    page.write("\n## Of `streamproc archive`\n\n| metric | kind | meaning |\n|---|---|---|\n")
    for metric in ArchiveMetrics().registry.collect():
        page.write(f"| `{metric.name}` | {metric.type} | {metric.documentation} |\n")
    return page.getvalue()


PAGES = {"commands.md": commands, "settings.md": settings, "analyses.md": analyses, "metrics.md": metrics}


def main() -> int:
    """Write or compare the pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether the pages are up to date")
    arguments = parser.parse_args()
    stale = []
    REFERENCE.mkdir(exist_ok=True)
    for name, write in PAGES.items():
        path, text = REFERENCE / name, write()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not arguments.check:
                path.write_text(text, encoding="utf-8")
    if stale and arguments.check:
        print(f"out of date: {', '.join(stale)}; run `make docs` and commit the pages", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
