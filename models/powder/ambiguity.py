"""What a set of phases cannot be told apart by, and where its cells differ from measured standards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.crystal import Structure, direct_metric, operations_of, orbit
from streamproc.models.powder.optics import Grain, Instrument
from streamproc.models.powder.ranges import Span
from streamproc.models.powder.simulate import bin_edges, render_phase
from streamproc.models.powder.structures import structures
from streamproc.models.powder.tables import PhaseTable, d_min_of, table_of

from streamproc.errors import ConfigurationError

__all__ = ["Ambiguity", "ambiguities", "standard_differences"]

Array = npt.NDArray[np.float64]

ALIKE = 0.08
"""Patterns whose difference, at best, holds a smaller share of the intensity than this are called alike."""

_STANDARD_TOLERANCE = 1e-3
_POINTS = 2000
_SAME_D = 3e-3
"""Cells of one structure from two sources differ by less than this."""

_SEEN = 0.02
"""Lines weaker than this share of the strongest do not count as seen."""

_FEW = 8
"""Sets up to this size are searched for phases hidden by two others; in larger ones nearly every phase is."""


class Phase(Protocol):
    """What is needed of a phase; :class:`~streamproc.models.powder.cif.CifPhase` is one."""

    @property
    def structure(self) -> Structure:
        """The crystal structure."""
        ...

    @property
    def label(self) -> str:
        """Its name."""
        ...


@dataclass(frozen=True, slots=True)
class Ambiguity:
    """A statement about phases of a set.

    Attributes
    ----------
    kind : {'duplicate', 'alike', 'no-lines', 'overlapped', 'standard'}
        What it is about.
    labels : tuple of str
        The phases.
    figure : float
        The number behind it: share of intensity by which two patterns differ at best, strong lines that are
        overlapped, or relative difference of a cell.
    text : str
        The sentence.
    """

    kind: Literal["duplicate", "alike", "no-lines", "overlapped", "standard"]
    labels: tuple[str, ...]
    figure: float
    text: str

    def __str__(self) -> str:
        return self.text


def ambiguities(
    phases: Sequence[Phase],
    wavelength_A: float,
    range_deg: tuple[float, float],
    *,
    spans: float | Mapping[str, Span] = 0.004,
    fwhm_deg: float | None = None,
) -> list[Ambiguity]:
    """State which phases a pattern cannot tell apart.

    Parameters
    ----------
    phases : sequence
        Objects with ``structure`` and ``label``, as of :func:`~streamproc.models.powder.cif.read_cif`.
    wavelength_A : float
        Wavelength (angstrom).
    range_deg : (float, float)
        Ends of the 2theta axis (degrees).
    spans : float or mapping of label to span
        Relative half-width of the lattice parameters' range, as in
        :class:`~streamproc.models.powder.ranges.PriorRanges`.
    fwhm_deg : float, optional
        Resolution; by default 0.1 degrees of Cu K-alpha, scaled with the wavelength.

    Returns
    -------
    list of Ambiguity
        Duplicates, pairs that look alike once their cells may vary, phases without lines in the range, phases
        all of whose strong lines lie on lines of one other (of two others in sets of up to 8).

    Raises
    ------
    ConfigurationError
        When the range is empty.
    """
    start, stop = range_deg
    if not 0 <= start < stop <= 180:
        raise ConfigurationError(f"range {start:g} to {stop:g}: 0 <= from < to <= 180 degrees is expected")
    width = fwhm_deg or max(0.1 * wavelength_A / 1.5406, 0.01)
    found: list[Ambiguity] = []
    tables: dict[str, PhaseTable] = {}
    for phase in phases:
        table = _lines_in(phase, wavelength_A, start, stop)
        if table is None:
            found.append(_no_lines(phase.label, start, stop))
        else:
            tables[phase.label] = table
    same = _duplicates(phases)
    found += same
    view = _View(np.linspace(start, stop, max(_POINTS, int((stop - start) / width * 5))), width, wavelength_A)
    reach = {label: _span(spans, label) for label in tables}
    done = {d.labels for d in same}
    for one, two in combinations(tables, 2):
        if (one, two) not in done:
            found += view.alike(tables[one], tables[two], one, two, reach)
    for label in tables:
        found += _overlapped(label, tables, wavelength_A, (start, stop), width)
    return found


def _span(spans: float | Mapping[str, Span], label: str) -> float:
    span = spans if isinstance(spans, float | int) else spans.get(label, spans.get("*", 0.004))
    return float(np.max(span))


def _lines_in(phase: Phase, wavelength_A: float, start: float, stop: float) -> PhaseTable | None:
    try:
        table = table_of(phase.structure, wavelength_A, d_min_of(wavelength_A, stop))
    except ConfigurationError as error:
        if "no reflection" in error.message:
            return None
        raise
    angles = _two_theta(table, wavelength_A)
    return table if ((angles >= start) & (angles <= stop)).any() else None


def _two_theta(table: PhaseTable, wavelength_A: float) -> Array:
    return np.asarray(2 * np.rad2deg(np.arcsin(np.minimum(wavelength_A / 2 / table.d_A, 1.0))))


def _no_lines(label: str, start: float, stop: float) -> Ambiguity:
    said = f"{label} has no line between {start:g} and {stop:g} degrees and cannot be found there"
    return Ambiguity("no-lines", (label,), 0.0, said)


def _duplicates(phases: Sequence[Phase]) -> list[Ambiguity]:
    """Pairs with the same atoms per volume, space group and cell."""
    found = []
    prints = {p.label: _fingerprint(p.structure) for p in phases}
    for one, two in combinations(prints, 2):
        (counts1, cell1), (counts2, cell2) = prints[one], prints[two]
        if counts1.keys() != counts2.keys() or not np.allclose(cell1, cell2, rtol=_SAME_D):
            continue
        if all(abs(counts1[e] - counts2[e]) < 0.02 * counts1[e] for e in counts1):
            a, b = (next(p.structure for p in phases if p.label == label) for label in (one, two))
            if _same_pattern(a, b):
                said = f"{one} and {two} are the same structure given twice; leave one of them out"
                found.append(Ambiguity("duplicate", (one, two), 0.0, said))
    return found


def _same_pattern(one: Structure, two: Structure) -> bool:
    """Whether the strong reflections of two structures have the same spacings and intensities."""
    tables = [table_of(s, 1.0, 1.2) for s in (one, two)]
    powers = [t.multiplicity * t.f2 / t.volume_A3**2 for t in tables]
    spacings = [t.d_A for t in tables]
    strongest = powers[0].max()
    # the last lines before the end may be those of one cell only
    seen = [d_A[(p > 0.02 * p.max()) & (d_A > 1.22)] for d_A, p in zip(spacings, powers, strict=True)]
    for d in np.concatenate(seen):
        here = [p[np.abs(d_A / d - 1) < _SAME_D].sum() for d_A, p in zip(spacings, powers, strict=True)]
        # displacement parameters of two refinements of one crystal differ by this much
        if abs(here[0] - here[1]) > 0.05 * strongest + 0.15 * max(here):
            return False
    return True


def _fingerprint(structure: Structure) -> tuple[dict[str, float], Array]:
    """Atoms per volume by element, and the reduced cell: both are the same in every setting."""
    import gemmi

    counts = _content(structure)
    cell = gemmi.UnitCell(*structure.cell)
    lattice = (structure.space_group or "P")[0]
    reduced = gemmi.GruberVector(cell, lattice if lattice in "PABCIFRH" else "P")
    reduced.niggli_reduce()
    parameters = np.array(reduced.cell_parameters())
    return {e: n / cell.volume for e, n in counts.items()}, parameters


def _content(structure: Structure) -> dict[str, float]:
    rotations, translations = operations_of(structure)
    metric = direct_metric(structure.cell)
    counts: dict[str, float] = {}
    for s in structure.sites:
        n = len(orbit((s.x, s.y, s.z), rotations, translations, metric)) * s.occupancy
        counts[s.element] = counts.get(s.element, 0.0) + n
    return counts


class _View:
    """Compares patterns on one axis at one resolution."""

    def __init__(self, axis: Array, width: float, wavelength_A: float) -> None:
        self._edges = bin_edges(axis)
        self._instrument = Instrument(
            wavelength_A=wavelength_A, wavelength2_A=wavelength_A, ka2_ratio=0.0, u_deg2=0.0, v_deg2=0.0,
            w_deg2=width**2, lorentz_x_deg=0.3 * width, asymmetry_deg=0.0,
        )  # fmt: skip

    def alike(
        self, a: PhaseTable, b: PhaseTable, one: str, two: str, reach: Mapping[str, float]
    ) -> list[Ambiguity]:
        """Best agreement of two patterns when their axes may vary by both spans together."""
        span = reach[one] + reach[two]
        if not _may_match(a, b, span):
            return []
        target = self._pattern(a, (1.0, 1.0, 1.0))
        best = self._search(target, b, span)
        if best >= ALIKE:
            return []
        said = (
            f"{one} and {two} look alike: within lattice spans of {100 * reach[one]:.2g} and "
            f"{100 * reach[two]:.2g} % their patterns differ in {100 * best:.1f} % of the intensity "
            "only, so their "
            "shares cannot be told apart; leave one out, or narrow the spans"
        )
        return [Ambiguity("alike", (one, two), best, said)]

    def _search(self, target: Array, b: PhaseTable, span: float) -> float:
        """Coordinate search over the axes that may vary, coarse to fine."""
        groups = _axes(b)
        place = np.zeros(len(groups))
        best = self._residual(target, b, place, groups)
        step = span / 2
        while step > span / 20 and span > 0:
            moved = False
            for g in range(len(groups)):
                for sign in (-1, 1):
                    trial = place.copy()
                    trial[g] = np.clip(trial[g] + sign * step, -span, span)
                    value = self._residual(target, b, trial, groups)
                    if value < best - 1e-6:
                        best, place, moved = value, trial, True
            if not moved:
                step /= 2
        return best

    def _residual(self, target: Array, b: PhaseTable, place: Array, groups: list[list[int]]) -> float:
        scale = [1.0, 1.0, 1.0]
        for value, axes in zip(place, groups, strict=True):
            for axis in axes:
                scale[axis] = 1 + float(value)
        other = self._pattern(b, (scale[0], scale[1], scale[2]))
        factor = float(target @ other / max(float(other @ other), 1e-300))
        return float(np.abs(target - factor * other).sum() / (2 * target.sum()))

    def _pattern(self, table: PhaseTable, scale: tuple[float, float, float]) -> Array:
        pattern = render_phase(self._edges, table, self._instrument, Grain(cell_scale=scale))
        return pattern / max(pattern.max(), 1e-300)


def _axes(table: PhaseTable) -> list[list[int]]:
    if table.system == "cubic":
        return [[0, 1, 2]]
    if table.system in ("hexagonal", "trigonal", "tetragonal"):
        return [[0, 1], [2]]
    return [[0], [1], [2]]


def _may_match(a: PhaseTable, b: PhaseTable, span: float) -> bool:
    """Whether every one of the strongest lines of each has a line of the other within the spans."""
    for one, two in ((a, b), (b, a)):
        strong = one.d_A[np.argsort(_power(one))[-5:]]
        seen = two.d_A[_power(two) > _SEEN / 4 * _power(two).max()]
        if any(np.abs(seen / d - 1).min() > span + 2e-3 for d in strong):
            return False
    return True


def _power(table: PhaseTable) -> Array:
    """Intensity of the lines, Lorentz factor of small angles."""
    return np.asarray(table.multiplicity * table.f2 * table.d_A**2)


def _overlapped(
    label: str, tables: Mapping[str, PhaseTable], wavelength_A: float, ends: tuple[float, float], width: float
) -> list[Ambiguity]:
    """Say when all strong lines of a phase lie within a line width of lines of one or two other phases."""
    own = _strong(tables[label], wavelength_A, ends, 0.1)
    if not own.size:
        return []
    covers = {}
    for name, table in tables.items():
        lines = _strong(table, wavelength_A, ends, _SEEN)
        if name != label and lines.size:
            covers[name] = np.abs(lines[:, None] - own).min(axis=0) <= width
    alone = [(name,) for name, covered in covers.items() if covered.all()]
    pairs = [(a, b) for a, b in combinations(covers, 2) if (covers[a] | covers[b]).all()]
    if not alone and (not pairs or len(tables) > _FEW):
        return []
    said = (
        f"all {own.size} strong lines of {label} lie on lines of {' and '.join((alone or pairs)[0])}: beside "
        f"{'it' if alone else 'them'}, its share rests on intensity ratios alone"
    )
    return [Ambiguity("overlapped", (label, *(alone or pairs)[0]), float(own.size), said)]


def _strong(table: PhaseTable, wavelength_A: float, ends: tuple[float, float], share: float) -> Array:
    angles, power = _two_theta(table, wavelength_A), _power(table)
    inside = (angles >= ends[0]) & (angles <= ends[1])
    if not inside.any():
        return np.empty(0)
    return np.asarray(angles[inside & (power > share * power[inside].max())])


def standard_differences(phases: Sequence[Phase]) -> list[Ambiguity]:
    """Report cells that differ by more than 0.1 % from a measured standard.

    A standard is a structure of :mod:`~streamproc.models.powder.structures` with the same composition, space
    group and number of atoms in the cell.
    """
    import gemmi

    found = []
    standards = []
    for material in structures().values():
        group = gemmi.find_spacegroup_by_name(material.space_group)
        standards.append((material, group.number, _content(material)))
    for phase in phases:
        counts = _content(phase.structure)
        operations = phase.structure.operations
        group = (
            gemmi.find_spacegroup_by_ops(gemmi.GroupOps([gemmi.Op(t) for t in operations]))
            if operations
            else gemmi.find_spacegroup_by_name(phase.structure.space_group)
        )
        for material, number, standard in standards:
            if group is None or number != group.number or not _same_content(counts, standard):
                continue
            found += _difference(phase, material)
    return found


def _same_content(one: Mapping[str, float], two: Mapping[str, float]) -> bool:
    return one.keys() == two.keys() and all(abs(one[e] - two[e]) < 0.02 * two[e] for e in two)


def _difference(phase: Phase, material: Structure) -> list[Ambiguity]:
    ours, theirs = (sorted(s.cell[:3]) for s in (phase.structure, material))
    off = [a / b - 1 for a, b in zip(ours, theirs, strict=True)]
    worst = max(off, key=abs)
    if abs(worst) <= _STANDARD_TOLERANCE or abs(worst) > 0.1:
        return []
    cell = ", ".join(f"{v:.5g}" for v in material.cell[:3])
    said = (
        f"{phase.label}: cell {', '.join(f'{v:.5g}' for v in phase.structure.cell[:3])} differs by "
        f"{100 * worst:+.2f} % from {material.name} at room temperature ({cell}; {material.source})"
    )
    return [Ambiguity("standard", (phase.label,), worst, said)]
