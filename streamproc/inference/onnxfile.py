"""Look into an ONNX file without the onnx package: metadata, content hash, and references to other files.

Only the protobuf wire format is needed for this, so that a service can judge a model file before
onnxruntime, which would follow external-data paths, is allowed to touch it.
Field numbers are those of onnx.proto3 (ModelProto, GraphProto, NodeProto, AttributeProto, TensorProto).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["OnnxFileInfo", "inspect_onnx", "replace_metadata"]

_METADATA_PROPS, _GRAPH, _OPSET_IMPORT, _FUNCTIONS = 14, 7, 8, 25
_NODE, _INITIALIZER, _SPARSE_INITIALIZER, _ATTRIBUTE = 1, 5, 15, 5
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_MAX_DEPTH = 16


@dataclass(frozen=True, slots=True)
class OnnxFileInfo:
    """What stands in an ONNX file.

    Attributes
    ----------
    metadata : dict of str to str
        The model's ``metadata_props``.
    content_sha256 : str
        SHA-256 (hexadecimal) over every top-level field but ``metadata_props``, in file order: graph,
        weights, opset. It is what a card's ``weights_sha256`` must equal.
    opset : int
        Version of the default operator set.
    external : tuple of str
        Names of tensors whose data lie in another file (must be empty for a model we load).
    """

    metadata: dict[str, str]
    content_sha256: str
    opset: int
    external: tuple[str, ...]


def inspect_onnx(data: bytes) -> OnnxFileInfo:
    """Read an ONNX file's bytes.

    Parameters
    ----------
    data : bytes
        The whole file.

    Raises
    ------
    ValueError
        When the bytes are not a well-formed ONNX ModelProto.
    """
    digest = hashlib.sha256()
    metadata: dict[str, str] = {}
    opset = 0
    external: list[str] = []
    seen_graph = False
    for number, value, span in _fields(memoryview(data)):
        if number == _METADATA_PROPS:
            entry = {n: bytes(v) for n, v, _ in _fields(_message(value))}
            metadata[entry.get(1, b"").decode()] = entry.get(2, b"").decode()
            continue
        digest.update(span)
        if number == _GRAPH:
            seen_graph = True
            external.extend(_external_in_graph(_message(value), 0))
        elif number == _FUNCTIONS:
            external.extend(_external_in_nodes(_message(value), 7, 0))
        elif number == _OPSET_IMPORT:
            entry_any = {n: v for n, v, _ in _fields(_message(value))}
            if not bytes(entry_any.get(1, b"")):
                opset = int(entry_any.get(2, 0))
    if not seen_graph:
        raise ValueError("no graph in it: not an ONNX model")
    return OnnxFileInfo(metadata, digest.hexdigest(), opset, tuple(external))


def replace_metadata(data: bytes, metadata: dict[str, str]) -> bytes:
    """Return the same model with other ``metadata_props``; every other byte, and so the hash, is kept."""
    kept = b"".join(bytes(span) for number, _, span in _fields(memoryview(data)) if number != _METADATA_PROPS)
    props = b"".join(
        _length_delimited(
            _METADATA_PROPS, _length_delimited(1, key.encode()) + _length_delimited(2, text.encode())
        )
        for key, text in sorted(metadata.items())
    )
    return kept + props


def _external_in_graph(graph: memoryview, depth: int) -> Iterator[str]:
    for number, value, _ in _fields(graph):
        if number == _INITIALIZER:
            yield from _external_tensor(_message(value))
        elif number == _SPARSE_INITIALIZER:
            for inner, tensor, _ in _fields(_message(value)):
                if inner in (1, 2):
                    yield from _external_tensor(_message(tensor))
    yield from _external_in_nodes(graph, _NODE, depth)


def _external_in_nodes(owner: memoryview, node_field: int, depth: int) -> Iterator[str]:
    """Tensors and subgraphs that sit in node attributes (If, Loop, Constant, functions)."""
    if depth > _MAX_DEPTH:
        raise ValueError("subgraphs nested too deeply")
    for number, node, _ in _fields(owner):
        if number != node_field:
            continue
        for node_number, attribute, _ in _fields(_message(node)):
            if node_number != _ATTRIBUTE:
                continue
            for kind, value, _ in _fields(_message(attribute)):
                if kind in (5, 10):
                    yield from _external_tensor(_message(value))
                elif kind in (6, 11):
                    yield from _external_in_graph(_message(value), depth + 1)


def _external_tensor(tensor: memoryview) -> Iterator[str]:
    name, external = "", False
    for number, value, _ in _fields(tensor):
        if number == 8:
            name = bytes(_message(value)).decode(errors="replace")
        elif number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0):
            external = True
    if external:
        yield name


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number stands where a message is expected")
    return value


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview, memoryview]]:
    """Yield (field number, value, whole span) of one protobuf message."""
    at = 0
    while at < len(data):
        begin = at
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        value: int | memoryview
        if wire == 0:
            value, at = _varint(data, at)
        elif wire == 2:
            length, at = _varint(data, at)
            value, at = data[at : at + length], at + length
        elif wire in (1, 5):
            width = 8 if wire == 1 else 4
            value, at = data[at : at + width], at + width
        else:
            raise ValueError(f"unknown wire type {wire}")
        if at > len(data) or number == 0:
            raise ValueError("truncated")
        yield number, value, data[begin:at]


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("truncated or overlong number")
        byte = data[at]
        result |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return result, at


def _length_delimited(number: int, payload: bytes) -> bytes:
    return _encode_varint(number << 3 | 2) + _encode_varint(len(payload)) + payload


def _encode_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
