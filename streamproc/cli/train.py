"""``streamproc train``: train a model (needs the extra ``train``)."""

from __future__ import annotations

import importlib.util
import sys

import click

from streamproc.errors import ConfigurationError

__all__ = ["train_command"]

_TRAINERS = {
    "defect-flags": "streamproc.models.defects.network.command",
    "phase-map": "streamproc.models.phase_map.command",
    "excitation-fit": "streamproc.models.excitations.command",
}


@click.command(
    "train", context_settings={"ignore_unknown_options": True, "help_option_names": []}, add_help_option=False
)
@click.argument("analysis", required=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def train_command(analysis: str | None, arguments: tuple[str, ...]) -> None:
    """Train the model of an analysis; `streamproc train ANALYSIS --help` explains its options."""
    if analysis in (None, "-h", "--help"):
        click.echo(
            "Usage: streamproc train ANALYSIS [OPTIONS]\n\nTrain the model of an analysis.\n\nAnalyses:"
        )
        for name, module in _TRAINERS.items():
            click.echo(f"  {name}  (the same as `python -m {module}`; add --help for its options)")
        return
    if analysis not in _TRAINERS:
        raise ConfigurationError(f"nothing to train for {analysis!r}; there is: {', '.join(_TRAINERS)}")
    for package in ("torch", "onnx", "gemmi"):
        if importlib.util.find_spec(package) is None:
            raise ConfigurationError(f"training needs {package}: pip install 'streamproc[train]'")
    trainer = importlib.import_module(_TRAINERS[analysis])
    sys.exit(trainer.main(list(arguments)))
