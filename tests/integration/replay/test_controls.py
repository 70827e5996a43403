"""A running replay paused, stopped by the shell and gone on with: nothing is lost and the times are kept."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest

from streamproc.transports.codec import encode

STEP_S = 1.5


@pytest.fixture(scope="module")
def slow(beam):
    """A run whose events are so far apart that one can act between them, and what it gives in one go."""
    pairs = [(n, dict(d)) for n, d in beam.run("inline", "paused")]
    events = [d for n, d in pairs if n == "event"]
    for k, event in enumerate(events):
        event["time"] = events[0]["time"] + STEP_S * k
    pairs[-1][1]["time"] = events[-1]["time"] + 0.1
    path = beam.folder / "paused.msgpack"
    path.write_bytes(b"".join(encode(*p) for p in pairs))
    whole = beam.folder / "paused.jsonl"
    command = [sys.executable, "-m", "streamproc", "replay", str(path), "--config", str(beam.config)]
    subprocess.run(
        [*command, "--to", str(whole), "--overwrite"], check=True, capture_output=True, timeout=120
    )
    return [*command, "--speed", "real", "--json"], whole


def events_in(path: Path) -> int:
    return path.read_text().count('["event"') if path.exists() else 0


def wait_for(condition, process, deadline_s=60.0):
    until_s = time.monotonic() + deadline_s
    while not condition():
        assert process.poll() is None, "it ended before its time"
        assert time.monotonic() < until_s, "it did not come"
        time.sleep(0.02)


def started(command, out, **how):
    return subprocess.Popen(
        [*command, "--to", str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        stdin=subprocess.DEVNULL, **how,
    )  # fmt: skip


def check_kept(process, out, whole):
    """It ends well, gives the same bytes, and what came after the pause kept its times."""
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    [found] = json.loads(said)
    assert out.read_bytes() == whole.read_bytes()
    assert found["late_p95_s"] < STEP_S / 2, "documents came at once, or much too late"
    return found


def test_sigusr1_pauses_and_goes_on(slow, tmp_path):
    command, whole = slow
    out = tmp_path / "out.jsonl"
    process = started(command, out)
    wait_for(lambda: events_in(out) >= 1, process)
    process.send_signal(signal.SIGUSR1)
    time.sleep(0.5)  # what was in work is finished
    before = events_in(out)
    time.sleep(2 * STEP_S)
    assert events_in(out) == before < 4
    process.send_signal(signal.SIGUSR1)
    found = check_kept(process, out, whole)
    assert found["elapsed_s"] < 3 * STEP_S + 0.1 + STEP_S


@pytest.mark.parametrize("number", [signal.SIGTSTP, signal.SIGSTOP])
def test_stopped_by_the_shell_and_continued_the_times_are_kept(slow, tmp_path, number):
    command, whole = slow
    out = tmp_path / "out.jsonl"
    process = started(command, out, process_group=0)
    wait_for(lambda: events_in(out) >= 1, process)
    os.killpg(process.pid, number)
    time.sleep(3 * STEP_S)
    state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
    assert state == "T"
    os.killpg(process.pid, signal.SIGCONT)
    check_kept(process, out, whole)


def test_paused_and_then_ended_the_ledger_is_complete(slow, tmp_path):
    command, _ = slow
    out = tmp_path / "out.jsonl"
    process = started(command, out)
    wait_for(lambda: events_in(out) >= 1, process)
    process.send_signal(signal.SIGUSR1)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, errors
    ledger = json.loads(said)[0]["ledger"]
    assert ledger["done"] + ledger["dropped"] == ledger["expected"] == 4 and ledger["dropped"] > 0
    assert json.loads(out.read_text().splitlines()[-1])[1]["ledger"]["primary"] == ledger


@pytest.mark.parametrize("early", [False, True], ids=["while it runs", "before it listens"])
def test_p_on_a_terminal_pauses_and_goes_on_and_the_terminal_is_as_before(slow, tmp_path, early):
    command, whole = slow
    out = tmp_path / "out.jsonl"
    ours, theirs = pty.openpty()
    usual = termios.tcgetattr(theirs)

    def owning():
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    command = [part for part in command if part != "--json"]
    if early:
        os.write(ours, b"p")
    process = subprocess.Popen(
        [*command, "--to", str(out)], stdin=theirs, stderr=theirs, stdout=subprocess.PIPE, text=True,
        preexec_fn=owning, env=os.environ | {"TERM": "xterm"},  # on a dumb terminal no bar is drawn
    )  # fmt: skip
    shown: list[bytes] = []
    reading = threading.Thread(target=_read, args=(ours, shown), daemon=True)
    reading.start()
    if not early:
        wait_for(lambda: events_in(out) >= 1, process)
        os.write(ours, b"p")
    wait_for(lambda: b"paused" in b"".join(shown), process)
    before = events_in(out)
    time.sleep(2 * STEP_S)
    assert events_in(out) <= before + 1 < 4
    os.write(ours, b"p")
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "complete" in said
    assert out.read_bytes() == whole.read_bytes()
    assert termios.tcgetattr(theirs) == usual
    os.close(theirs)


def _read(terminal, shown):
    while True:
        try:
            shown.append(os.read(terminal, 4096))
        except OSError:
            return
