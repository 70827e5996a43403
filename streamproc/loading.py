"""Find analyses by walking the consumers folder, or take one from a file."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from streamproc.analysis import Analysis
from streamproc.errors import ConfigurationError
from streamproc.settings import faults_of

__all__ = ["analysis_names", "analysis_settings", "find_analysis"]

_PACKAGE = "streamproc.consumers"


def analysis_names() -> dict[str, str]:
    """Return the installed analyses: name to module name."""
    package = importlib.import_module(_PACKAGE)
    modules = [m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")]
    return {name.replace("_", "-"): f"{_PACKAGE}.{name}" for name in sorted(modules)}


def find_analysis(name: str) -> type[Analysis]:
    """Return the analysis class of a name (``phase-map``) or a file (``consumers/phase_map.py``).

    Raises
    ------
    ConfigurationError
        No such analysis or file, the file cannot be imported, or it names no ``ANALYSIS``.
    """
    known = analysis_names()
    if name in known:
        module = importlib.import_module(known[name])
    elif name.endswith(".py"):
        module = _from_file(Path(name))
    else:
        raise ConfigurationError(
            f"no analysis {name!r}; there is: {', '.join(known)} (or give the path of a consumer's .py file)"
        )
    found = getattr(module, "ANALYSIS", None)
    if not isinstance(found, type):
        raise ConfigurationError(f"{module.__file__}: must name its analysis class in ANALYSIS")
    lacking = [
        a for a in ("name", "version", "Settings", "load", "begin", "outputs") if not hasattr(found, a)
    ]
    if lacking:
        raise ConfigurationError(f"{module.__file__}: {found.__name__} lacks {', '.join(lacking)}")
    return found


def analysis_settings(analysis: type[Analysis], table: Mapping[str, Any]) -> Any:
    """Validate the ``[analysis.NAME]`` table with the analysis's own settings model.

    Raises
    ------
    ConfigurationError
        All faults of the table in one message.
    """
    try:
        return analysis.Settings.model_validate(dict(table))
    except ValidationError as error:
        raise ConfigurationError(f"[analysis.{analysis.name}]: {faults_of(error)}") from error


def _from_file(path: Path) -> ModuleType:
    path = path.resolve()
    if not path.is_file():
        raise ConfigurationError(f"{path}: no such file")
    installed = importlib.util.find_spec(_PACKAGE)
    folders = list(installed.submodule_search_locations or ()) if installed else []
    if any(Path(folder).resolve() == path.parent for folder in folders):
        return importlib.import_module(f"{_PACKAGE}.{path.stem}")
    name = f"streamproc_consumer_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigurationError(f"{path}: cannot be imported: {type(error).__name__}: {error}") from error
    return module
