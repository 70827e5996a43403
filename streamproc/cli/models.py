"""``streamproc models``: list, show and check models, and make their training reports again."""

from __future__ import annotations

import json
from pathlib import Path

import click

from streamproc.inference.model import OnnxModel
from streamproc.inference.registry import find_model, list_models
from streamproc.settings import InferenceSettings, load_settings

__all__ = ["models_group"]

_CONFIG = click.option("--config", "-c", type=click.Path(path_type=Path), help="Settings file (TOML).")


@click.group("models")
def models_group() -> None:
    """List, show and check models; make their training reports again."""


@models_group.command("list")
@_CONFIG
def list_command(config: Path | None) -> None:
    """Name every model that can be used, shipped or in inference.model_roots."""
    for found in list_models(_inference(config)):
        click.echo(f"{found.name}:{found.version}  {found.path}")


@models_group.command("show")
@click.argument("model")
@_CONFIG
@click.option("--json", "as_json", is_flag=True, help="Print the whole card as JSON.")
def show(model: str, config: Path | None, as_json: bool) -> None:
    """Print a model's card: what it reads, what it answers, where it is valid, how well it does.

    MODEL is NAME, NAME:VERSION or an .onnx file.
    """
    settings = _inference(config)
    loaded = OnnxModel(find_model(model, settings), settings)
    card = loaded.card
    if as_json:
        click.echo(card.to_json())
        return
    click.echo(
        f"{loaded.model_id}\n  file      {loaded.path}\n  sha256    {loaded.sha256}\n  task      {card.task}"
    )
    axis = card.axis
    click.echo(
        f"  reads     {axis.n} points of {axis.kind}, {axis.start:g} to {axis.stop:g}, {card.normalisation}"
    )
    if axis.wavelength_A:
        click.echo(
            f"            wavelength {axis.wavelength_A} A, at least {axis.min_coverage:.0%} of the axis"
        )
    click.echo(f"  answers   {', '.join(card.labels)}")
    for head in card.outputs:
        click.echo(f"            {head.name} {list(head.shape)} {head.units}  {head.meaning}")
    for title, table in (
        ("valid for", card.valid_domain),
        ("scores", card.scores),
        ("training", card.training),
    ):
        click.echo(f"  {title}")
        for key, value in table.items():
            click.echo(f"            {key}: {value if isinstance(value, str) else json.dumps(value)}")
    click.echo(f"  licence   {card.licence}")


@models_group.command("check")
@click.argument("models", nargs=-1)
@_CONFIG
def check(models: tuple[str, ...], config: Path | None) -> None:
    """Check cards, hashes and golden vectors of MODELS (default: all); exit code 2 at the first fault."""
    settings = _inference(config)
    names = models or [f"{m.name}:{m.version}" for m in list_models(settings)]
    for name in names:
        loaded = OnnxModel(find_model(name, settings), settings)
        click.echo(f"{loaded.model_id}: sound (golden vectors within {loaded.golden_deviation:.2g})")


@models_group.command("report")
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder to write to (default: beside the evidence)."
)
def report(source: Path, out: Path | None) -> None:
    """Make a training's report again, as report.html and report.pdf, without training.

    SOURCE is a model's version folder with evidence.npz in it (models/mysystem/1), or such a file. Needs
    matplotlib, which comes with the extra `train`.
    """
    from streamproc.models.report.write import report_again

    for path in report_again(source, out):
        click.echo(str(path))


def _inference(config: Path | None) -> InferenceSettings:
    """Return the ``[inference]`` section in force."""
    return load_settings(config).inference
