"""Read a model's version folder, to calibrate it again."""

from __future__ import annotations

from pathlib import Path

from streamproc.errors import ConfigurationError
from streamproc.inference.card import CARD_KEY, ModelCard
from streamproc.inference.onnxfile import inspect_onnx

__all__ = ["read_version"]


def read_version(folder: Path) -> tuple[bytes, ModelCard]:
    """Return the bytes of ``model.onnx`` and its card.

    Parameters
    ----------
    folder : Path
        Version folder: models/NAME/VERSION.

    Raises
    ------
    ConfigurationError
        There is no such file, or it holds no card.
    """
    file = folder / "model.onnx"
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read: {error}; train the model first") from error
    text = inspect_onnx(data).metadata.get(CARD_KEY)
    if text is None:
        raise ConfigurationError(f"{file}: has no model card ({CARD_KEY!r} in its metadata); train it anew")
    return data, ModelCard.from_json(text, file=str(file))
