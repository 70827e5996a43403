"""fetch_ahead: ask the memory for a pixel that is looked at later, without waiting for it."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = ["fetch_ahead"]

_READ, _NEAREST, _DATA = 0, 3, 1
"""Arguments of ``llvm.prefetch``: to read, into the nearest cache, and no machine code."""


def _fetch_ahead(typing_context: Any, array: Any, index: Any) -> Any:
    """Fetch the cache line of ``array[index]`` (one axis, contiguous); an index out of range does no harm.

    The processor's own prefetcher follows what is read from memory. While a band of rows is counted from the
    nearest cache it sees none of the next band, for which the scan would then wait.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        pointer, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, word, word, word])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
        place = builder.bitcast(builder.gep(data, [arguments[1]]), pointer)
        builder.call(prefetch, [place, *(word(value) for value in (_READ, _NEAREST, _DATA))])
        return context.get_dummy_value()

    return types.void(array, index), generate


fetch_ahead: Any = intrinsic(_fetch_ahead)
