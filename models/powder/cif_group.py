"""Space groups as lists of operations, checked to be groups; numbers by spglib."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.cif_document import Block, Column
from streamproc.models.powder.crystal import direct_metric

from streamproc.errors import ConfigurationError

__all__ = ["Symmetry", "group_number", "listed_operations", "spglib_call"]

Array = npt.NDArray[np.float64]

_DEN = 24


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


def listed_operations(block: Block, column: Column) -> list[Any]:
    """Return the operations of a file as gemmi's, each once.

    Raises
    ------
    ConfigurationError
        When one is not understood, or they are not closed under multiplication.
    """
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
    return found


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
            f"{second.triplet()} gives {(first * second).wrap().triplet()}, which is not listed; a line is "
            "missing or wrong",
            line, column.tag,
        )  # fmt: skip


def _keys(rotations: npt.NDArray[np.int64], translations: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """One number for each operation; entries of rotations beyond +-4 do not occur in products."""
    digits = np.concatenate([rotations.reshape(-1, 9) + 12, translations.reshape(-1, 3)], 1)
    return np.asarray(digits @ (25 ** np.arange(12)).astype(np.int64))
