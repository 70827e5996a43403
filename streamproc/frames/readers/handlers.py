"""Resources of any other spec: through the handler registered for it under ``databroker.handlers``.

A handler is someone else's code: it may block, and opens what it likes below the path it is given. What can
be checked is: the resource's path, every file it lists for the datum, and no ``..`` in what it is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.errors import FrameFailed, NotYet
from streamproc.frames.paths import PathPolicy
from streamproc.frames.readers.asks import Ask
from streamproc.frames.readers.handles import HandleCache
from streamproc.frames.readers.shapes import check_dtype, check_size

__all__ = ["HandlerReader", "registered_handlers"]

GROUP = "databroker.handlers"

_MAY_COME = (OSError, KeyError, IndexError, ValueError)
"""What handlers raise for a file or row that is not there: to be tried again."""


def registered_handlers() -> dict[str, EntryPoint]:
    """Return the installed handlers by spec; none is imported by asking."""
    return {point.name: point for point in entry_points(group=GROUP)}


class HandlerReader:
    """Reads datums through registered handlers.

    Parameters
    ----------
    policy : PathPolicy
        Asked for the resource's path and for every file the handler lists.
    max_frame_bytes : int
        Largest reading (bytes).
    max_open_files : int
        Most handlers kept; they hold files open.
    handlers : callable
        Returns the entry points by spec; asked once, when first needed.
    """

    def __init__(
        self,
        policy: PathPolicy,
        *,
        max_frame_bytes: int,
        max_open_files: int,
        handlers: Callable[[], Mapping[str, EntryPoint]] = registered_handlers,
    ) -> None:
        self._policy = policy
        self._max_bytes = max_frame_bytes
        self._list_handlers = handlers
        self._points: Mapping[str, EntryPoint] | None = None
        self._open: HandleCache[tuple[str, str], _Open] = HandleCache(max_open_files)

    def read(self, ask: Ask) -> npt.NDArray[Any]:
        """Return what the handler gives for the datum, computed where it is a dask array.

        Raises
        ------
        NotYet
            A file is missing, or the handler failed as handlers do when data are not there yet.
        FrameFailed
            No handler for the spec, a path outside the roots, any other failure, or no array of numbers.
        """
        if ask.handler is None:
            raise FrameFailed(f"no reader for {ask.form!r}")
        resource, datum = ask.handler
        point = self._point(ask.form)
        path = self._policy.check(ask.base)
        kwargs = dict(datum.get("datum_kwargs") or {})
        _refuse_climbing(ask.parameters, kwargs)
        key = (ask.run_uid, str(resource.get("uid")))
        try:
            with self._open.use(key, ask.run_uid, lambda: _Open(point, path, ask.parameters)) as handler:
                return self._array(handler, kwargs, ask.form)
        except (FrameFailed, NotYet) as error:
            self._open.drop(key)
            raise error

    def release(self, run_uid: str) -> None:
        """Close the handlers of a run."""
        self._open.release(run_uid)

    def close(self) -> None:
        """Close all handlers."""
        self._open.close()

    def _point(self, spec: str) -> EntryPoint:
        if self._points is None:
            self._points = self._list_handlers()
        point = self._points.get(spec)
        if point is None:
            known = ", ".join(sorted(self._points)) or "none"
            raise FrameFailed(
                f"no reader for the resource spec {spec!r:.80}: install a package that registers a handler "
                f"for it under {GROUP!r} (registered: {known})"
            )
        return point

    def _array(self, handler: _Open, kwargs: Mapping[str, Any], spec: str) -> npt.NDArray[Any]:
        for name in handler.files(kwargs):
            if not self._policy.check(Path(name).absolute()).exists():
                raise NotYet(f"{name} is not there (yet)")
        what = f"the handler's answer for {spec}"
        given = handler.call(kwargs)
        shape, dtype = getattr(given, "shape", None), getattr(given, "dtype", None)
        if isinstance(shape, tuple) and isinstance(dtype, np.dtype):
            check_dtype(dtype, what)
            check_size(tuple(int(n) for n in shape), dtype.itemsize, self._max_bytes, what)
        return handler.computed(given)


class _Open:
    """One handler object, made for one resource; every failure of it is contained here."""

    def __init__(self, point: EntryPoint, path: Path, kwargs: Mapping[str, Any]) -> None:
        self._name = f"{point.value} (spec {point.name})"
        try:
            make = point.load()
        except Exception as error:
            raise FrameFailed(f"the handler {self._name} cannot be loaded: {error}") from error
        self._handler = self._contained(lambda: make(str(path), **kwargs))

    def close(self) -> None:
        close = getattr(self._handler, "close", None)
        if callable(close):
            try:
                close()
            except Exception:
                return

    def files(self, kwargs: Mapping[str, Any]) -> list[str]:
        """Return the files the handler says it will open for this datum; many handlers do not say."""
        listing = getattr(self._handler, "get_file_list", None)
        if not callable(listing):
            return []
        try:
            return [str(name) for name in listing([dict(kwargs)])]
        except Exception:
            # It is optional and for export only: some handlers list with other arguments than they read with.
            return []

    def call(self, kwargs: Mapping[str, Any]) -> Any:
        return self._contained(lambda: self._handler(**kwargs))

    def computed(self, given: Any) -> npt.NDArray[Any]:
        compute = getattr(given, "compute", None)
        array: npt.NDArray[Any] = self._contained(
            lambda: np.asarray(compute() if callable(compute) else given)
        )
        return array

    def _contained(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except _MAY_COME as error:
            raise NotYet(
                f"the handler {self._name} cannot read (yet): {type(error).__name__}: {error}"
            ) from error
        except Exception as error:
            raise FrameFailed(f"the handler {self._name} failed: {type(error).__name__}: {error}") from error


def _refuse_climbing(*arguments: Mapping[str, Any]) -> None:
    """Refuse ``..`` as a path component in any text a handler is told."""
    for name, value in (item for mapping in arguments for item in mapping.items()):
        if isinstance(value, str) and (".." in value.replace("\\", "/").split("/") or "\0" in value):
            raise FrameFailed(f"the handler argument {name} = {value!r:.200} climbs out of its folder")
