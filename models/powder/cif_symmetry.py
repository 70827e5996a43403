"""The space group of a CIF block: operations, Hall symbol, symbol and number, against each other."""

from __future__ import annotations

import re
from typing import Any

from streamproc.models.powder.cif_document import Block, Column, Note, number
from streamproc.models.powder.cif_group import Symmetry, group_number, listed_operations

__all__ = ["read_symmetry"]

_OPERATIONS = ("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz")
_SYMBOLS = (
    "_space_group_name_h-m_alt", "_symmetry_space_group_name_h-m", "_space_group_name_h-m_ref",
    "_space_group_name_h-m_full", "_space_group_name_h-m",
)  # fmt: skip
_HALL = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
_NUMBER = ("_space_group_it_number", "_symmetry_int_tables_number")


def read_symmetry(block: Block, cell: tuple[float, ...]) -> tuple[list[Symmetry], list[Note]]:
    """Read the space group.

    Returns
    -------
    list of Symmetry, list of Note
        One, or, where the file names a group with two choices of origin and not which one, both.

    Raises
    ------
    ConfigurationError
        When there is none, it is not understood, the operations are no group, or they contradict the symbol.
    """
    group, symbol = _named(block, cell)
    listed = block.column(*_OPERATIONS)
    given = block.value(*_NUMBER)
    stated = number(given.text) if given else None
    if given and group is not None and stated and stated != group.number:
        said = f"{symbol.text!r} is space group {group.number}, but the file gives number {given.text}"
        if listed is None:
            raise block.error(f"{said}; delete the wrong one", given.line, given.tag)
        notes = [Note("symmetry", f"{said}; the operations are used", given.line)]
    else:
        notes = []
    if listed is not None:
        found, more = _from_operations(block, listed, group, symbol, cell)
        return found, [*notes, *more]
    hall = block.value(*_HALL)
    if hall is not None:
        return _from_hall(block, hall, group, cell)
    if group is None:
        if symbol is not None:
            raise block.error(
                f"space group {symbol.text!r} is not known; write the symbol as in International "
                "Tables, with spaces ('P 21/c', 'R -3 c:H'), or give the symmetry "
                "operations", symbol.line, symbol.tag,
            )  # fmt: skip
        raise block.error(
            "no symmetry: neither operations (_space_group_symop_operation_xyz) nor a space group "
            "symbol; give one, 'P 1' if all atoms of the cell are listed"
        )
    return _from_symbol(group, symbol)


def _named(block: Block, cell: tuple[float, ...]) -> tuple[Any, Any]:
    """The group that the symbol or else the number names, and where it was named."""
    import gemmi

    unknown = None
    for tag in _SYMBOLS:
        given = block.value(tag)
        if given is None:
            continue
        found = gemmi.find_spacegroup_by_name(_tidy(given.text), cell[3], cell[5])
        if found is not None:
            return found, given
        unknown = unknown or given
    given = block.value(*_NUMBER)
    value = number(given.text) if given else None
    if given is not None and value is not None and value in range(1, 231):
        return gemmi.find_spacegroup_by_number(int(value)), given
    return None, unknown or given


def _tidy(symbol: str) -> str:
    """Bring old ways of writing a symbol to gemmi's: underscores, S and Z for the origin, remarks."""
    text = re.sub(r"\(.*?\)", "", symbol).replace("_", "").strip()
    text = re.sub(r"\s*:\s*", ":", text)
    return re.sub(r"(?<=[a-z\d])[ :]*([SZ])$", lambda m: ":1" if m[1] == "S" else ":2", text)


def _from_operations(
    block: Block, column: Column, group: Any, symbol: Any, cell: tuple[float, ...]
) -> tuple[list[Symmetry], list[Note]]:
    import gemmi

    found = listed_operations(block, column)
    exact = gemmi.find_spacegroup_by_ops(gemmi.GroupOps(found))
    draft = Symmetry.of(found, 0, "")
    true = exact.number if exact else group_number(draft.rotations, draft.translations, cell)
    if not true:
        raise block.error(
            "symmetry operations belong to no space group", block.line_of(column, 0), column.tag
        )
    if group is not None and group.number != true:
        other = gemmi.find_spacegroup_by_number(true)
        raise block.error(
            f"the {len(found)} symmetry operations are those of {other.hm} (number {true}), but the "
            f"file names {symbol.text!r} (number {group.number}); delete the wrong "
            "one", symbol.line, symbol.tag,
        )  # fmt: skip
    notes = []
    if group is None and symbol is not None:
        notes.append(
            Note("symmetry", f"space group {symbol.text!r} is not known; operations used", symbol.line)
        )
    name = exact.xhm() if exact else gemmi.find_spacegroup_by_number(true).hm
    if exact is None:
        said = f"unusual setting of {name} (number {true}): the operations of the file are used"
        notes.append(Note("setting", said, block.line_of(column, 0)))
    return [Symmetry.of(found, true, name)], notes


def _from_hall(
    block: Block, hall: Any, group: Any, cell: tuple[float, ...]
) -> tuple[list[Symmetry], list[Note]]:
    import gemmi

    try:
        operations = list(gemmi.symops_from_hall(hall.text))
    except (RuntimeError, ValueError) as error:
        raise block.error(
            f"Hall symbol {hall.text!r} is not understood ({error})", hall.line, hall.tag
        ) from error
    exact = gemmi.find_spacegroup_by_ops(gemmi.GroupOps(operations))
    draft = Symmetry.of(operations, 0, "")
    true = exact.number if exact else group_number(draft.rotations, draft.translations, cell)
    if not true or (group is not None and group.number != true):
        raise block.error(
            f"Hall symbol {hall.text!r} is that of group number {true}, but the file names number "
            f"{group.number if group else '?'}; delete the wrong one", hall.line, hall.tag,
        )  # fmt: skip
    name = exact.xhm() if exact else gemmi.find_spacegroup_by_number(true).hm
    return [Symmetry.of(operations, true, name)], []


def _from_symbol(group: Any, given: Any) -> tuple[list[Symmetry], list[Note]]:
    """Take the operations of a named group; both choices where the name leaves the origin open."""
    import gemmi

    notes = []
    if given.tag.lower().replace(".", "_") in _NUMBER:
        said = f"only the number {group.number} of the space group is given; standard setting {group.xhm()}"
        notes.append(Note("setting", said, given.line))
    groups = [group]
    if group.ext in ("1", "2") and not re.search(r":\s*[12]|[SZ]$", given.text):
        groups = [g for g in gemmi.spacegroup_table() if g.hm == group.hm and g.ext in ("1", "2")]
    return [Symmetry.of(list(g.operations()), g.number, g.xhm()) for g in groups], notes
