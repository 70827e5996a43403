"""Print the kernels that an analysis compiles after it is loaded, and those that it compiles for more types than
it must: `late_compiles.py NAME [SETTINGS as JSON [START as JSON]]`."""

from __future__ import annotations

import gc
import json
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import msgpack
from numba.core.dispatcher import Dispatcher

from streamproc.analysis import LoadContext
from streamproc.loading import analysis_settings, find_analysis
from streamproc.settings import InferenceSettings


def compiled():
    """Types for which each kernel of ours is compiled, or was loaded."""
    return {
        (f.__module__, f.__qualname__, str(types))
        for o in gc.get_objects()
        if isinstance(o, Dispatcher) and (f := o.py_func).__module__.startswith("streamproc")
        for types in o.signatures
    }


def twice(kernels):
    """Kernels of rings and lines that are compiled for more than one set of types, of (module, name, types)."""
    once = ("rings.view", "tiles.promise_tiles", "lines.ice_seen", "lines._ice_share", "parts._over_parts")
    count = Counter(f"{module}.{name}" for module, name, _ in kernels)
    return [f"{name} is compiled {n} times" for name, n in count.items() if n > 1 and name.endswith(once)]


def main(name, settings, start):
    kind = find_analysis(name)
    with tempfile.TemporaryDirectory() as folder:
        example = kind.example(Path(folder))
        table = {**example.settings, "base_dir": folder, **settings}
        analysis = kind.load(analysis_settings(kind, table), LoadContext(InferenceSettings()))
        example.run.start.update(start)
        before, running = compiled(), analysis.begin(example.run)
        for turn in range(2):
            for frame in example.frames:
                frame.array.setflags(write=False)
                number = frame.seq_num + turn * len(example.frames)
                running.update(running.process([replace(frame, seq_num=number)]))
            state = msgpack.unpackb(msgpack.packb(dict(running.snapshot())), strict_map_key=False)
            running = analysis.begin(example.run)
            running.restore(state)
        running.end()
    print(*sorted(" ".join(late) for late in compiled() - before), *twice(compiled()), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1], *(json.loads((sys.argv[2:] + ["{}"] * 2)[k]) for k in range(2)))
