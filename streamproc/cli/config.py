"""``streamproc config``: show, explain and check the settings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click
from pydantic import BaseModel, SecretStr

from streamproc.loading import analysis_names, analysis_settings, find_analysis
from streamproc.settings import Settings, load_settings

__all__ = ["config_group"]

_CONFIG = click.option("--config", "-c", type=click.Path(path_type=Path), help="Settings file (TOML).")

_NOT_SHOWN = {"analysis", "base_dir"}
"""Tables of the analyses follow by themselves; base_dir is the file's own folder."""


@click.group("config")
def config_group() -> None:
    """Show, explain and check the settings (TOML file and environment)."""


@config_group.command("show")
@_CONFIG
def show(config: Path | None) -> None:
    """Print the settings in force as TOML, secrets hidden; redirect it to begin a file of your own."""
    settings = load_settings(config)
    lines = list(_section(settings, ""))
    for name in sorted(set(settings.analysis) | set(analysis_names())):
        analysis = find_analysis(name)
        table = analysis_settings(analysis, settings.analysis.get(name, {}))
        lines += ["", f"[analysis.{name}]", *_section(table, f"analysis.{name}.")]
    click.echo("\n".join(lines))


@config_group.command("schema")
@click.option("--json", "as_json", is_flag=True, help="Print the JSON schema instead of a table.")
def schema(as_json: bool) -> None:
    """Explain every setting: its type, default and meaning."""
    models: dict[str, type[BaseModel]] = {"": Settings}
    for name in analysis_names():
        models[f"analysis.{name}."] = find_analysis(name).Settings
    if as_json:
        click.echo(json.dumps({k or "settings": m.model_json_schema() for k, m in models.items()}, indent=2))
        return
    for prefix, model in models.items():
        for name, kind, default, text in _explain(model, prefix):
            click.echo(f"{name}  ({kind}; default {default})\n    {text}")


@config_group.command("check")
@_CONFIG
def check(config: Path | None) -> None:
    """Read a settings file and say what is wrong with it; exit code 2 when something is."""
    settings = load_settings(config)
    for name, table in settings.analysis.items():
        analysis_settings(find_analysis(name), table)
    click.echo(f"{config or 'defaults'}: the settings are valid")


def _section(model: BaseModel, prefix: str) -> Iterator[str]:
    """Yield the lines of a settings model: its keys, then its sections; what is unset stands as a comment."""
    dumped = model.model_dump(mode="json")
    sections = [name for name in type(model).model_fields if isinstance(getattr(model, name), BaseModel)]
    for name, value in dumped.items():
        if name in sections or name in _NOT_SHOWN:
            continue
        yield f"# {name} is not set" if value is None else f"{name} = {_toml(value)}"
    for name in sections:
        yield from ("", f"[{prefix}{name}]", *_section(getattr(model, name), f"{prefix}{name}."))


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_toml(v) for v in value)}]"
    if isinstance(value, dict):
        return (
            "{ "
            + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items() if v is not None)
            + " }"
        )
    return json.dumps(value)


def _explain(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _explain(inner, f"{prefix}{name}.")
            continue
        kind = _kind(inner)
        default = (
            "required"
            if field.is_required()
            else json.dumps(field.get_default(call_default_factory=True), default=str)
        )
        yield f"{prefix}{name}", kind, default, field.description or ""


def _kind(annotation: Any) -> str:
    """Say a type in words that do not depend on the Python version."""
    parts = get_args(annotation)
    if get_origin(annotation) is Literal:
        return " or ".join(json.dumps(p) for p in parts)
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(_kind(p) for p in parts if p is not type(None))
    if get_origin(annotation) is Annotated:
        return _kind(parts[0])
    if get_origin(annotation) is tuple:
        return "list of " + " and ".join(dict.fromkeys(_kind(p) for p in parts if p is not Ellipsis))
    if get_origin(annotation) is dict:
        return "table"
    words = {str: "text", SecretStr: "secret text", Path: "path", bool: "true or false", int: "whole number"}
    return words.get(
        annotation, "number" if annotation is float else getattr(annotation, "__name__", "value")
    )
