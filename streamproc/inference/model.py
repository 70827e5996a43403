"""OnnxModel: one onnxruntime session that is trusted only after its card and golden vectors pass."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.errors import ConfigurationError
from streamproc.inference.card import CARD_KEY, ModelCard
from streamproc.inference.onnxfile import OnnxFileInfo, inspect_onnx
from streamproc.settings import InferenceSettings

__all__ = ["OnnxModel"]

_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
_MAX_FILE_BYTES = 2 * 1024**3
_GOLDEN_RTOL, _GOLDEN_ATOL = 1e-4, 1e-5
"""An execution provider may round differently, but not more than this on the golden vectors."""


class OnnxModel:
    """A checked model, ready to run.

    Parameters
    ----------
    path : Path
        The ``.onnx`` file. ``golden.npz`` beside it holds inputs and the outputs they must give.
    settings : InferenceSettings
        Execution provider, threads, batch size.

    Raises
    ------
    ConfigurationError
        File missing or damaged, no card, card and graph disagree (inputs, outputs, axis, opset, hash),
        external data, provider not installed, or golden vectors not reproduced. Names the file.
    """

    def __init__(self, path: Path, settings: InferenceSettings) -> None:
        self.path = path
        data = _read(path)
        info = _inspect(path, data)
        self.card = _card(path, info)
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.max_batch = settings.max_batch
        self._session = _session(path, data, settings)
        _check_graph(path, self.card, self._session)
        self._outputs = [head.name for head in self.card.outputs]
        self.golden_deviation = self._check_golden(path.with_name("golden.npz"))

    @property
    def model_id(self) -> str:
        """Name, version and the first 12 digits of the file's hash."""
        return f"{self.card.name}:{self.card.version}@{self.sha256[:12]}"

    def run(self, x: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        """Infer; thread-safe.

        Parameters
        ----------
        x : ndarray of float32, shape (n, axis.n + number of conditions)
            Inputs prepared as the card's ``normalisation`` says. Split into batches of ``max_batch``.

        Returns
        -------
        dict of str to ndarray
            One array per output head, batch first.
        """
        parts = [
            self._session.run(self._outputs, {self.card.input_name: x[i : i + self.max_batch]})
            for i in range(0, len(x), self.max_batch)
        ]
        if len(parts) == 1:
            return dict(zip(self._outputs, parts[0], strict=True))
        return {name: np.concatenate([p[k] for p in parts]) for k, name in enumerate(self._outputs)}

    def _check_golden(self, golden: Path) -> float:
        """Compare with the golden vectors; returns the largest deviation seen."""
        try:
            with np.load(golden, allow_pickle=False) as stored:
                arrays = {k: stored[k] for k in stored.files}
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{golden}: golden vectors cannot be read: {error}") from error
        missing = {"x", *self._outputs} - set(arrays)
        if missing:
            raise ConfigurationError(f"{golden}: golden vectors lack {', '.join(sorted(missing))}")
        got = self.run(np.ascontiguousarray(arrays["x"], dtype=np.float32))
        worst = 0.0
        for name in self._outputs:
            if got[name].shape != arrays[name].shape or not np.allclose(
                got[name], arrays[name], rtol=_GOLDEN_RTOL, atol=_GOLDEN_ATOL, equal_nan=True
            ):
                raise ConfigurationError(
                    f"{self.path}: output {name!r} does not reproduce the golden vectors "
                    f"(largest difference {_difference(got[name], arrays[name])}); the file, onnxruntime "
                    "or the execution provider is not what the model was released with"
                )
            worst = max(worst, float(np.max(np.abs(got[name] - arrays[name]), initial=0.0)))
        return worst


def _difference(got: npt.NDArray[Any], expected: npt.NDArray[Any]) -> str:
    if got.shape != expected.shape:
        return f"shape {got.shape} against {expected.shape}"
    return f"{float(np.nanmax(np.abs(got - expected))):.3g}"


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise ConfigurationError(f"{path}: larger than {_MAX_FILE_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: model file cannot be read: {error.strerror}") from error


def _inspect(path: Path, data: bytes) -> OnnxFileInfo:
    try:
        info = inspect_onnx(data)
    except (ValueError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not an ONNX model: {error}") from error
    if info.external:
        raise ConfigurationError(
            f"{path}: keeps weights in other files ({', '.join(info.external[:3])}); "
            "export it as a single file"
        )
    return info


def _card(path: Path, info: OnnxFileInfo) -> ModelCard:
    text = info.metadata.get(CARD_KEY)
    if text is None:
        raise ConfigurationError(f"{path}: has no model card ({CARD_KEY!r} in its metadata)")
    card = ModelCard.from_json(text, file=str(path))
    if card.weights_sha256 != info.content_sha256:
        raise ConfigurationError(
            f"{path}: the graph is not the one its card describes "
            f"(hash {info.content_sha256[:12]}, card says {card.weights_sha256[:12]})"
        )
    if card.opset != info.opset:
        raise ConfigurationError(f"{path}: opset {info.opset}, card says {card.opset}")
    return card


def _session(path: Path, data: bytes, settings: InferenceSettings) -> Any:
    # onnxruntime may report to its maker, over the network, unless told not to before it is imported.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime as ort

    wanted = _PROVIDERS[settings.provider]
    if wanted not in ort.get_available_providers():
        raise ConfigurationError(
            f"execution provider {settings.provider!r} is not installed with this onnxruntime "
            f"(it has {', '.join(ort.get_available_providers())}); set inference.provider"
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    # Spinning threads burn a core that the reduction needs, also when no frame comes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(data, options, providers=[wanted])
    except Exception as error:  # onnxruntime raises its own C++ exception types
        raise ConfigurationError(f"{path}: onnxruntime refuses the model: {error}") from error


def _check_graph(path: Path, card: ModelCard, session: Any) -> None:
    inputs = {i.name: i.shape for i in session.get_inputs()}
    width = card.axis.n + len(card.conditions)
    if list(inputs) != [card.input_name] or list(inputs[card.input_name])[1:] != [width]:
        raise ConfigurationError(
            f"{path}: expects inputs {inputs}, card says {card.input_name!r} of (batch, {width})"
        )
    outputs = {o.name: o.shape for o in session.get_outputs()}
    for head in card.outputs:
        if head.name not in outputs:
            raise ConfigurationError(f"{path}: has no output {head.name!r}, which its card declares")
        shape = outputs[head.name][1:]
        if len(shape) != len(head.shape) or any(
            isinstance(a, int) and a != b for a, b in zip(shape, head.shape, strict=True)
        ):
            raise ConfigurationError(
                f"{path}: output {head.name!r} has shape {shape}, card says {head.shape}"
            )
