from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from streamproc.demo.processes import Child, stop_all
from streamproc.errors import FatalError

DEADLINE_S = 10.0
STUBBORN = (
    "import signal, subprocess, sys, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(100)'])\n"
    "print(child.pid, flush=True)\n"
    "time.sleep(100)\n"
)


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def _alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"


def _until_gone(pid: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while _alive(pid):
        assert time.monotonic() < deadline, f"process {pid} still lives"
        time.sleep(0.02)


def test_a_child_that_dies_is_reported_with_its_last_words(tmp_path: Path) -> None:
    child = Child("service", _python("import sys; sys.exit('no such geometry')"), tmp_path / "log")
    child.finish(DEADLINE_S)
    with pytest.raises(
        FatalError, match=r"(?s)the service ended unexpectedly \(exit code 1\).*no such geometry"
    ):
        child.check()


def test_a_clean_end_is_in_order_only_where_it_is_expected(tmp_path: Path) -> None:
    child = Child("beamline", _python(""), tmp_path / "log")
    child.finish(DEADLINE_S)
    child.check(may_end=True)
    with pytest.raises(FatalError, match="left no message"):
        child.check()


def test_a_piped_child_hears_and_answers(tmp_path: Path) -> None:
    child = Child("echo", _python("print(input().upper(), flush=True)"), tmp_path / "log", piped=True)
    child.say("go")
    assert child.stdout.readline() == "GO\n"
    stop_all([child], DEADLINE_S)


def test_a_stubborn_child_is_killed_with_all_it_started(tmp_path: Path) -> None:
    child = Child("stubborn", _python(STUBBORN), tmp_path / "log", piped=True)
    grandchild = int(child.stdout.readline())
    before = time.monotonic()
    stop_all([child], 0.3)
    assert time.monotonic() - before < 5.0
    for pid in (child.pid, grandchild):
        _until_gone(pid)


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the kernel's parent-death signal is Linux's"
)
def test_children_end_when_the_demo_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from streamproc.demo.processes import Child\n"
        "sleep = [sys.executable, '-c', 'import time; time.sleep(100)']\n"
        f"child = Child('x', sleep, Path({str(tmp_path / 'log')!r}))\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(100)\n"
    )
    with subprocess.Popen(_python(code), stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as demo:
        assert demo.stdout is not None
        pid = int(demo.stdout.readline())
        assert _alive(pid)
        demo.kill()
    _until_gone(pid)
