"""A system of phases from CIF files and what is known of the measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from streamproc.models.phase_map.system import Grid, System
from streamproc.models.powder.ambiguity import ambiguities, standard_differences
from streamproc.models.powder.cif import CifPhase, read_cifs
from streamproc.models.powder.cif_document import Note
from streamproc.models.powder.crystal import Structure
from streamproc.models.powder.emission import second_line
from streamproc.models.powder.instrument import read_instrument
from streamproc.models.powder.ranges import PriorRanges, Span
from streamproc.models.powder.structures import HELD_OUT, UNKNOWN, structures

from streamproc.errors import ConfigurationError

__all__ = ["Measurement", "system_from_cifs"]

_POINTS = 2000
_USUAL = {
    ("neutral", ""): "ions scatter as neutral atoms",
    ("symmetry", "conventional cell"): "the symmetry of the atoms is higher than the file says and was used",
    (
        "b-default",
        "",
    ): "no displacement parameters; B of 0.5 to 0.9 A^2 by kind of element assumed",
}
_USUAL_DEG = 80.0
"""Width of the range (degrees) for which the default profile widths are meant; others scale with it."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """How the patterns will be measured.

    Attributes
    ----------
    wavelength_A : float or None
        Wavelength of the (first) line; None where an instrument file says it.
    ka2 : bool
        Whether there is a K-alpha2 line.
    range_deg : (float, float)
        2theta axis of the model.
    geometry : str or None
        ``bragg-brentano``, ``debye-scherrer``, or a ``.poni`` file; None: either.
    instrument : Path or None
        Instrument file.
    spans : mapping of str to Span
        Relative lattice span per phase; ``"*"`` for the others.
    points : int
        Points of the axis.
    """

    wavelength_A: float | None
    ka2: bool
    range_deg: tuple[float, float]
    geometry: str | None = None
    instrument: Path | None = None
    spans: Mapping[str, Span] | None = None
    points: int = _POINTS


def system_from_cifs(
    name: str, cifs: Sequence[Path], also_unknown: Sequence[Path], measurement: Measurement
) -> tuple[System, list[str]]:
    """Read the phases and say what is to be known about them.

    Parameters
    ----------
    name : str
        Name of the model.
    cifs : sequence of Path
        The phases.
    also_unknown : sequence of Path
        CIFs of materials that may be there and are not to be quantified.
    measurement : Measurement
        How patterns are measured.

    Returns
    -------
    system : System
        What to train for.
    notes : list of str
        Assumptions and ambiguities, for card, report and the person at the terminal.

    Raises
    ------
    ConfigurationError
        When a CIF is wrong, a phase is given twice, or one has no line in the range.
    """
    start, stop = measurement.range_deg
    if not 0 < start < stop < 175:
        raise ConfigurationError(
            f"--range {start:g} {stop:g}: expected two angles, 0 < first < last < 175 degrees"
        )
    phases = read_cifs(cifs)
    ranges, area_share, notes = _ranges(measurement)
    spans: dict[str, Span] = {"*": 0.004, **(measurement.spans or {})}
    _known_labels(spans, phases)
    ranges = replace(ranges, cell_span=spans, first_two_theta_deg=(start, start + (stop - start) / 8),
                     last_two_theta_deg=(start + 0.625 * (stop - start), stop))  # fmt: skip
    notes += _said_of_each(phases)
    notes += _stated(phases, ranges, (start, stop), spans)
    foreign = _foreign(phases, UNKNOWN) + [p.structure for p in read_cifs(also_unknown)]
    system = System(
        name=name,
        phases=tuple(p.structure for p in phases),
        foreign=tuple(foreign),
        held_out=tuple(_foreign(phases, HELD_OUT)),
        grid=Grid(start, stop, measurement.points),
        ranges=ranges,
        area_share=area_share,
    )
    return system, notes


def _said_of_each(phases: Sequence[CifPhase]) -> list[str]:
    """What is usual is said once for all phases; the rest phase by phase."""
    said = []
    for usual, words in _USUAL.items():
        labels = [p.label for p in phases if any(_is(n, usual) for n in p.notes)]
        if labels:
            said.append(f"{words}: {', '.join(labels) if len(labels) < 8 else f'{len(labels)} phases'}")
    rest = [f"{p.label}: {n}" for p in phases for n in p.notes if not any(_is(n, u) for u in _USUAL)]
    return said + rest


def _is(note: Note, usual: tuple[str, str]) -> bool:
    return note.kind == usual[0] and usual[1] in note.text


def _ranges(measurement: Measurement) -> tuple[PriorRanges, float, list[str]]:
    """Instrument ranges, the share of area detectors, and what was assumed."""
    geometry, file = measurement.geometry, measurement.instrument
    if geometry is not None and geometry.endswith(".poni"):
        if file is not None:
            raise ConfigurationError(
                "--geometry FILE.poni is an instrument file already; leave out --instrument"
            )
        file, geometry = Path(geometry), None
    if file is not None:
        return _from_file(file, geometry, measurement)
    if measurement.wavelength_A is None:
        raise ConfigurationError("--wavelength (angstrom) is needed, or --instrument FILE that says it")
    ranges = _scaled(PriorRanges(), (measurement.range_deg[1] - measurement.range_deg[0]) / _USUAL_DEG)
    ranges = replace(ranges, **_lines(measurement.wavelength_A, measurement.ka2))
    notes = ["no instrument file: line widths of 0.06 to 0.5 % of the range are assumed"]
    if geometry is None:
        return ranges, 0.4, notes
    if geometry not in ("bragg-brentano", "debye-scherrer"):
        raise ConfigurationError(
            f"--geometry {geometry}: expected bragg-brentano, debye-scherrer or a .poni file"
        )
    return replace(ranges, geometry=geometry), float(geometry == "debye-scherrer"), notes


def _from_file(
    file: Path, geometry: str | None, measurement: Measurement
) -> tuple[PriorRanges, float, list[str]]:
    read = read_instrument(file)
    ranges, wavelength = read.ranges, measurement.wavelength_A
    if wavelength is not None and abs(wavelength / ranges.wavelength_A - 1) > 1e-3:
        raise ConfigurationError(
            f"--wavelength {wavelength:g}, but {file} says {ranges.wavelength_A:g} angstrom; "
            "correct one of them"
        )
    if geometry is not None and geometry != ranges.geometry:
        raise ConfigurationError(
            f"--geometry {geometry}, but {file} says {ranges.geometry}; correct one of them"
        )
    return ranges, float(read.area), list(read.notes)


def _scaled(ranges: PriorRanges, factor: float) -> PriorRanges:
    """Scale what is an angle with the range, so that lines keep their width in points."""

    def times(pair: tuple[float, float]) -> tuple[float, float]:
        return pair[0] * factor, pair[1] * factor

    def times2(pair: tuple[float, float]) -> tuple[float, float]:
        return pair[0] * factor**2, pair[1] * factor**2

    return replace(
        ranges,
        fwhm_deg=times(ranges.fwhm_deg),
        area_fwhm_deg=times(ranges.area_fwhm_deg),
        u_deg2=times2(ranges.u_deg2),
        v_deg2=times2(ranges.v_deg2),
        area_u_deg2=times2(ranges.area_u_deg2),
        lorentz_x_deg=times(ranges.lorentz_x_deg),
        area_lorentz_x_deg=times(ranges.area_lorentz_x_deg),
        asymmetry_deg=times(ranges.asymmetry_deg),
        zero_deg=times(ranges.zero_deg),
        zero_sigma_deg=ranges.zero_sigma_deg * factor,
        displacement_mm=times(ranges.displacement_mm),
        area_displacement_mm=times(ranges.area_displacement_mm),
    )


def _lines(wavelength_A: float, ka2: bool) -> dict[str, float]:
    if not 0.05 < wavelength_A < 5:
        raise ConfigurationError(f"--wavelength {wavelength_A:g}: expected angstrom, 0.05 to 5")
    if ka2:
        absent, second = 0.0, second_line(wavelength_A)
    else:
        absent, second = 1.0, wavelength_A
    both = {"ka2_absent_share": absent, "area_ka2_absent_share": absent}
    return {"wavelength_A": wavelength_A, "wavelength2_A": second, **both}


def _known_labels(spans: Mapping[str, Span], phases: Sequence[CifPhase]) -> None:
    strange = sorted(set(spans) - {"*"} - {p.label for p in phases})
    if strange:
        raise ConfigurationError(
            f"--span names {', '.join(strange)}; the phases are {', '.join(p.label for p in phases)}"
        )


def _stated(
    phases: Sequence[CifPhase], ranges: PriorRanges, range_deg: tuple[float, float], spans: Mapping[str, Span]
) -> list[str]:
    """Sentences on what cannot be told apart; what would make the model wrong is an error."""
    found = ambiguities(phases, ranges.wavelength_A, range_deg, spans=spans)
    fatal = [a.text for a in found if a.kind in ("duplicate", "no-lines")]
    if fatal:
        raise ConfigurationError("; ".join(fatal))
    return [a.text for a in found] + [a.text for a in standard_differences(phases)]


def _foreign(phases: Sequence[CifPhase], names: Sequence[str]) -> list[Structure]:
    """Built-in materials that are none of the phases (same elements and space group)."""
    ours = {(frozenset(s.element for s in p.structure.sites), p.number) for p in phases}
    built_in = structures()
    return [built_in[n] for n in names if _kind(built_in[n]) not in ours]


def _kind(material: Structure) -> tuple[frozenset[str], int]:
    import gemmi

    group = gemmi.find_spacegroup_by_name(material.space_group)
    return frozenset(s.element for s in material.sites), group.number if group is not None else 0
