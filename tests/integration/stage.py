"""Topics of a test and services of a small analysis on them, to be killed and started again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from kafka import KafkaProducer

from streamproc.transports.codec import encode
from tests.integration.reading import records, results

TOY = Path(__file__).with_name("toy_consumer.py")
SESSION_S = 6.0


class Topics:
    """What a test writes to and reads from."""

    def __init__(self, settings, partitions):
        self.settings, self.partitions = settings, partitions
        self._open()

    def _open(self):
        self._producer = KafkaProducer(
            bootstrap_servers=self.settings.kafka.bootstrap,
            enable_idempotence=False,
            acks="all",
            max_in_flight_requests_per_connection=1,
        )

    def reopen(self):
        """Forget what is known of the topics: one of them is another one now."""
        self.close()
        self._open()

    def publish(self, pairs, partition):
        for pair in pairs:
            self._producer.send(self.settings.topic("raw"), encode(*pair), key=b"k", partition=partition)
        self._producer.flush(30)

    def read(self, topic, isolation="read_committed"):
        return records(self.settings, topic, isolation)

    def results(self, **options):
        return results(self.settings, **options)

    def stops(self):
        return sum(name == "stop" for name, _ in self.results())

    def close(self):
        self._producer.close(timeout=2)


class Instance:
    """A service process that is started again under the same name."""

    def __init__(self, settings, folder, name, **service):
        self.name, self.log = name, folder / f"{name}.log"
        pause_s, from_beginning = service.pop("pause_s", 0.0), service.pop("from_beginning", True)
        deadly = {"deadly": service.pop("deadly")} if "deadly" in service else {}
        sections = {
            "kafka": {
                "bootstrap": settings.kafka.bootstrap,
                "session_timeout_s": SESSION_S,
                "group_instance_id": name,
                "from_beginning": from_beginning,
            },
            "frames": {"roots": [str(folder)], "wait_s": 20.0},
            "service": service,
            "analysis.toy": {"pause_s": pause_s} | deadly,
        }
        lines = [f'beamline = "{settings.beamline}"']
        for section, table in sections.items():
            lines += [f"[{section}]", *(f"{k} = {json.dumps(v)}" for k, v in table.items())]
        self.config = folder / f"{name}.toml"
        self.config.write_text("\n".join(lines))
        self.process = None

    def start(self):
        argv = [sys.executable, "-m", "streamproc", "run", str(TOY), "--config", str(self.config)]
        self._from = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log)
        return self

    def end(self, number=signal.SIGTERM):
        if number == signal.SIGTERM:  # before it is ready the default handler ends it, not cleanly
            until(lambda: '"ready"' in self.log.read_text()[self._from :])
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGCONT)
            self.process.send_signal(number)
        return self.process.wait(30)

    def said(self, text):
        return text in self.log.read_text()


def until(condition, deadline_s=90.0):
    end_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_s, "not within the deadline"
        time.sleep(0.1)


def frames(count, size=32):
    return [np.full((size, size), n + 1, np.uint16) for n in range(count)]
