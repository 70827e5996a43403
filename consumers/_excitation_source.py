"""Frames become spectra: 1-D spectra with their axis, or camera images through the reduction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from streamproc.consumers._excitation_settings import ExcitationFitSettings
from streamproc.consumers._patterns import dimensions
from streamproc.models.excitations.oscillators.spectrum import Spectrum, spectrum_of

from streamproc.analysis import Frame
from streamproc.errors import ConfigurationError, FrameFailed, RunRefused
from streamproc.reduction.spectrum.camera import CameraReducer
from streamproc.runs import Run

__all__ = ["SpectrumSource", "number_of"]


class SpectrumSource:
    """Reads spectra out of the frames of a run.

    Parameters
    ----------
    settings : ExcitationFitSettings
        Stream, keys, axis, camera.

    Raises
    ------
    ConfigurationError
        Neither an axis nor a camera is set.
    """

    def __init__(self, settings: ExcitationFitSettings) -> None:
        self._settings = settings
        self._camera = None
        if settings.axis_key is None:
            if not settings.camera.energy_per_pixel:
                raise ConfigurationError(
                    "[analysis.excitation-fit]: set axis_key (where the energies of a spectrum are), or "
                    "camera.energy_per_pixel where frames are camera images"
                )
            self._camera = CameraReducer(settings.camera)

    def frame_key(self, run: Run) -> str | None:
        """Choose the data key: the configured one, or the only one that fits."""
        s = self._settings
        descriptors = run.stream_descriptors(s.stream)
        data_keys = descriptors[-1].get("data_keys", {}) if descriptors else {}
        if s.key is not None:
            return s.key if s.key in data_keys else None
        wanted = {1} if s.axis_key is not None else {2, 3}
        others = {s.axis_key, s.error_key}
        fitting = [k for k, entry in data_keys.items() if k not in others and dimensions(entry) in wanted]
        if len(fitting) > 1:
            raise RunRefused(
                f"stream {s.stream!r} has {len(fitting)} keys that could be the spectrum "
                f"({', '.join(fitting[:8])}): set analysis.excitation-fit.key"
            )
        return fitting[0] if fitting else None

    def configured_axis(self, run: Run) -> Any:
        """Return the axis that stands in the detectors' configuration; None where there is none."""
        for descriptor in reversed(run.stream_descriptors(self._settings.stream)):
            configuration = descriptor.get("configuration")
            for device in configuration.values() if isinstance(configuration, Mapping) else ():
                data = device.get("data") if isinstance(device, Mapping) else None
                if isinstance(data, Mapping) and self._settings.axis_key in data:
                    return data[self._settings.axis_key]
        return None

    def spectrum(self, frame: Frame, configured_axis: Any) -> Spectrum:
        """Return the spectrum of a frame.

        Raises
        ------
        FrameFailed
            It is none; the message says why.
        """
        s = self._settings
        if self._camera is not None:
            found = self._camera.spectrum(frame.array)
            return spectrum_of(found.energy, found.counts)
        axis = frame.readings.get(s.axis_key or "", configured_axis)
        if axis is None:
            raise FrameFailed(
                f"neither the event nor a configuration has {s.axis_key!r} (analysis.excitation-fit.axis_key)"
            )
        error = None
        if s.error_key is not None and (error := frame.readings.get(s.error_key)) is None:
            raise FrameFailed(f"the event has no {s.error_key!r} (analysis.excitation-fit.error_key)")
        return spectrum_of(axis, frame.array, error)

    def monitor(self, frame: Frame) -> float:
        """Return the incident counts; 1 where none is configured.

        Raises
        ------
        FrameFailed
            The event has none, or it is not above 0.
        """
        key = self._settings.monitor_key
        if key is None:
            return 1.0
        value = number_of(frame.readings.get(key))
        if not value > 0:
            raise FrameFailed(f"monitor {key!r} is {value}, must be above 0 (monitor_key)")
        return value

    def temperature_K(self, frame: Frame) -> float:
        """Return the sample's temperature.

        Raises
        ------
        FrameFailed
            The event has none, or it is negative.
        """
        s = self._settings
        value = number_of(frame.readings.get(s.temperature_key)) if s.temperature_key else float("nan")
        if not np.isfinite(value) and s.temperature_K is not None:
            value = s.temperature_K
        if not value >= 0:
            raise FrameFailed(f"no temperature of 0 K or more in {s.temperature_key!r} (temperature_key)")
        return value


def number_of(value: Any) -> float:
    """Return a reading as a number; NaN where it is none."""
    try:
        return float(np.asarray(value, float).reshape(()))
    except (TypeError, ValueError):
        return float("nan")
