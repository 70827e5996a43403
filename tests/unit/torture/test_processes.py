"""What is done to processes, done to real ones."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from streamproc.torture.connections import cut_connections, require_cutting
from streamproc.torture.faults import Fault
from streamproc.torture.monkey import Monkey
from streamproc.torture.services import Supervised

DEADLINE_S = 30.0

# Listens on one port, connects to another, and says what becomes of the connection.
PEER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
line = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
accepted = socket.create_connection(("127.0.0.1", listener.getsockname()[1])), listener.accept()[0]
print(listener.getsockname()[1], flush=True)
print(line.recv(10), flush=True)
sys.stdin.readline()
"""


def until(condition):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def service(tmp_path):
    made = Supervised(
        "a", [sys.executable, "-c", "import time; time.sleep(600)"], tmp_path, 1, lambda line: None
    )
    made.start()
    yield made
    made.end(0.0)


def state(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_connections_are_cut_at_both_ends_and_listening_goes_on():
    require_cutting()
    with socket.create_server(("127.0.0.1", 0)) as server:
        argv = [sys.executable, "-c", PEER, str(server.getsockname()[1])]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            ours, _ = server.accept()
            port = int(process.stdout.readline())
            with ours:
                assert cut_connections(process.pid, spared_port=port) == 2
                ours.settimeout(DEADLINE_S)
                assert ours.recv(10) == b""
                assert process.stdout.readline().strip() == "b''"
            socket.create_connection(("127.0.0.1", port), DEADLINE_S).close()
        finally:
            process.communicate("end\n", timeout=DEADLINE_S)


def test_a_process_that_is_gone_has_no_connections(service):
    pid = service.life.pid
    service.end(0.0)
    assert cut_connections(pid) == 0


def test_what_ends_is_started_again_and_its_exit_code_kept(service):
    first = service.life.pid
    service.send(signal.SIGKILL)
    assert not service.can_be_hit
    until(lambda: service.look() or len(service.lives) == 2)
    assert service.lives[0].exit_code == -signal.SIGKILL
    assert service.life.pid != first
    assert service.can_be_hit


def test_what_a_process_said_last_is_kept_where_it_failed(tmp_path):
    argv = [sys.executable, "-c", "import sys; sys.exit('streamproc: no broker')"]
    service = Supervised("a", argv, tmp_path, 1, lambda line: None)
    service.start()
    try:
        until(lambda: service.look() or len(service.lives) == 2)
        assert (service.lives[0].exit_code, service.lives[0].said) == (1, "streamproc: no broker")
    finally:
        service.end(0.0)


def test_ended_for_good_it_is_not_started_again(service):
    service.end(DEADLINE_S)
    service.look()
    assert len(service.lives) == 1
    assert service.life.exit_code == -signal.SIGTERM


def test_a_frozen_process_is_ended_too(service):
    service.send(signal.SIGSTOP)
    until(lambda: state(service.life.pid) == "T")
    service.end(DEADLINE_S)
    assert service.life.exit_code is not None


def test_a_fault_before_the_first_answer_is_noted_and_a_later_one_is_not(service):
    service.hit()
    hit_s = service.life.hit_s
    service.hit()
    assert service.life.hit_s == hit_s is not None
    service.life.hit_s, service.life.answered_s = None, time.monotonic()
    service.hit()
    assert service.life.hit_s is None


def test_the_monkey_freezes_a_process_and_lets_it_go_on(service):
    said = []
    monkey = Monkey([Fault(1, "stop", 0.0, 0.0, 0.3)], [service], None, lambda: True, said.append)
    until(lambda: monkey.turn() or service.frozen)
    until(lambda: state(service.life.pid) == "T")
    until(lambda: monkey.turn() or monkey.finished)
    until(lambda: state(service.life.pid) != "T")
    assert not service.frozen
    assert monkey.done[0].over_s - monkey.done[0].begun_s >= 0.3
    monkey.close()


def test_the_monkey_waits_while_nobody_can_be_hit(service):
    monkey = Monkey([Fault(1, "kill", 0.0, 0.0, 0.0)], [service], None, lambda: True, lambda line: None)
    service.send(signal.SIGSTOP)
    for _ in range(5):
        monkey.turn()
    assert monkey.done == []
    service.send(signal.SIGCONT)
    until(lambda: monkey.turn() or monkey.finished)
    assert monkey.done[0].target == "service a"
    monkey.close()


def test_one_fault_can_last_while_the_next_ones_happen(service):
    faults = [Fault(1, "cut", 0.0, 0.0, 1.0), Fault(2, "kill", 0.0, 0.0, 0.0)]
    monkey = Monkey(faults, [service], None, lambda: True, lambda line: None)
    until(lambda: monkey.turn() or len(monkey.done) == 2)
    assert [done.over_s is None for done in monkey.done] == [True, False]
    monkey.close()


class Nodes:
    """Notes what is asked of a broker."""

    def __init__(self):
        self.nodes, self.asked = [object()] * 3, []

    def __getattr__(self, name):
        return lambda index: self.asked.append((name, index))


def test_one_node_at_a_time_is_away_and_the_next_waits_until_all_is_whole():
    nodes, whole = Nodes(), []
    faults = [Fault(1, "node-kill", 0.5, 0.0, 0.05), Fault(2, "node-freeze", 0.9, 0.0, 0.05)]
    monkey = Monkey(faults, [], nodes, lambda: bool(whole), lambda line: None)
    until(lambda: monkey.turn() or ("restart_node", 1) in nodes.asked)
    for _ in range(5):
        monkey.turn()
    assert nodes.asked == [("kill_node", 1), ("restart_node", 1)]
    assert monkey.node_away
    whole.append(True)
    until(lambda: monkey.turn() or monkey.finished)
    assert nodes.asked[2:] == [("freeze_node", 2), ("thaw_node", 2)]
    monkey.close()
