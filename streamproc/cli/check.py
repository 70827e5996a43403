"""``streamproc check``: the conformance checks on one analysis."""

from __future__ import annotations

from pathlib import Path

import click

from streamproc.loading import find_analysis
from streamproc.settings import load_settings
from streamproc.testing.conformance import check_analysis

__all__ = ["check_command"]


@click.command("check")
@click.argument("analysis")
@click.option("--config", "-c", type=click.Path(path_type=Path), help="Settings file, for [inference].")
def check_command(analysis: str, config: Path | None) -> int:
    """Try an analysis on the example it brings along; needs no broker.

    ANALYSIS is the path of a consumer's file, e.g. consumers/phase_map.py, or the name of an installed one.
    Exit code 1 when a check does not hold.
    """
    found = find_analysis(analysis)
    faults = 0
    for finding in check_analysis(found, load_settings(config).inference):
        mark = click.style("fails", fg="red") if finding.fault else click.style("holds", fg="green")
        click.echo(f"{mark}  {finding.claim}" + (f"\n       {finding.fault}" if finding.fault else ""))
        faults += bool(finding.fault)
    click.echo(
        f"{found.name} {found.version}: " + (f"{faults} check(s) fail" if faults else "all checks hold")
    )
    return 1 if faults else 0
