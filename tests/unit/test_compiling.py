"""Kernels kept on disk are taken again only while nothing that they were made of has changed."""

from __future__ import annotations

import subprocess
import sys
import types

from streamproc.compiling import stamp_of
from streamproc.reduction import kernels

KERNEL = """
from streamproc.compiling import machine_code
from streamproc.made_up_callee import (
    FACTOR,
    times,
)

@machine_code()
def answer(x):
    return FACTOR * times(x)
"""
CALLEE = """
from streamproc.compiling import machine_code

FACTOR = {factor}

@machine_code()
def times(x):
    return x * {times}
"""
RUN = """
import importlib.util, sys
for name in ("streamproc.made_up_callee", "streamproc.made_up_kernel"):
    spec = importlib.util.spec_from_file_location(name, sys.argv[1] + "/" + name.rsplit(".")[-1] + ".py")
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
answer = sys.modules["streamproc.made_up_kernel"].answer
print(answer(5), sum(answer.stats.cache_hits.values()))
"""


def answered(folder, factor, times):
    (folder / "made_up_callee.py").write_text(CALLEE.format(factor=factor, times=times))
    (folder / "made_up_kernel.py").write_text(KERNEL)
    # -B: Python takes bytecode for that of a file of the same size written within the same second
    done = subprocess.run(
        [sys.executable, "-B", "-c", RUN, str(folder)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    value, hits = done.stdout.split()
    return float(value), int(hits)


def test_a_kernel_is_made_anew_when_a_kernel_or_constant_that_it_uses_changed(tmp_path):
    """numba alone goes by the file that the kernel itself is in."""
    assert answered(tmp_path, 2, 3) == (30, 0)
    assert answered(tmp_path, 2, 3) == (30, 1)
    assert answered(tmp_path, 2, 4) == (40, 0)
    assert answered(tmp_path, 7, 4) == (140, 0)
    assert answered(tmp_path, 7, 4) == (140, 1)


def test_what_a_file_does_not_import_does_not_change_its_stamp(tmp_path):
    files = {name: tmp_path / f"{name}.py" for name in ("one", "two", "three", "apart")}
    files["one"].write_text("from streamproc.two import (\n    b,\n)\nimport numpy\n")
    files["two"].write_text("from streamproc import three, gone\n")
    files["three"].write_text("C = 1\n")
    files["apart"].write_text("from streamproc.one import a\n")
    modules = {f"streamproc.{n}": types.SimpleNamespace(__file__=str(p)) for n, p in files.items()}

    def stamp():
        from streamproc import compiling

        compiling._read.cache_clear()
        return stamp_of(files["one"], modules)

    before = stamp()
    files["apart"].write_text("D = 2\n")
    assert stamp() == before
    files["three"].write_text("C = 2\n")
    assert stamp() != before


def test_the_kernels_of_the_reduction_are_stamped_by_all_they_import():
    stamp = kernels.count_pixels._cache._impl.locator.get_source_stamp()
    assert len(stamp) == 64
    assert kernels.count_pixels._cache.cache_path
