"""Documents with something wrong in them, and runs of such (see :mod:`streamproc.testing.fuzzing`)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from streamproc.testing.fuzzed_values import (
    DATASETS,
    MIMETYPES,
    NAMES,
    NUMBERS,
    ODD_NAMES,
    SHAPES,
    SPECS,
    TEMPLATES,
    TEXTS,
    odd_array,
    odd_value,
)
from streamproc.testing.hostile import hostile_paths, poison
from streamproc.testing.makers import Pair

__all__ = ["FuzzedDocuments"]

_REFERENCES = ("uid", "run_start", "descriptor", "resource", "stream_resource", "datum_id")
_STRANGERS = ("nobody", "sample-inline", "sample-page", "", "x" * 600)
_SPANS = (1, 1, 2, 5, 50, 2**20, 10**6, 10**6 + 1, 2**31, 2**40, 2**62)
_LONG_SPANS = range(1000, 10**6 + 1)
_FORMS = ((200,), (200,), (1, 200), (7,), (0,), (10, 20), ())


class FuzzedDocuments:
    """Breaks sound documents, and makes runs with anything wrong in them.

    Parameters
    ----------
    documents : sequence of Pair
        Sound documents.
    source : random.Random
        Where chance comes from.
    canary : Path
        The file that a pickle creates when something loads it.
    paths : sequence of str
        URIs and paths for documents that name files, beside those of the hostile corpus.
    """

    def __init__(
        self, documents: Sequence[Pair], source: random.Random, canary: Path, paths: Sequence[str] = ()
    ) -> None:
        self._documents, self._random = documents, source
        self._pickled = poison(canary)
        self._paths = (*hostile_paths(), *paths, *paths)
        self._axis = np.linspace(20.0, 100.0, 200)
        self._count = 0

    def changed(self) -> Pair:
        """Return a sound document with one to three things in it replaced, removed or added."""
        name, doc = self._pick()
        for _ in range(self._random.choice((1, 1, 2, 3))):
            self._change(doc)
        return name, doc

    def foreign(self) -> Pair:
        """Return a sound document that refers to what it does not belong to."""
        name, doc = self._pick()
        fields = [field for field in _REFERENCES if field in doc]
        if fields:
            doc[self._random.choice(fields)] = self._random.choice(_STRANGERS)
        return name, doc

    def renamed(self) -> tuple[Any, Any]:
        """Return a document under a name that is not its own."""
        return self._random.choice((*NAMES, *ODD_NAMES)), self._pick()[1]

    def array(self) -> Pair:
        """Return an event with an array that is none."""
        return "event", self._event("nobody", "nobody", 1, self._array())

    def run(self) -> Iterator[Pair]:
        """Yield a run of its own: sound in part, with anything wrong in it or in its order."""
        self._count += 1
        uid = f"fuzz-{self._count}-{self._random.getrandbits(32):08x}"
        changes = self._random.choice((0.0, 0.05, 0.2))
        makers: tuple[Callable[[str], Iterator[Pair]], ...] = (self._inline, self._stream, self._datum)
        for name, doc in self._disordered(list(self._random.choice(makers)(uid))):
            if self._random.random() < changes:
                doc = _copied(doc)
                self._change(doc)
            yield name, doc

    def _disordered(self, pairs: list[Pair]) -> list[Pair]:
        """Exchange, drop or repeat (with other contents) a document, now and then."""
        chance, anywhere = self._random.random, self._random.randrange
        if chance() < 0.3:
            place, other = anywhere(len(pairs)), anywhere(len(pairs))
            pairs[place], pairs[other] = pairs[other], pairs[place]
        if chance() < 0.2:
            del pairs[anywhere(len(pairs))]
        if chance() < 0.2:
            name, doc = self._random.choice(pairs)
            pairs.insert(anywhere(len(pairs)), (name, {**doc, "time": 0, "again": True}))
        return pairs

    # -- runs ---------------------------------------------------------------------------------------------

    def _inline(self, uid: str) -> Iterator[Pair]:
        yield from self._opened(uid, "")
        for number in range(1, self._random.randrange(2, 6)):
            value = self._array() if self._random.random() < 0.3 else self._pattern()
            yield "event", self._event(uid, f"{uid}-d", self._mostly(number, NUMBERS), value)
        yield self._stop(uid)

    def _stream(self, uid: str) -> Iterator[Pair]:
        yield from self._opened(uid, "STREAM:")
        uri = self._random.choice(self._paths)
        yield "stream_resource", {
            "uid": f"{uid}-s", "run_start": uid, "data_key": "intensity", "uri": uri,
            "mimetype": self._mostly(_mimetype(uri), MIMETYPES), "parameters": self._parameters(uri),
        }  # fmt: skip
        start = 0
        for number in range(self._random.randrange(1, 4)):
            stop = start + self._span()
            resource = f"{uid}-s" if self._random.random() < 0.9 else "nobody"
            yield "stream_datum", {
                "uid": f"{uid}-s/{number}", "descriptor": f"{uid}-d", "stream_resource": resource,
                "indices": {"start": start, "stop": stop}, "seq_nums": {"start": start + 1, "stop": stop + 1},
            }  # fmt: skip
            if self._random.random() < 0.7:
                yield "event", self._event(uid, f"{uid}-d", number + 1)
            start = stop
        yield self._stop(uid)

    def _datum(self, uid: str) -> Iterator[Pair]:
        yield from self._opened(uid, "FILESTORE:")
        path = self._random.choice(self._paths)
        spec = self._mostly("NPY_SEQ" if path.endswith("_0.npy") else "AD_HDF5", SPECS)
        yield "resource", {
            "uid": f"{uid}-r", "run_start": uid, "spec": spec, "root": self._mostly("/", ("", "..", path)),
            "resource_path": path.removesuffix("_0.npy") if spec == "NPY_SEQ" else path,
            "resource_kwargs": self._parameters(path), "path_semantics": "posix",
        }  # fmt: skip
        for number in range(self._random.randrange(1, 4)):
            kwargs = {"index": self._mostly(number, NUMBERS), "point_number": self._mostly(number, NUMBERS)}
            yield "datum", {"datum_id": f"{uid}-r/{number}", "resource": f"{uid}-r", "datum_kwargs": kwargs}
            yield "event", self._event(uid, f"{uid}-d", number + 1, f"{uid}-r/{number}")
        yield self._stop(uid)

    def _opened(self, uid: str, external: str) -> Iterator[Pair]:
        yield "start", {"uid": uid, "time": 1.7e9, "plan_name": "fuzz", "scan_id": self._mostly(1, NUMBERS)}
        shape = self._mostly([200], SHAPES)
        key = {"source": "fuzz", "dtype": "array", "shape": shape}
        axis = {"source": "fuzz", "dtype": "array", "shape": [200], "units": "deg"}
        keys = {"intensity": {**key, "external": external} if external else key, "two_theta": axis}
        yield "descriptor", {
            "uid": f"{uid}-d", "run_start": uid, "time": 1.7e9, "name": "primary", "hints": {},
            "object_keys": {}, "data_keys": keys, "configuration": {},
        }  # fmt: skip

    def _event(self, uid: str, descriptor: str, number: Any, value: Any = None) -> dict[str, Any]:
        data: dict[str, Any] = {"two_theta": self._axis if self._random.random() < 0.9 else self._array()}
        if value is not None:
            data["intensity"] = value
        time_s = self._mostly(1.7e9, NUMBERS)
        return {
            "uid": f"{uid}-e{number}", "descriptor": descriptor, "seq_num": number, "time": 1.7e9,
            "data": data, "timestamps": dict.fromkeys(data, time_s),
            "filled": {"intensity": False} if isinstance(value, str) else {},
        }  # fmt: skip

    def _stop(self, uid: str) -> Pair:
        counts = {"primary": self._mostly(3, NUMBERS)}
        doc = {
            "uid": f"{uid}-z",
            "run_start": uid,
            "time": 1.8e9,
            "exit_status": "success",
            "num_events": counts,
        }
        return "stop", doc

    # -- values -------------------------------------------------------------------------------------------

    def _mostly(self, sound: Any, others: Sequence[Any]) -> Any:
        return sound if self._random.random() < 0.9 else self._random.choice(others)

    def _span(self) -> int:
        """Return the length of a range; what is long and yet allowed costs a minute each, so it is rare."""
        span = self._random.choice(_SPANS)
        return 3 if span in _LONG_SPANS and self._random.random() < 0.995 else span

    def _parameters(self, path: str) -> dict[str, Any]:
        """Return what tells a reader where in a file the data are, all of it right or most of it odd."""
        pick = self._random.choice
        parameters = {"dataset": pick(DATASETS)}
        if self._random.random() < 0.7:
            return parameters if ".h5" in path else {}
        return parameters | {
            "chunk_shape": pick(SHAPES), "template": pick(TEMPLATES), "filename": pick(TEXTS),
            "frame_per_point": self._mostly(1, NUMBERS), "join_method": pick(("concat", "stack", None)),
        }  # fmt: skip

    def _pattern(self) -> Any:
        shape = self._random.choice(_FORMS)
        if self._random.random() < 0.5:
            return np.full(shape, float(self._random.choice(NUMBERS)))
        return np.arange(float(np.prod(shape))).reshape(shape)

    def _array(self) -> Any:
        return _copied(odd_array(self._random, self._pickled))  # it may be changed in its turn

    def _odd(self) -> Any:
        return _copied(odd_value(self._random))

    # -- changing documents -------------------------------------------------------------------------------

    def _pick(self) -> Pair:
        name, doc = self._random.choice(self._documents)
        return name, _copied(doc)

    def _change(self, doc: dict[Any, Any]) -> None:
        holders = list(_holders(doc))
        holder = self._random.choice([doc] * len(holders) + holders)  # half of the changes at the top
        if isinstance(holder, list) and not holder:
            return
        chance = self._random.random()
        if isinstance(holder, dict) and (not holder or chance < 0.1):
            keys = (7, -1, b"bytes", None, 1.5, True, "a.b", "", "x" * 300)
            holder[self._random.choice(keys)] = self._odd()
            return
        where = self._random.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        if chance < 0.25:
            del holder[where]
        elif chance < 0.35:
            holder[where] = self._random.choice(self._paths)
        else:
            holder[where] = self._array() if chance > 0.9 else self._odd()


def _mimetype(uri: str) -> str:
    """Return the form that the name of a file promises."""
    forms = {".npy": "application/x-npy", ".zarr": "application/x-zarr", ".tif": "image/tiff"}
    return next((form for suffix, form in forms.items() if suffix in uri), "application/x-hdf5")


def _copied(value: Any) -> Any:
    """Copy maps and lists, not arrays."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list | tuple) else value


def _holders(value: Any) -> Iterator[Any]:
    """Yield every map and list in a document, itself first."""
    stack = [value]
    while stack:
        holder = stack.pop()
        if isinstance(holder, dict | list):
            yield holder
            stack.extend(holder.values() if isinstance(holder, dict) else holder)
