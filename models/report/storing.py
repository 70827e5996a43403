"""Nested dataclasses of arrays and words in one ``.npz`` file, without pickle."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.errors import ConfigurationError

__all__ = ["load", "save"]

_FORMAT = "streamproc-evidence-1"
_TREE = "tree"

Arrays = dict[str, npt.NDArray[Any]]


def save(value: Any, kinds: Mapping[str, type], path: Path) -> None:
    """Write ``value`` as a JSON tree (array ``tree``, UTF-8 bytes) whose leaves name the other arrays.

    Parameters
    ----------
    value : dataclass instance
        Of one of ``kinds``; its fields may hold the same, arrays, texts, numbers, None, tuples and mappings.
    kinds : mapping of str to type
        The dataclasses that may occur.
    path : Path
        Replaced only when all is written.
    """
    arrays: Arrays = {}
    tree = {"format": _FORMAT, "value": _pack(value, kinds, arrays)}
    arrays[_TREE] = np.frombuffer(json.dumps(tree).encode(), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        np.savez_compressed(file, **arrays)
    part.replace(path)


def load(kinds: Mapping[str, type], path: Path) -> Any:
    """Read what :func:`save` wrote.

    Raises
    ------
    ConfigurationError
        The file is missing, damaged, or of another format.
    """
    if not path.is_file():
        raise ConfigurationError(f"{path}: no such file")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        tree = json.loads(arrays[_TREE].tobytes())
        if tree["format"] != _FORMAT:
            raise ConfigurationError(f"{path}: expected format {_FORMAT!r}, got {tree['format']!r}")
        return _unpack(tree["value"], kinds, arrays)
    except ConfigurationError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise ConfigurationError(f"{path}: not the evidence of a training ({error})") from error


def _pack(value: Any, kinds: Mapping[str, type], arrays: Arrays) -> Any:
    if is_dataclass(value) and kinds.get(type(value).__name__) is type(value):
        inner = {f.name: _pack(getattr(value, f.name), kinds, arrays) for f in fields(value)}
        return {"kind": type(value).__name__, "fields": inner}
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biuf":
            raise ConfigurationError(f"evidence holds arrays of numbers only, got one of {value.dtype}")
        key = f"array{len(arrays)}"
        arrays[key] = value
        return {"array": key}
    if isinstance(value, Mapping):
        return {"mapping": [[str(k), _pack(v, kinds, arrays)] for k, v in value.items()]}
    if isinstance(value, (tuple, list)):
        return [_pack(v, kinds, arrays) for v in value]
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    raise ConfigurationError(f"evidence cannot hold a {type(value).__name__}: {value!r}")


def _unpack(node: Any, kinds: Mapping[str, type], arrays: Arrays) -> Any:
    if isinstance(node, list):
        return tuple(_unpack(n, kinds, arrays) for n in node)
    if not isinstance(node, dict):
        return node
    if "array" in node:
        return arrays[node["array"]]
    if "mapping" in node:
        return {k: _unpack(v, kinds, arrays) for k, v in node["mapping"]}
    kind = kinds[node["kind"]]
    return kind(**{k: _unpack(v, kinds, arrays) for k, v in node["fields"].items()})
