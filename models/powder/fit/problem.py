"""One fit's arrays: the chosen phases' reflections, the parameter vector with its priors, data and
background."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.fit.draw import Nodes, Reflections, draw
from streamproc.models.powder.fit.kinds import CELL, OWN, SHARED, own_index
from streamproc.models.powder.fit.linear import solve_normal
from streamproc.models.powder.fit.lines import Beam, Optics
from streamproc.models.powder.fit.reference import PhaseLines
from streamproc.models.powder.fit.settings import Prior, Settings

__all__ = ["Linear", "Parameters", "Problem", "Steady", "join", "parameters_of"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Parameters:
    """The flat vector's names and priors.

    Attributes
    ----------
    names : tuple of str
        ``zero_deg`` ... and ``PHASE.a``, ``PHASE.inverse_size`` ...; empty where a place is not used.
    start, sigma, low, high : ndarray, shape (k,)
        Priors; sigma 0 where fixed.
    columns : ndarray of int, shape (k,)
        Row of the derivatives; -1 where fixed.
    """

    names: tuple[str, ...]
    start: Array
    sigma: Array
    low: Array
    high: Array
    columns: npt.NDArray[np.int64]

    @property
    def refined(self) -> npt.NDArray[np.int64]:
        """Places of the refined parameters, in the order of the derivatives' rows."""
        return np.flatnonzero(self.columns >= 0)

    def only(self, kinds: Sequence[str]) -> Parameters:
        """Return the same parameters with all but some kinds (names without the phase) fixed."""
        keep = np.array([name.rpartition(".")[2] in kinds for name in self.names])
        free = keep & (self.sigma > 0)
        columns = np.where(free, np.cumsum(free) - 1, -1)
        return replace(self, sigma=np.where(keep, self.sigma, 0.0), columns=columns)

    def started(self, values: Mapping[str, float]) -> Array:
        """Return the start vector with some values replaced, within the bounds; names not here are passed
        over."""
        theta = self.start.copy()
        for place, name in enumerate(self.names):
            if name and name in values and np.isfinite(values[name]):
                theta[place] = values[name]
        return np.asarray(np.clip(theta, self.low, self.high))


def parameters_of(
    phases: Sequence[PhaseLines], settings: Settings, fwhm_deg: float | None = None
) -> Parameters:
    """List the parameters of a fit of these phases; ``fwhm_deg`` is the width that the pattern shows."""
    priors = dict(settings.priors)
    if fwhm_deg is not None and priors["width"].sigma > 0:
        priors["width"] = replace(priors["width"], start=float(np.log(fwhm_deg)))
    places: list[tuple[str, Prior]] = [(name, priors[name]) for name in SHARED]
    unused = ("", Prior(0.0, 0.0))
    for phase in phases:
        for name in phase.free:
            kind = "cell_length" if len(name) == 1 else "cell_angle_deg"
            places.append((f"{phase.name}.{name}", priors[kind]))
        places += [unused] * (CELL - len(phase.free))
        for name in OWN[CELL:]:
            prior = priors[name]
            if name == "log_march" and (phase.system == "cubic" or not phase.has_texture):
                # to first order texture does not change a cubic pattern, so it cannot be refined from r = 1
                prior = Prior(0.0, 0.0)
            places.append((f"{phase.name}.{name}", prior))
    sigma = np.array([p.sigma for _, p in places])
    columns = np.where(sigma > 0, np.cumsum(sigma > 0) - 1, -1)
    return Parameters(
        tuple(name for name, _ in places),
        np.array([p.start for _, p in places], float),
        sigma,
        np.array([p.low for _, p in places], float),
        np.array([p.high for _, p in places], float),
        columns.astype(np.int64),
    )


def join(phases: Sequence[PhaseLines], beam: Beam, optics: Optics) -> Reflections:
    """Put the reflections of several phases one after the other."""
    first, offset = [np.zeros(1, np.int64)], 0
    for phase in phases:
        first.append(phase.first[1:] + offset)
        offset += int(phase.first[-1])
    return Reflections(
        np.repeat(np.arange(len(phases)), [len(p.hkl) for p in phases]),
        np.concatenate([p.hkl for p in phases]),
        np.concatenate([p.strength for p in phases]),
        np.concatenate([_relative(p, beam, optics) for p in phases]),
        np.concatenate([p.cosine for p in phases]),
        np.concatenate([p.members for p in phases]),
        np.concatenate(first),
        np.array([p.cell for p in phases]),
        np.array([p.moves for p in phases]),
    )


def _relative(phase: PhaseLines, beam: Beam, optics: Optics) -> Array:
    """Intensity of each line over the strongest of the phase, shape (n, l)."""
    inverse = np.linalg.inv(_direct(phase.cell))
    q = np.sqrt(np.einsum("ni,ij,nj->n", phase.hkl, inverse, phase.hkl))
    theta = np.arcsin(np.minimum(0.5 * beam.wavelength[:, None] * q, 0.9999))
    factor = (1 + np.cos(2 * theta) ** 2) / (np.sin(theta) ** 2 * np.cos(theta)) if optics.lorentz else 1.0
    intensity = (beam.share[:, None] * phase.strength * factor).T
    return np.asarray(intensity / max(float(intensity.max()), 1e-300))


