"""Files of a run in a SQL catalog as stream_resources and stream_datums: all of them, in their order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from streamproc.errors import ArchiveDamaged
from streamproc.transports.archive.ports import NamedDocument, RunRef

__all__ = ["External", "external_of", "mended", "template_of"]

_ADAPTER_ONLY = ("swmr", "locking")
"""What Tiled's adapters want to know and documents never say."""

_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class External:
    """One data key whose frames are in files: resources, and which of them holds which reading.

    Attributes
    ----------
    resource : Mapping
        The stream_resource, or what all have in common where each file has its own.
    uris : tuple of str
        One file per reading; empty where one resource has them all.
    count : int
        Readings there are.
    first : int
        Index of the first.
    """

    resource: Mapping[str, Any]
    uris: tuple[str, ...]
    count: int
    first: int = 0
    told: set[int] = field(default_factory=set)

    def resources(self) -> Iterator[dict[str, Any]]:
        """Yield the resource that comes with the descriptor, if one has all readings."""
        if not self.uris:
            yield dict(self.resource)

    def datum(self, index: int, seq_num: int, descriptor: str) -> list[NamedDocument]:
        """Return what names reading ``index`` (from 0) of the stream."""
        if index >= self.count:
            return []
        self.told.add(index)
        if not self.uris:
            return [self._datum(self.resource["uid"], index, index + 1, seq_num, descriptor, self.first)]
        resource = {**self.resource, "uid": f"{self.resource['uid']}-{index}", "uri": self.uris[index]}
        one = self._datum(resource["uid"], index, index + 1, seq_num, descriptor, -index)
        return [("stream_resource", resource), one]

    def rest(self, begin: int, seq_num: int, descriptor: str) -> list[NamedDocument]:
        """Return what names the readings from ``begin`` on, of which there are no events."""
        if begin >= self.count:
            return []
        if self.uris:
            many = (self.datum(i, seq_num + i - begin, descriptor) for i in range(begin, self.count))
            return [named for few in many for named in few]
        return [self._datum(self.resource["uid"], begin, self.count, seq_num, descriptor, self.first)]

    def _datum(
        self, resource: str, begin: int, stop: int, seq_num: int, descriptor: str, shift: int
    ) -> NamedDocument:
        return "stream_datum", {
            "uid": f"{resource}/{begin}", "stream_resource": resource, "descriptor": descriptor,
            "indices": {"start": begin + shift, "stop": stop + shift},
            "seq_nums": {"start": seq_num, "stop": seq_num + stop - begin},
        }  # fmt: skip


def external_of(run: RunRef, descriptor: Mapping[str, Any], key: str, node: Any) -> External:
    """Read from a node's data source where the frames of a key are."""
    source = node.data_sources()[0]
    assets = sorted((a for a in source.assets if a.parameter), key=lambda a: a.num or 0) or source.assets
    uris = [mended(str(a.data_uri), run) for a in assets]
    parameters = {k: v for k, v in dict(source.parameters).items() if k not in _ADAPTER_ONLY}
    structure: Any = source.structure
    sizes = structure["shape"] if isinstance(structure, Mapping) else structure.shape
    shape = [int(n) for n in sizes]
    said = descriptor["data_keys"][key].get("shape") or []
    stacked = len(shape) == len(said) + 1
    frames = int(said[0]) if said and said[0] and not stacked else 1
    count = shape[0] if stacked else shape[0] // frames
    resource = {
        "uid": f"sr-{descriptor['uid']}-{key}", "data_key": key, "run_start": run.uid,
        "mimetype": source.mimetype, "parameters": parameters, "uri": uris[0],
    }  # fmt: skip
    if len(uris) == 1 or "template" in parameters:
        return External(resource, (), count)
    return _many_files(run, resource, uris, count, key)


def _many_files(run: RunRef, resource: dict[str, Any], uris: Sequence[str], count: int, key: str) -> External:
    run.note(f"{key}: {len(uris)} files were taken from the catalog's assets, in their order")
    if len(uris) == count:
        return External(resource, tuple(uris), count)
    found = template_of(uris)
    each = len(uris) // count if count else 0
    if found is None or not each or len(uris) != each * count or found[2] % each:
        raise ArchiveDamaged(
            f"{run.place}: {len(uris)} files for {count} readings of {key}: which belongs to which is not "
            "known"
        )
    folder, template, first = found
    parameters = {**resource["parameters"], "template": template, "files_per_datum": each}
    return External({**resource, "uri": folder, "parameters": parameters}, (), count, first // each)


def template_of(uris: Sequence[str]) -> tuple[str, str, int] | None:
    """Return folder, ``%d`` template and first number of files that differ in one number that counts up.

    Digits elsewhere in the names (a uuid, a date) do not matter. None where that is not so.
    """
    folder = uris[0].rsplit("/", 1)[0] + "/"
    if any(not u.startswith(folder) or "/" in u[len(folder) :] for u in uris):
        return None
    split = [_DIGITS.split(unquote(uri[len(folder) :])) for uri in uris]
    if len({len(parts) for parts in split}) != 1:
        return None
    differing = [i for i in range(len(split[0])) if len({parts[i] for parts in split}) > 1]
    if len(differing) != 1 or differing[0] % 2 == 0:
        return None
    at, first = differing[0], int(split[0][differing[0]])
    width = len(split[0][at])
    field_ = f"%0{width}d"
    if any(field_ % (first + i) != parts[at] for i, parts in enumerate(split)):
        return None
    before, after = "".join(split[0][:at]), "".join(split[0][at + 1 :])
    if any(c in before + after for c in "%{}"):
        return None
    return folder, before + field_ + after, first


def mended(uri: str, run: RunRef) -> str:
    """Put back the slash that is lost where a resource's path did not end with one, if that file is there.

    ``.../scan_7`` + ``img_0001.tif`` is kept as ``.../scan_7img_0001.tif``.
    """
    parts = urlsplit(uri)
    if parts.scheme != "file":
        return uri
    path = Path(unquote(parts.path))
    if path.exists() or not path.parent.is_dir():
        return uri
    for folder in sorted(p for p in path.parent.iterdir() if p.is_dir() and path.name.startswith(p.name)):
        file = folder / path.name[len(folder.name) :]
        if file.is_file():
            run.note(f"the slash that the catalog lost in file names was put back: {file.parent}/")
            return f"file://{parts.netloc}{quote(str(file))}"
    return uri
