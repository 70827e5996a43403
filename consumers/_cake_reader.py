"""What the pair of a defect model says of the rings of each image, keeping nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from streamproc.consumers._defect_settings import DefectSettings
from streamproc.models.defects.cake.heights import AZIMUTHS
from streamproc.models.defects.cake.pair import ODD, TASK
from streamproc.models.defects.cake.reading import grains_of, ring_zones, rings_read
from streamproc.models.defects.cake.rings import Rings
from streamproc.models.defects.cake.statistics import Statistics
from streamproc.models.defects.network.estimate import (
    DefectReading,
    Estimate,
    estimate_names,
    flags,
    read_defects,
)

from streamproc.analysis import Frame
from streamproc.errors import ConfigurationError, FrameFailed
from streamproc.inference.model import OnnxModel
from streamproc.reduction.azimuthal import AzimuthalPlan
from streamproc.reduction.ringcake import RingCakePlan

__all__ = ["GRAINS", "PATTERNS_ONLY", "CakeEye", "CakeLook", "CakeReader"]

GRAINS = "grains"
PATTERNS_ONLY = "frames are patterns: they have no azimuth"


@dataclass(frozen=True, slots=True)
class CakeLook:
    """The rings of one frame.

    Attributes
    ----------
    reading : DefectReading or None
        What the model says; None where there are no rings to read.
    reasons : tuple of str
        Why the estimates may not be used; empty: they may, or there is nothing to say (``absent``).
    beyond : mapping of str to bool
        Which estimates are beyond their limit; none where they may not be used.
    absent : str
        Why there is no cake at all; empty: there is one.
    """

    reading: DefectReading | None
    reasons: tuple[str, ...] = ()
    beyond: Mapping[str, bool] = field(default_factory=dict)
    absent: str = ""

    @property
    def usable(self) -> bool:
        """Whether the estimates may be used."""
        return self.reading is not None and not self.reasons


class CakeReader:
    """Reads rings with the pair of a defect model. Safe among threads.

    Parameters
    ----------
    settings : DefectSettings
        Limits, confidence, acceptance.
    model : OnnxModel
        A checked model.

    Raises
    ------
    ConfigurationError
        When it is no cake model.
    """

    def __init__(self, settings: DefectSettings, model: OnnxModel) -> None:
        if model.card.task != TASK:
            raise ConfigurationError(f"{model.path}: its task is {model.card.task!r}, expected {TASK!r}")
        self.settings, self.model = settings, model
        self.rings = Rings.of_card(model.card.reference)
        named = estimate_names(model.card)
        self.names = named if settings.acceptance_deg is None else (*named, GRAINS)

    def eye(self, plan: AzimuthalPlan) -> CakeEye:
        """Return what looks at the images of one plan."""
        try:
            return CakeEye(self, RingCakePlan.of(plan, ring_zones(self.rings), AZIMUTHS))
        except ConfigurationError as error:
            return CakeEye(self, None, error.message)

    def judged(self, read: Sequence[Statistics], wavelength_A: float) -> list[CakeLook]:
        """Read the statistics of several frames in one batch."""
        outputs = self.model.run(np.stack([one.x for one in read]))
        looks = []
        for row, one in enumerate(read):
            reading = read_defects({name: values[row] for name, values in outputs.items()}, self.model.card)
            if self.settings.acceptance_deg is not None:
                reading = self._with_grains(reading, wavelength_A, self.settings.acceptance_deg)
            if reasons := (*reading.reasons, *self._one_sided(float(one.odd))):
                looks.append(CakeLook(reading, tuple(f"cake: {r}" for r in reasons)))
                continue
            limits = {n: v for n, v in self.settings.limits.items() if n in self.names}
            looks.append(CakeLook(reading, (), flags(reading, limits, self.settings.confidence)))
        return looks

    def _one_sided(self, odd: float) -> tuple[str, ...]:
        limit = self.model.card.calibration.limits[ODD]
        if odd <= limit:
            return ()
        return (
            f"all rings are brighter on one side (wave {odd:.1f}, limit {limit:.1f}): shadow or beam centre?",
        )

    def _with_grains(
        self, reading: DefectReading, wavelength_A: float, acceptance_deg: float
    ) -> DefectReading:
        """Add the number of grains: spots over the chance of one grain, which is taken as exact."""
        spots = reading.estimates["spots"]
        per_spot = grains_of(1.0, self.rings, wavelength_A, acceptance_deg)
        scaled: dict[str, float] = {
            n: per_spot * getattr(spots, n) for n in ("value", "sigma", "low", "high", "low68", "high68")
        }
        grains: Estimate = replace(spots, plain=spots.plain + float(np.log(per_spot)), **scaled)
        return replace(reading, estimates={**reading.estimates, GRAINS: grains})


class CakeEye:
    """Looks at the images of one plan.

    Parameters
    ----------
    reader : CakeReader
        The model.
    cells : RingCakePlan or None
        Sums frames; None where the geometry cannot say where the rings are.
    absent : str
        Why not.
    """

    def __init__(self, reader: CakeReader, cells: RingCakePlan | None, absent: str = "") -> None:
        self._reader, self._cells, self._absent = reader, cells, absent

    def warm_up(self) -> None:
        """Read one frame, so that no live one waits for what is done once."""
        if self._cells is not None:
            self.look([Frame("", "", 1, "", np.ones(self._cells.plan.shape, np.uint16), 0.0, {})], False)
            nothing = np.zeros(self._reader.model.card.axis.n, np.float32)
            self._reader.judged([Statistics(nothing, np.zeros(0, bool), np.zeros(()))], 1.0)

    def look(self, frames: Sequence[Frame], run_dark: bool) -> list[CakeLook]:
        """Read images in one batch.

        Parameters
        ----------
        frames : sequence of Frame
            Images.
        run_dark : bool
            Whether each frame's own dark is subtracted.
        """
        cells = self._cells
        if cells is None:
            return [CakeLook(None, absent=self._absent) for _ in frames]
        wavelength = float(cells.plan.geometry.wavelength_A or 0.0)
        looks: dict[int, CakeLook] = {}
        inputs: dict[int, Statistics] = {}
        for place, frame in enumerate(frames):
            try:
                sums = cells.sums(frame.array, frame.dark if run_dark else None)
                inputs[place] = rings_read(sums, self._reader.rings, wavelength)
            except FrameFailed as error:
                looks[place] = CakeLook(None, (f"cake: {error.message}",))
        if inputs:
            judged = self._reader.judged(list(inputs.values()), wavelength)
            looks |= dict(zip(inputs, judged, strict=True))
        return [looks[place] for place in range(len(frames))]
