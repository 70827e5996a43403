"""Indexing: from the positions of lines to unit cells with probabilities, or the admission that none fits."""

from streamproc.models.powder.indexing.hint import NONE, CandidateCell, StructureHint
from streamproc.models.powder.indexing.index import index_lines, index_peaks

__all__ = ["NONE", "CandidateCell", "StructureHint", "index_lines", "index_peaks"]
