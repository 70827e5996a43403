"""Find models by name and version in folders ``NAME/VERSION/model.onnx``."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from streamproc.errors import ConfigurationError
from streamproc.settings import InferenceSettings

__all__ = ["ModelFile", "find_model", "list_models", "model_files"]


_FILES = ("model.onnx", "golden.npz")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file found in one of the roots."""

    name: str
    version: str
    path: Path


def _roots(settings: InferenceSettings) -> list[Path]:
    return [*settings.model_roots, Path(str(resources.files("streamproc.models")))]


def model_files(settings: InferenceSettings) -> list[Path]:
    """Return the model and golden-vector files in all folders, as they are now; to see when one changes."""
    return [path for root in _roots(settings) for name in _FILES for path in sorted(root.glob(f"*/*/{name}"))]


def list_models(settings: InferenceSettings) -> list[ModelFile]:
    """Return every model in the configured roots and among the shipped ones, by name and version."""
    found: dict[tuple[str, str], ModelFile] = {}
    for root in _roots(settings):
        for path in sorted(root.glob("*/*/model.onnx")):
            name, version = path.parent.parent.name, path.parent.name
            found.setdefault((name, version), ModelFile(name, version, path))
    return sorted(found.values(), key=lambda m: (m.name, _version_order(m.version)))


def find_model(reference: str, settings: InferenceSettings, base_dir: Path | None = None) -> Path:
    """Return the file that a reference names.

    Parameters
    ----------
    reference : str
        ``NAME`` (newest version), ``NAME:VERSION``, or the path of an ``.onnx`` file.

    Raises
    ------
    ConfigurationError
        When there is none; lists what there is.
    """
    if reference.endswith(".onnx"):
        path = (base_dir or Path()) / reference
        if not path.is_file():
            raise ConfigurationError(f"model file {path} does not exist")
        return path
    name, _, version = reference.partition(":")
    models = list_models(settings)
    fitting = [m for m in models if m.name == name and version in ("", m.version)]
    if not fitting:
        have = ", ".join(f"{m.name}:{m.version}" for m in models) or "none"
        raise ConfigurationError(f"no model {reference!r}; there is: {have} (folders: inference.model_roots)")
    return fitting[-1].path


def _version_order(version: str) -> tuple[tuple[int, str], ...]:
    """Numbers in a version sort as numbers."""
    return tuple(
        (int(part), "") if part.isdigit() else (-1, part) for part in version.replace("-", ".").split(".")
    )
