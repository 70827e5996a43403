"""Compiling: kernels as machine code, kept on disk while nothing that they were made of changes.

numba keeps what it compiled beside the source file, and takes it again as long as that one file is the same.
But kernels call kernels of other files and read constants of others, and those are part of the machine code:
after an update that changed only them, numbers of the old version would come out. Here a kernel is taken
again only if its file and all files of this package that it imports, directly or not, are what they were.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, cast

from numba import njit
from numba.core import caching

__all__ = ["machine_code", "stamp_of"]

_F = TypeVar("_F", bound=Callable[..., Any])

_IMPORT = re.compile(r"^from (streamproc[\w.]*) import (\([^)]*\)|[^\n]*)", re.MULTILINE)


def machine_code(**options: Any) -> Callable[[_F], _F]:
    """Compile a function on first use, without the GIL.

    The machine code is kept on disk where a folder can be written, else compiled anew in each process.

    Parameters
    ----------
    **options
        Further options of ``numba.njit``.
    """

    def compiled(function: _F) -> _F:
        dispatcher = njit(nogil=True, **options)(function)
        try:
            dispatcher._cache = _Cache(function)  # type: ignore[no-untyped-call]
        except RuntimeError:  # no folder that may be written to
            return cast(_F, dispatcher)
        return cast(_F, dispatcher)

    return compiled


def stamp_of(path: Path, modules: Mapping[str, ModuleType]) -> str:
    """Return a hash of a source file and of all files of this package that it imports, directly or not.

    Parameters
    ----------
    path : Path
        The file; its imports are done.
    modules : Mapping
        All modules by name: ``sys.modules``.
    """
    found: dict[str, str] = {}
    left = [str(path)]
    while left:
        file = left.pop()
        if file in found:
            continue
        found[file], names = _read(file)
        left += [str(modules[n].__file__) for n in names if getattr(modules.get(n), "__file__", None)]
    # Without paths: the same files in another folder are the same.
    return hashlib.sha256("".join(sorted(found.values())).encode()).hexdigest()


@cache
def _read(file: str) -> tuple[str, tuple[str, ...]]:
    """Return the hash of a file and what it may import: modules, and names that may be modules."""
    text = Path(file).read_text(encoding="utf-8")
    names: dict[str, None] = {}
    for base, listed in _IMPORT.findall(text):
        names[base] = None
        names.update(dict.fromkeys(f"{base}.{name}" for name in re.findall(r"\w+", listed)))
    return hashlib.sha256(text.encode()).hexdigest(), tuple(names)


class _Stamped:
    """What numba asks whether machine code is still that of its source."""

    _py_file: str

    def get_source_stamp(self) -> str:
        return stamp_of(Path(self._py_file), sys.modules)


class _Chosen(_Stamped, caching.UserProvidedCacheLocator):
    """In the folder of ``NUMBA_CACHE_DIR``."""


class _Beside(_Stamped, caching.InTreeCacheLocator):
    """Beside the source."""


class _OfUser(_Stamped, caching.UserWideCacheLocator):
    """In the user's cache folder."""


class _Files(caching.CompileResultCacheImpl):
    _locator_classes = [_Chosen, _Beside, _OfUser]  # noqa: RUF012 (numba's own)


class _Cache(caching.FunctionCache):
    _impl_class = _Files
