"""What phases cannot be told apart: stated where it is so, not where it is not."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

gemmi = pytest.importorskip("gemmi", reason="reflection tables need gemmi (extra demo or train)")

from streamproc.models.powder.ambiguity import ambiguities, standard_differences  # noqa: E402
from streamproc.models.powder.structures import Site, Structure, structure  # noqa: E402

from streamproc.errors import ConfigurationError  # noqa: E402

CU, RANGE = 1.5406, (20.0, 100.0)


@dataclass(frozen=True)
class Phase:
    structure: Structure
    label: str


def phases(*names: str) -> list[Phase]:
    return [Phase(structure(n), n) for n in names]


def scaled(name: str, factor: float) -> Structure:
    material = structure(name)
    a, b, c, *angles = material.cell
    return replace(material, cell=(a * factor, b * factor, c * factor, *angles))


def test_four_different_phases_are_told_apart() -> None:
    found = ambiguities(phases("corundum", "zincite", "fluorite", "brucite"), CU, RANGE)
    assert [s.kind for s in found if s.kind in ("duplicate", "alike", "no-lines")] == []


def test_one_structure_under_two_names_is_a_duplicate_whatever_its_setting() -> None:
    silicon = structure("silicon")
    other = replace(silicon, space_group="F d -3 m:2", sites=(Site("Si", 0.125, 0.125, 0.125),))
    (found, *rest) = ambiguities([Phase(silicon, "a"), Phase(other, "b")], CU, RANGE)
    assert (found.kind, found.labels) == ("duplicate", ("a", "b"))
    assert {s.kind for s in rest} <= {"overlapped"}


def test_a_dilated_copy_is_alike_within_the_spans_and_not_beyond() -> None:
    pair = [Phase(structure("ceria"), "ceria"), Phase(scaled("ceria", 1.006), "dilated")]
    (found,) = [s for s in ambiguities(pair, CU, RANGE, spans=0.004) if s.kind == "alike"]
    assert found.labels == ("ceria", "dilated") and found.figure < 0.08
    assert "cannot be told apart" in found.text
    assert [s.kind for s in ambiguities(pair, CU, RANGE, spans=0.001) if s.kind == "alike"] == []
    by_label = ambiguities(pair, CU, RANGE, spans={"dilated": 0.006, "*": 0.001})
    assert [s.kind for s in by_label if s.kind == "alike"] == ["alike"]


def test_isostructural_phases_with_other_atoms_are_not_alike() -> None:
    # the two fluorides have one structure and cells 6 % apart; copper and nickel 2.5 %
    found = ambiguities(phases("fluorite", "strontium fluoride", "copper", "nickel"), CU, RANGE)
    assert [s.kind for s in found if s.kind == "alike"] == []


def test_isoelectronic_neighbours_of_one_cell_are_alike() -> None:
    iron = structure("iron")
    manganese = replace(iron, sites=(Site("Mn", 0, 0, 0),), cell=scaled("iron", 1.002).cell)
    found = ambiguities([Phase(iron, "Fe"), Phase(manganese, "Mn")], 0.5, (10.0, 40.0))
    assert [s.kind for s in found if s.kind == "alike"] == ["alike"]


def test_a_phase_without_lines_in_the_range_is_named() -> None:
    (found,) = [
        s for s in ambiguities(phases("tungsten", "yttria"), CU, (20.0, 35.0)) if s.kind == "no-lines"
    ]
    assert found.labels == ("tungsten",)
    found = ambiguities(phases("tungsten"), CU, (1.0, 5.0))
    assert [s.kind for s in found] == ["no-lines"]


def test_a_phase_under_the_lines_of_another_is_named() -> None:
    # every line of the primitive cubic metal lies on one of the doubled cell
    small = Structure(
        "small", "P m -3 m", (4.0,) * 3 + (90.0,) * 3, (Site("Ni", 0, 0, 0),), 0.5, (1, 0, 0), "made up"
    )
    large = replace(
        small, cell=(8.0,) * 3 + (90.0,) * 3,
        sites=(Site("Ni", 0, 0, 0), Site("O", 0.5, 0.5, 0.5), Site("Ba", 0.5, 0, 0.0)),
    )  # fmt: skip
    found = [
        s
        for s in ambiguities([Phase(small, "small"), Phase(large, "large")], CU, RANGE)
        if s.kind == "overlapped"
    ]
    assert [s.labels for s in found] == [("small", "large")]


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="0 <= from < to"):
        ambiguities(phases("silicon"), CU, (50.0, 20.0))


def test_cells_that_differ_from_a_standard_are_reported_with_both_numbers() -> None:
    found = standard_differences(
        [Phase(scaled("corundum", 1.002), "x"), Phase(structure("zincite"), "zincite")]
    )
    assert [s.labels for s in found] == [("x",)]
    assert found[0].figure == pytest.approx(0.002)
    assert "+0.20 % from corundum" in found[0].text and "Lewis" in found[0].text


def test_a_standard_in_another_setting_is_recognised() -> None:
    pytest.importorskip("spglib", reason="unusual settings need spglib (extra train)")
    material = structure("corundum")
    group = gemmi.find_spacegroup_by_name(material.space_group)
    # the origin moved to where no table has it
    change = gemmi.Op("x+1/4,y,z+1/8")
    inverse = change.inverse()
    ops = tuple(inverse.combine(op).combine(change).wrap().triplet() for op in group.operations())
    assert gemmi.find_spacegroup_by_ops(gemmi.GroupOps([gemmi.Op(t) for t in ops])) is None
    sites = tuple(replace(s, x=s.x - 0.25, z=s.z - 0.125) for s in material.sites)
    moved = replace(scaled("corundum", 0.995), sites=sites, operations=ops)
    (found,) = standard_differences([Phase(moved, "moved")])
    assert found.figure == pytest.approx(-0.005)
    (same, *_) = ambiguities([Phase(moved, "moved"), Phase(scaled("corundum", 0.995), "plain")], CU, RANGE)
    assert same.kind == "duplicate"


def test_the_small_difference_and_the_other_polymorph_are_not_reported() -> None:
    almost = Phase(scaled("corundum", 1.0008), "x")
    anatase = replace(structure("rutile"), name="other")
    assert standard_differences([almost, Phase(anatase, "rutile"), *phases("anatase", "hematite")]) == []
