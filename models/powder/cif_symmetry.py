"""The symmetry of a CIF block: operations, symbol, number and cell, checked against each other."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.cif_document import Block, Column, Note, number
from streamproc.models.powder.crystal import cell_of_metric, direct_metric

from streamproc.errors import ConfigurationError

__all__ = ["Symmetry", "group_number", "read_cell", "read_symmetry", "spglib_call", "symmetrised_cell"]

Array = npt.NDArray[np.float64]

_DEN = 24
_LENGTHS = ("_cell_length_a", "_cell_length_b", "_cell_length_c")
_ANGLES = ("_cell_angle_alpha", "_cell_angle_beta", "_cell_angle_gamma")
_OPERATIONS = ("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz")
_SYMBOLS = (
    "_space_group_name_h-m_alt", "_symmetry_space_group_name_h-m", "_space_group_name_h-m_ref",
    "_space_group_name_h-m_full", "_space_group_name_h-m",
)  # fmt: skip
_HALL = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
_NUMBER = ("_space_group_it_number", "_symmetry_int_tables_number")
_CELL_TOLERANCE = 5e-3
"""Relative deviation of the metric from its symmetry that is put down to rounding."""


@dataclass(frozen=True, slots=True)
class Symmetry:
    """A space group in the setting of the file.

    Attributes
    ----------
    number : int
        Number in International Tables.
    symbol : str
        Hermann-Mauguin symbol, of this setting where it has one.
    triplets : tuple of str
        All operations, the identity first.
    rotations, translations : ndarray, shapes (n, 3, 3) and (n, 3)
        The same as arrays.
    """

    number: int
    symbol: str
    triplets: tuple[str, ...]
    rotations: npt.NDArray[np.int64]
    translations: Array

    @classmethod
    def of(cls, operations: list[Any], number: int, symbol: str) -> Symmetry:
        """Make one of gemmi's operations."""
        ordered = sorted(operations, key=lambda op: op.triplet() != "x,y,z")
        rotations = np.array([op.rot for op in ordered]) // _DEN
        translations = np.array([op.tran for op in ordered]) / _DEN
        return cls(number, symbol, tuple(op.triplet() for op in ordered), rotations, translations)


def read_cell(block: Block) -> tuple[float, float, float, float, float, float]:
    """Read the unit cell.

    Raises
    ------
    ConfigurationError
        When a length or angle is missing, not a number, or impossible.
    """
    values = []
    for tag, low, high in [(t, 1.0, 500.0) for t in _LENGTHS] + [(t, 20.0, 160.0) for t in _ANGLES]:
        unit = "angstrom" if tag in _LENGTHS else "degrees"
        given = block.value(tag)
        if given is None:
            raise block.error(
                f"no cell: {tag} ({unit}) is missing; the cell belongs to the structure", tag=tag
            )
        value = number(given.text)
        if value is None or not low <= value <= high:
            hint = " (this looks like nanometres)" if value and 0.1 < value < 1 and tag in _LENGTHS else ""
            raise block.error(
                f"{given.text!r}, a number of {low:g} to {high:g} {unit} is expected{hint}",
                given.line,
                given.tag,
            )
        values.append(value)
    a, b, c, alpha, beta, gamma = values
    if np.linalg.det(direct_metric(values)) < 1e-3 * (a * b * c) ** 2:
        given = block.value(_ANGLES[0])
        raise block.error(
            f"angles {alpha:g}, {beta:g}, {gamma:g} degrees span no volume; correct them",
            given and given.line,
        )
    return a, b, c, alpha, beta, gamma


def symmetrised_cell(
    block: Block, cell: tuple[float, ...], symmetry: Symmetry
) -> tuple[tuple[float, float, float, float, float, float], list[Note]]:
    """Return the cell that has the symmetry exactly, or refuse one that is far from it.

    Raises
    ------
    ConfigurationError
        When the operations do not keep the cell's metric within 0.5 %.
    """
    metric = direct_metric(cell)
    lengths = np.sqrt(np.outer(np.diag(metric), np.diag(metric)))
    moved = np.array([r.T @ metric @ r for r in symmetry.rotations])
    off = (np.abs(moved - metric) / lengths).max(axis=(1, 2))
    line = block.value(*_LENGTHS)
    if off.max() > _CELL_TOLERANCE:
        worst = symmetry.triplets[int(off.argmax())]
        wanted = ", ".join(f"{v:.5g}" for v in cell_of_metric(moved.mean(axis=0)))
        raise block.error(
            f"cell {', '.join(f'{v:g}' for v in cell)} does not have the symmetry of {symmetry.symbol} "
            "(number "
            f"{symmetry.number}): the operation {worst} does not map it onto itself, one like {wanted} "
            "would be "
            "expected; correct the cell or the space group",
            line and line.line, "_cell_length_a",
        )  # fmt: skip
    if off.max() < 1e-9:
        return (cell[0], cell[1], cell[2], cell[3], cell[4], cell[5]), []
    exact = cell_of_metric(moved.mean(axis=0))
    changed = max(abs(a - b) / b for a, b in zip(exact, cell, strict=True))
    if changed < 1e-4:
        return exact, []
    said = f"cell brought to the symmetry of {symmetry.symbol} (changed by {changed * 100:.2g} %)"
    return exact, [Note("cell", said, line and line.line)]


