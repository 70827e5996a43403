"""Ask: one reading to fetch, whatever document style it came in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from streamproc.errors import FrameFailed
from streamproc.frames.paths import PathPolicy
from streamproc.frames.requests import DatumRef, StreamSlice

__all__ = ["Ask", "ask_for", "document_shape", "joined_path", "whole_number"]

HDF5, TIFF, JPEG, NPY, ZARR = "hdf5", "tiff", "jpeg", "npy", "zarr"

FORM_BY_MIMETYPE: Mapping[str, str] = {
    "application/x-hdf5": HDF5,
    "application/x-hdf5;type=swmr": HDF5,
    "multipart/related;type=image/tiff": TIFF,
    "image/tiff": TIFF,
    "multipart/related;type=image/jpeg": JPEG,
    "image/jpeg": JPEG,
    "multipart/related;type=application/x-npy": NPY,
    "application/x-npy": NPY,
    "application/x-zarr": ZARR,
}
"""As bluesky's and bluesky-tiled-plugins' consolidators and Tiled's adapters name them."""

FORM_BY_SPEC: Mapping[str, str] = {
    "AD_HDF5": HDF5,
    "AD_HDF5_SWMR": HDF5,
    "AD_HDF5_SWMR_STREAM": HDF5,
    "AD_HDF5_SINGLE": HDF5,
    "HDF5": HDF5,
    "TPX_HDF5": HDF5,
    "AD_TIFF": TIFF,
    "NPY_SEQ": NPY,
}
"""Specs read here; any other goes to its registered ``databroker.handlers`` entry point."""

_DATASET_BY_SPEC: Mapping[str, str] = {"TPX_HDF5": "/entry/instrument/detector/data"}
_AREA_DETECTOR_DATASET = "/entry/data/data"


@dataclass(frozen=True, slots=True)
class Ask:
    """One reading to fetch from storage.

    Attributes
    ----------
    run_uid : str
        For which run: its files are closed when it ends.
    form : str
        ``hdf5``, ``tiff``, ``jpeg``, ``npy``, ``zarr``; or, with ``handler``, the resource's spec.
    base : str
        Local path of the file, folder or name prefix; not yet checked against the allowed roots.
    parameters : Mapping
        The stream_resource's parameters, or resource and datum keyword arguments.
    index : int
        Which reading (event) of this resource; rows or files follow from ``frames`` and the file.
    shape : tuple of int or None
        The data key's shape as the descriptor has it, ``()`` where it has none.
    frames : int or None
        Frames per reading where the document says so outright (multiplier, frame_per_point).
    datum_style : bool
        True for resource/datum: templates are then ``template % (folder, filename, number)``.
    handler : tuple or None
        (resource, datum) documents when a registered handler has to read it.
    """

    run_uid: str
    form: str
    base: str
    parameters: Mapping[str, Any]
    index: int
    shape: tuple[int | None, ...] = ()
    frames: int | None = None
    datum_style: bool = False
    handler: tuple[Mapping[str, Any], Mapping[str, Any]] | None = field(default=None, repr=False)


def ask_for(
    locator: StreamSlice | DatumRef, data_key: Mapping[str, Any], run_uid: str, policy: PathPolicy
) -> Ask:
    """Say in one form what either document style asks for.

    Raises
    ------
    FrameFailed
        A document without the fields that its style needs, or an index that is no whole number >= 0.
    """
    shape = document_shape(data_key)
    if isinstance(locator, DatumRef):
        return _ask_for_datum(locator, shape, run_uid, policy)
    resource = locator.stream_resource
    if "mimetype" not in resource and "spec" in resource:
        return _ask_for_old_stream(locator, shape, run_uid, policy)
    mimetype = str(resource.get("mimetype"))
    form = FORM_BY_MIMETYPE.get(mimetype.replace(" ", "").lower())
    if form is None:
        known = ", ".join(sorted(FORM_BY_MIMETYPE))
        raise FrameFailed(f"no reader for the mimetype {mimetype!r}; known: {known}")
    parameters = _mapping(resource.get("parameters"), "stream_resource parameters")
    return Ask(
        run_uid,
        form,
        policy.local(_text(resource, "uri", "stream_resource")),
        parameters,
        whole_number(locator.index, "the index of the stream_datum"),
        shape,
        _frames(parameters),
    )


