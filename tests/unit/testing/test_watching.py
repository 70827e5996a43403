"""The watches see what they say they see: a process that does the forbidden is reported by each."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import h5py
import pytest

from streamproc.testing.watching import DecoyWatch, audited, read_audit, read_trace, traced

DEEDS = """
import h5py, os, pickle, subprocess, sys, threading
decoy, link, odd = sys.argv[1:4]
thread = threading.Thread(target=h5py.File, args=(link, "r")); thread.start(); thread.join()
open(odd).close()
os.system("true")
subprocess.run(["true"])
pickle.loads(pickle.dumps(os.getcwd))
"""


@pytest.fixture
def deeds(tmp_path: Path) -> list[str]:
    decoy, odd = tmp_path / "decoy.h5", tmp_path / 'odd "ä\n.txt'
    h5py.File(decoy, "w").close()
    odd.touch()
    (tmp_path / "link.h5").symlink_to(decoy)
    script = tmp_path / "deeds.py"
    script.write_text(textwrap.dedent(DEEDS))
    return [sys.executable, str(script), str(decoy), str(tmp_path / "link.h5"), str(odd)]


def test_the_audit_hook_sees_what_python_opens_starts_and_unpickles(deeds, tmp_path):
    subprocess.run(deeds, env=audited(tmp_path, tmp_path / "log"), check=True)
    seen = list(read_audit(tmp_path / "log"))
    assert deeds[-1] in {a.what for a in seen if a.kind == "open"}
    assert any("true" in a.what for a in seen if a.kind == "start")
    assert "posix getcwd" in {a.what for a in seen if a.kind == "unpickle"}


@pytest.mark.skipif(not traced(Path("log")), reason="strace is not installed")
def test_the_trace_sees_what_a_c_library_opens_in_a_thread_by_its_real_name(deeds, tmp_path):
    began = time.time()
    process = subprocess.Popen([*traced(tmp_path / "log"), *deeds])
    assert process.wait() == 0
    decoy, link, odd = deeds[2:]
    deadline = time.monotonic() + 10
    while not any(a.what.endswith("true") for a in read_trace(tmp_path / "log")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    seen = list(read_trace(tmp_path / "log"))
    opened = {a.what for a in seen if a.kind == "open"}
    assert {decoy, odd} <= opened
    assert link not in opened
    started = [a.what for a in seen if a.kind == "start" and a.time_s > began]
    assert {"/bin/sh"} <= set(started)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inotify is Linux's")
def test_a_decoy_knows_that_a_c_library_opened_it(deeds, tmp_path):
    folder = tmp_path / "outside"
    folder.mkdir()
    with DecoyWatch([Path(deeds[2]), folder]) as watch:
        assert watch.opened() == []
        subprocess.run(deeds, check=True)
        (folder / "new").touch()
        assert set(watch.opened()) == {deeds[2], str(folder / "new")}
        assert watch.opened() == []