def group_number(rotations: npt.NDArray[np.int64], translations: Array, cell: tuple[float, ...]) -> int:
    """Return the space group number of operations in any setting."""
    lattice = np.linalg.cholesky(direct_metric(cell))
    arrays = np.asarray(rotations, "intc"), np.asarray(translations, float)
    found = spglib_call("get_spacegroup_type_from_symmetry", *arrays, lattice=lattice, symprec=1e-2)
    return int(found.number) if found is not None else 0


def spglib_call(function: str, *arguments: Any, **options: Any) -> Any:
    """Call a function of spglib; None where it finds nothing, whichever way its version says so."""
    try:
        import spglib
    except ImportError as error:
        raise ConfigurationError(
            "finding the symmetry of a crystal needs spglib: pip install 'streamproc[train]'"
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return getattr(spglib, function)(*arguments, **options)
        except spglib.SpglibError:
            return None


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
    if listed is not None:
        return _from_operations(block, listed, group, symbol, cell)
    hall = block.value(*_HALL)
    if hall is not None:
        return _from_hall(block, hall, group, cell)
    if group is None:
        if symbol is not None:
            raise block.error(
                f"space group {symbol.text!r} is not known; write the symbol as in International "
                "Tables, with "
                "spaces ('P 21/c', 'R -3 c:H'), or give the symmetry operations", symbol.line, symbol.tag,
            )  # fmt: skip
        raise block.error(
            "no symmetry: neither operations (_space_group_symop_operation_xyz) nor a space group "
            "symbol; give "
            "one, 'P 1' if all atoms of the cell are listed"
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
    return re.sub(r"[ :]([SZ])$", lambda m: ":1" if m[1] == "S" else ":2", text)


def _from_operations(
    block: Block, column: Column, group: Any, symbol: Any, cell: tuple[float, ...]
) -> tuple[list[Symmetry], list[Note]]:
    import gemmi

    operations: dict[str, Any] = {}
    for row, text in enumerate(column.values):
        try:
            op = gemmi.Op(re.sub(r"\s", "", text or "")).wrap()
        except (RuntimeError, ValueError) as error:
            raise block.error(
                f"symmetry operation {text!r} is not understood ({error}); one like 'x,y+1/2,-z' is expected",
                block.line_of(column, row), column.tag,
            ) from error  # fmt: skip
        operations.setdefault(op.triplet(), op)
    found = list(operations.values())
    _require_group(block, column, found)
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
            "file names "
            f"{symbol.text!r} (number {group.number}); delete the wrong one", symbol.line, symbol.tag,
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


def _require_group(block: Block, column: Column, operations: list[Any]) -> None:
    rotations = np.array([op.rot for op in operations]) // _DEN
    translations = np.array([op.tran for op in operations])
    line = block.line_of(column, 0)
    if len(operations) > 192:
        raise block.error(f"{len(operations)} symmetry operations, at most 192 exist", line, column.tag)
    size = np.abs(rotations).max(), np.abs(np.rint(np.linalg.det(rotations)))
    if size[0] > 2 or not (size[1] == 1).all():
        wrong = operations[int(np.argmax((size[1] != 1) | (np.abs(rotations).max((1, 2)) > 2)))].triplet()
        raise block.error(f"{wrong} is no symmetry operation of a crystal; correct it", line, column.tag)
    products = np.einsum("aij,bjk->abik", rotations, rotations)
    shifts = (np.einsum("aij,bj->abi", rotations, translations) + translations[:, None]) % _DEN
    keys = set(_keys(rotations, translations % _DEN).tolist())
    made = _keys(products.reshape(-1, 3, 3), shifts.reshape(-1, 3))
    missing = next((i for i, key in enumerate(made.tolist()) if key not in keys), None)
    if missing is not None:
        first, second = (operations[i] for i in divmod(missing, len(operations)))
        raise block.error(
            f"the {len(operations)} symmetry operations form no group: {first.triplet()} after "
            f"{second.triplet()} "
            f"gives {(first * second).wrap().triplet()}, which is not listed; a line is missing or wrong",
            line, column.tag,
        )  # fmt: skip


def _keys(rotations: npt.NDArray[np.int64], translations: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """One number for each operation; entries of rotations beyond +-4 do not occur in products."""
    digits = np.concatenate([rotations.reshape(-1, 9) + 12, translations.reshape(-1, 3)], 1)
    return np.asarray(digits @ (25 ** np.arange(12)).astype(np.int64))


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
    if group.ext in ("1", "2") and not re.search(r":\s*[12]|\s[SZ]$", given.text):
        groups = [g for g in gemmi.spacegroup_table() if g.hm == group.hm and g.ext in ("1", "2")]
    return [Symmetry.of(list(g.operations()), g.number, g.xhm()) for g in groups], notes
