"""What a set of phases cannot be told apart by, and where its cells differ from measured standards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.crystal import Structure, direct_metric
from streamproc.models.powder.likeness import SEEN, LikenessView, line_power
from streamproc.models.powder.ranges import Span
from streamproc.models.powder.standards import Ambiguity, Phase, content_of_cell, standard_differences
from streamproc.models.powder.tables import PhaseTable, d_min_of, table_of

from streamproc.errors import ConfigurationError

__all__ = ["ALIKE", "Ambiguity", "ambiguities", "standard_differences"]

ALIKE = 0.08
"""Patterns whose difference, at best, holds a smaller share of the intensity than this are called alike."""

Array = npt.NDArray[np.float64]

_POINTS = 2000
_SAME_D = 3e-3
"""Cells of one structure from two sources differ by less than this."""

_FEW = 8
"""Sets up to this size are searched for phases hidden by two others; in larger ones nearly every phase is."""


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
    view = LikenessView(
        np.linspace(start, stop, max(_POINTS, int((stop - start) / width * 5))), width, wavelength_A
    )
    reach = {label: _span(spans, label) for label in tables}
    done = {d.labels for d in same}
    for one, two in combinations(tables, 2):
        if (one, two) not in done:
            best = view.difference(tables[one], tables[two], reach[one] + reach[two])
            found += [_alike(one, two, reach, best)] if best < ALIKE else []
    for label in tables:
        found += _overlapped(label, tables, wavelength_A, (start, stop), width)
    return found


def _alike(one: str, two: str, reach: Mapping[str, float], best: float) -> Ambiguity:
    said = (
        f"{one} and {two} look alike: within lattice spans of {100 * reach[one]:.2g} and "
        f"{100 * reach[two]:.2g} % their patterns differ in {100 * best:.1f} % of the intensity only, so "
        "their shares cannot be told apart; leave one out, or narrow the spans"
    )
    return Ambiguity("alike", (one, two), best, said)


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
    """Pairs with the same atoms per volume and the same strong reflections, in whatever setting."""
    found = []
    counts = {p.label: _per_volume(p.structure) for p in phases}
    for one, two in combinations(phases, 2):
        a, b = counts[one.label], counts[two.label]
        if a.keys() != b.keys() or any(abs(a[e] - b[e]) > 0.02 * a[e] for e in a):
            continue
        if _same_pattern(one.structure, two.structure):
            said = f"{one.label} and {two.label} are the same structure given twice; leave one of them out"
            found.append(Ambiguity("duplicate", (one.label, two.label), 0.0, said))
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


def _per_volume(structure: Structure) -> dict[str, float]:
    """Atoms per volume by element: the same in every setting."""
    volume = float(np.sqrt(np.linalg.det(direct_metric(structure.cell))))
    return {element: n / volume for element, n in content_of_cell(structure).items()}


def _overlapped(
    label: str, tables: Mapping[str, PhaseTable], wavelength_A: float, ends: tuple[float, float], width: float
) -> list[Ambiguity]:
    """Say when all strong lines of a phase lie within a line width of lines of one or two other phases."""
    own = _strong(tables[label], wavelength_A, ends, 0.1)
    if not own.size:
        return []
    covers = {}
    for name, table in tables.items():
        lines = _strong(table, wavelength_A, ends, SEEN)
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
    angles, power = _two_theta(table, wavelength_A), line_power(table)
    inside = (angles >= ends[0]) & (angles <= ends[1])
    if not inside.any():
        return np.empty(0)
    return np.asarray(angles[inside & (power > share * power[inside].max())])
