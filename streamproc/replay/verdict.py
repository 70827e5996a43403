"""Verdict: what a comparison of result documents found, field by field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["KINDS", "FieldVerdict", "Kind", "Verdict"]

Kind = Literal["equal bytes", "equal values", "not kept", "differs"]

KINDS: tuple[Kind, ...] = ("equal bytes", "equal values", "not kept", "differs")
"""From the best to the worst."""


@dataclass(slots=True)
class FieldVerdict:
    """What became of one field over all documents that have it.

    Attributes
    ----------
    name : str
        As in ``event primary: data.corundum``.
    kind : str
        The worst there was: ``equal bytes``, ``equal values`` (another type or container, the same values),
        ``not kept`` (the store of the reference has no place for it) or ``differs``.
    documents, differing : int
        How many documents were compared, and in how many it is not of equal bytes.
    example : str
        Of the first that differs: expected and got.
    why : str
        As far as it is known.
    """

    name: str
    kind: Kind = "equal bytes"
    documents: int = 0
    differing: int = 0
    example: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The comparison of one result run.

    Attributes
    ----------
    run_uid : str
        The raw run.
    fields : tuple of FieldVerdict
        In the order of the documents.
    missing, extra : tuple of str
        Documents that only the reference has, or only the replay.
    identical : bool
        Whether all documents are byte for byte the same and in the same order.
    documents : int
        Documents compared.
    """

    run_uid: str
    fields: tuple[FieldVerdict, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    identical: bool
    documents: int

    @property
    def equal(self) -> bool:
        """Whether nothing differs in value (what the reference's store cannot keep is no difference)."""
        differs = any(f.kind == "differs" for f in self.fields)
        return bool(self.documents) and not (differs or self.missing or self.extra)

    def words(self) -> str:
        """Return the verdict in a sentence."""
        if not self.documents and not self.extra:
            return "nothing to compare"
        if self.identical:
            return f"byte-identical: {self.documents} documents"
        counts = {kind: sum(f.kind == kind for f in self.fields) for kind in KINDS}
        told = [f"{n} field(s) {kind}" for kind, n in counts.items() if n]
        told += [f"{len(self.missing)} document(s) missing"] if self.missing else []
        told += [f"{len(self.extra)} document(s) too many"] if self.extra else []
        return f"{'equal' if self.equal else 'DIFFERS'}: {', '.join(told)}"
