from __future__ import annotations

import subprocess
import sys
import threading
import time

from streamproc.watchdog import Watchdog


def test_what_does_not_come_back_in_time_is_given_up_with_a_sentence():
    said, given_up = [], threading.Event()
    dog = Watchdog(lambda message: (said.append(message), given_up.set()))
    with dog.limit("committing a transaction", 0.05):
        assert given_up.wait(10)
    assert said == [
        "committing a transaction did not end within 0.05 s; a restart goes on at the committed position"
    ]
    dog.close()


def test_what_ends_in_time_is_left_alone_and_the_shorter_of_two_limits_counts():
    said, given_up = [], threading.Event()
    dog = Watchdog(lambda message: (said.append(message), given_up.set()))
    with dog.limit("quick", 0.05):
        pass
    with dog.limit("outer", 60.0), dog.limit("inner", 0.05):
        assert given_up.wait(10)
    assert [s.split()[0] for s in said] == ["inner"]
    dog.close()


def test_by_default_the_process_ends_with_the_exit_code_of_a_failed_delivery():
    program = (
        "import time\nfrom streamproc.watchdog import Watchdog\n"
        "with Watchdog().limit('a call that hangs', 0.1):\n    time.sleep(60)\n"
    )
    begin_s = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50)
    assert time.monotonic() - begin_s < 50
    assert ended.returncode == 3
    assert "a call that hangs did not end within 0.1 s" in ended.stderr
