"""A broker that hangs ends the service in time and in words; the restarted one goes on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from streamproc.settings import Settings
from streamproc.testing.makers import inline_run
from streamproc.transports.broker import Broker
from streamproc.transports.codec import encode
from streamproc.transports.kafka import ensure_topics
from tests.integration.freezing import freeze
from tests.integration.publishing import publish
from tests.integration.reading import results

pytestmark = pytest.mark.broker
TOY = Path(__file__).with_name("toy_consumer.py")


def until(condition, log, deadline_s=60.0):
    end_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_s, f"not within the deadline; the service said:\n{log.read_text()}"
        time.sleep(0.05)


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_a_frozen_broker_ends_the_service_with_code_3_and_the_next_one_goes_on(tmp_path, delivery):
    log = tmp_path / "log"
    with Broker() as broker:
        settings = Settings(beamline="out", kafka={"bootstrap": broker.bootstrap})
        ensure_topics(settings, analysis="toy")
        tables = {
            "kafka": {"bootstrap": broker.bootstrap, "group_instance_id": "a", "session_timeout_s": 30.0},
            "delivery": {"flush_timeout_s": 4.0, "transaction_timeout_s": 4.0},
            "service": {"delivery": delivery},
            "analysis.toy": {"pause_s": 0.02},
        }
        lines = ['beamline = "out"']
        for name, table in tables.items():
            lines += [f"[{name}]", *(f"{k} = {json.dumps(v)}" for k, v in table.items())]
        (tmp_path / "c.toml").write_text("\n".join(lines))
        argv = [sys.executable, "-m", "streamproc", "run", str(TOY), "--config", str(tmp_path / "c.toml")]

        def start():
            with log.open("ab") as out:
                return subprocess.Popen(argv, stdout=out, stderr=out)

        frames = [np.full((16, 16), n + 1, np.uint16) for n in range(400)]
        publish(settings, (encode(*pair) for pair in inline_run(frames, uid="r")), b"r")
        process = start()
        try:
            until(lambda: len(results(settings)) > 30, log)
            (node,) = broker.processes
            freeze(node)
            assert process.wait(60) == 3
            node.send_signal(signal.SIGCONT)
            said = log.read_text().splitlines()
            assert any(line.startswith("streamproc: ") and "restart" in line for line in said)
            process = start()
            until(lambda: any(name == "stop" for name, _ in results(settings)), log, 90.0)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()
        found = results(settings)
    numbers = [d["seq_num"] for n, d in found if n == "event" and "mean" in d["data"]]
    assert set(numbers) == set(range(1, 401))
    if delivery == "exactly-once":
        assert len(numbers) == 400
        assert len({d["uid"] for _, d in found}) == len(found)