def _direct(cell: Array) -> Array:
    a, b, c = cell[:3]
    ca, cb, cg = np.cos(np.deg2rad(cell[3:]))
    return np.array(
        [[a * a, a * b * cg, a * c * cb], [a * b * cg, b * b, b * c * ca], [a * c * cb, b * c * ca, c * c]]
    )


@dataclass(frozen=True, slots=True)
class Linear:
    """Patterns of the phases and what the linear solution makes of them.

    ``design`` (phases, n), ``scales`` (phases,), ``background`` (m,), ``model`` (n,), ``cost``: weighted
    sum of squares with the priors' pull; ``weighted`` (phases, n): the design times the square roots of the
    weights; ``gram`` (phases + m, phases + m): products of weighted design and background with each other.
    """

    design: Array = field(repr=False)
    scales: Array
    background: Array = field(repr=False)
    model: Array = field(repr=False)
    cost: float
    weighted: Array = field(repr=False)
    gram: Array = field(repr=False)


@dataclass(frozen=True, slots=True)
class Steady:
    """What of the linear part stays while a descent lasts.

    ``y`` (n,) and ``background`` (m, n) times the square roots of the weights, ``gram`` (m, m) and ``right``
    (m,): the background's products with itself and with the data.
    """

    y: Array = field(repr=False)
    background: Array = field(repr=False)
    gram: Array = field(repr=False)
    right: Array = field(repr=False)


@dataclass(frozen=True, slots=True)
class Problem:
    """Everything a solver needs of one pattern and one choice of phases.

    Attributes
    ----------
    parameters : Parameters
        Names and priors.
    reflections, beam, optics, nodes
        For :func:`~.draw.draw`.
    low_deg, high_deg, y, weight : ndarray, shape (n,)
        Bins, intensities and square roots of the weights.
    background : ndarray, shape (m, n)
        Its components.
    background_free : bool
        Whether they may be negative.
    plan : ndarray, optional
        How far and how finely each line is drawn; without one it is worked out at each drawing.
    steady : Steady, optional
        Of these data, weights and background; without one it is worked out at each solution.
    """

    parameters: Parameters
    reflections: Reflections = field(repr=False)
    beam: Beam = field(repr=False)
    optics: Optics = field(repr=False)
    nodes: Nodes = field(repr=False)
    low_deg: Array = field(repr=False)
    high_deg: Array = field(repr=False)
    y: Array = field(repr=False)
    weight: Array = field(repr=False)
    background: Array = field(repr=False)
    background_free: bool
    plan: Array | None = field(default=None, repr=False)
    steady: Steady | None = field(default=None, repr=False)

    def planned(self) -> Problem:
        """Return the problem with a plan of its own, made at the first parameters that are drawn, and with
        what stays of its linear part."""
        plan = np.zeros((len(self.reflections.strength), len(self.beam.wavelength), 6))
        return replace(self, plan=plan, steady=self.settled())

    def settled(self) -> Steady:
        """Return what of the linear part does not hang on the parameters."""
        if self.steady is not None:
            return self.steady
        y, background = self.y * self.weight, self.background * self.weight
        return Steady(y, background, background @ background.T, background @ y)

    def pull(self, theta: Array) -> Array:
        """Return (theta - prior) / sigma of the refined parameters; 0 where there is no prior."""
        at = self.parameters.refined
        return np.asarray((theta[at] - self.parameters.start[at]) / self.parameters.sigma[at])

    def linear(self, theta: Array) -> Linear:
        """Draw the phases and solve for scales and background."""
        args = (self.reflections, self.beam, self.optics, self.nodes, self.low_deg, self.high_deg)
        design, _ = draw(theta, *args, plan=self.plan)
        steady = self.settled()
        weighted = design * self.weight
        beside = weighted @ steady.background.T
        gram = np.block([[weighted @ weighted.T, beside], [beside.T, steady.gram]])
        right = np.concatenate([weighted @ steady.y, steady.right])
        free = len(self.background) if self.background_free else 0
        solution = solve_normal(gram, right, free)
        n = len(design)
        model = solution[:n] @ design + solution[n:] @ self.background
        cost = float(np.sum(((self.y - model) * self.weight) ** 2) + np.sum(self.pull(theta) ** 2))
        return Linear(design, solution[:n], solution[n:], model, cost, weighted, gram)

    def jacobian(self, theta: Array, scales: Array) -> Array:
        """Return the weighted derivatives of the model by the refined parameters, shape (k, n)."""
        args = (self.reflections, self.beam, self.optics, self.nodes, self.low_deg, self.high_deg)
        _, rows = draw(theta, *args, self.parameters.columns, scales, self.plan)
        rows *= self.weight
        return rows

    def owner(self, place: int) -> int:
        """Return the phase a parameter belongs to; -1 for the instrument."""
        return -1 if place < len(SHARED) else (place - own_index(0, OWN[0])) // len(OWN)