def _ask_for_old_stream(
    locator: StreamSlice, shape: tuple[int | None, ...], run_uid: str, policy: PathPolicy
) -> Ask:
    """Read a stream_resource of event-model before 1.20: spec, root and resource_path instead of a URI."""
    resource = locator.stream_resource
    spec = str(resource["spec"])
    if spec not in FORM_BY_SPEC:
        raise FrameFailed(f"no reader for a stream_resource of spec {spec!r}")
    parameters = _with_dataset(spec, _mapping(resource.get("resource_kwargs"), "resource_kwargs"))
    base = policy.local(joined_path(resource))
    index = whole_number(locator.index, "the index of the stream_datum")
    return Ask(run_uid, FORM_BY_SPEC[spec], base, parameters, index, shape, _frames(parameters))


def _ask_for_datum(ref: DatumRef, shape: tuple[int | None, ...], run_uid: str, policy: PathPolicy) -> Ask:
    resource, datum = ref.resource, ref.datum
    spec = str(resource.get("spec"))
    kwargs = _mapping(resource.get("resource_kwargs"), "resource_kwargs")
    datum_kwargs = _mapping(datum.get("datum_kwargs"), "datum_kwargs")
    base = policy.local(joined_path(resource))
    form = FORM_BY_SPEC.get(spec)
    if form is None:
        return Ask(run_uid, spec, base, kwargs, 0, shape, None, True, (resource, datum))
    parameters = _with_dataset(spec, {**kwargs, **datum_kwargs})
    frames = _frames(parameters) or (None if form == NPY else 1)
    return Ask(run_uid, form, base, parameters, _datum_index(datum_kwargs, frames), shape, frames, True)


def _datum_index(kwargs: Mapping[str, Any], frames: int | None) -> int:
    """Return which reading a datum names: point_number, index, frame, or an indices range of one."""
    for name in ("point_number", "index"):
        if name in kwargs:
            return whole_number(kwargs[name], f"the datum's {name}")
    if "frame" in kwargs and frames in (None, 1):
        return whole_number(kwargs["frame"], "the datum's frame")
    indices = kwargs.get("indices")
    if isinstance(indices, Mapping):
        start = whole_number(indices.get("start"), "the datum's indices.start")
        if indices.get("stop") == start + 1:
            return start
    raise FrameFailed(
        f"the datum does not say which reading it is: expected point_number, index, frame (one frame per "
        f"point) or an indices range of one, got {sorted(map(str, kwargs))}"
    )


def _with_dataset(spec: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    if FORM_BY_SPEC[spec] != HDF5:
        return parameters
    named = parameters.get("dataset") or parameters.get("path") or parameters.get("key")
    return {**parameters, "dataset": named or _DATASET_BY_SPEC.get(spec, _AREA_DETECTOR_DATASET)}


def joined_path(resource: Mapping[str, Any]) -> str:
    """Join root and resource_path; a leading slash of resource_path does not leave the root."""
    root = str(resource.get("root") or "")
    path = _text(resource, "resource_path", "resource")
    if not root:
        return path
    separator = "\\" if "\\" in root and "/" not in root else "/"
    return root.rstrip("/\\") + separator + path.lstrip("/\\")


def _frames(parameters: Mapping[str, Any]) -> int | None:
    for name in ("frame_per_point", "multiplier"):
        if parameters.get(name) is not None:
            frames = whole_number(parameters[name], name)
            if frames == 0:
                raise FrameFailed(f"{name} is 0: a reading has at least one frame")
            return frames
    return None


def document_shape(data_key: Mapping[str, Any]) -> tuple[int | None, ...]:
    """Return the data key's shape; sizes that are no whole number >= 0 count as unknown (None)."""
    shape = data_key.get("shape")
    if not isinstance(shape, list | tuple):
        return ()
    known = (isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in shape)
    return tuple(n if ok else None for n, ok in zip(shape, known, strict=True))


def whole_number(value: Any, what: str) -> int:
    """Return ``value`` as an int >= 0 of sane size, or refuse it by name."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise FrameFailed(f"{what} must be a whole number, got {value!r:.80}")
    number = int(value.__index__())
    if not 0 <= number < 2**48:
        raise FrameFailed(f"{what} must lie in 0..2^48, got {number!r:.80}")
    return number


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise FrameFailed(f"{what} must be a mapping, got {type(value).__name__}")
    return value


def _text(document: Mapping[str, Any], name: str, what: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise FrameFailed(f"the {what} has no {name}: expected text, got {value!r:.80}")
    return value
