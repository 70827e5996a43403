from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

import psutil
import pytest

from streamproc.errors import ConfigurationError
from streamproc.transports.broker.folders import (
    TemporaryFolder,
    choose_ports,
    cluster_id,
    remove_abandoned,
    write_private,
)

OWNER = """
import subprocess, sys, time
from streamproc.transports.broker.folders import TemporaryFolder
folder = TemporaryFolder()
node = folder.path / "node-1"
node.mkdir()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", str(node)])
(node / "pid").write_text(str(child.pid))
print(folder.path, child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_the_folder_of_a_killed_owner_is_removed_and_what_still_runs_there_ends():
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True) as owner:
        folder, _, pid = owner.stdout.readline().strip().rpartition(" ")
        node = psutil.Process(int(pid))
        assert remove_abandoned() == [], "the owner lives"
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        deadline_s = time.monotonic() + 20
        removed = []
        # The kernel frees the lock a moment after the process is gone.
        while not removed and time.monotonic() < deadline_s:
            removed = remove_abandoned()
    assert [str(path) for path in removed] == [folder] and not os.path.exists(folder)
    node.wait(timeout=20)


def test_a_process_that_took_the_number_of_a_dead_node_is_left_alone(own_temporary_folder):
    folder = TemporaryFolder()
    (folder.path / "node-1").mkdir()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as stranger:
        (folder.path / "node-1" / "pid").write_text(str(stranger.pid))
        folder._lock.close()
        assert remove_abandoned() == [folder.path]
        assert stranger.poll() is None
        stranger.kill()


def test_folders_of_others_are_left_alone(own_temporary_folder):
    alien = own_temporary_folder / "streamproc-kafka-of-another-program"
    alien.mkdir()
    link = own_temporary_folder / "streamproc-kafka-link"
    owned = TemporaryFolder()
    link.symlink_to(owned.path)
    assert remove_abandoned() == []
    assert alien.is_dir() and owned.path.is_dir() and link.is_symlink()
    owned.remove()
    assert not owned.path.exists()


def test_a_private_file_is_private_even_in_the_place_of_an_open_one(tmp_path):
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert path.read_text() == "new" and path.stat().st_mode & 0o777 == 0o600


def test_ports_are_free_distinct_and_below_those_of_outgoing_connections():
    ports = choose_ports("127.0.0.1", 9)
    assert len(set(ports)) == 9 and all(15000 <= port < 32000 for port in ports)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports[0]))


def test_an_address_of_another_machine_is_one_sentence():
    with pytest.raises(ConfigurationError, match=r"no free port for the broker on 192\.0\.2\.1"):
        choose_ports("192.0.2.1", 1)


def test_a_cluster_id_is_no_option_and_the_same_for_the_same_folder(tmp_path):
    ids = [cluster_id(tmp_path / str(n)) for n in range(500)]
    assert len(set(ids)) == 500 and not any(one.startswith("-") for one in ids)
    assert cluster_id(tmp_path / "0") == ids[0] and all(len(one) == 22 for one in ids)
