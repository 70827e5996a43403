"""A replay into a topic, interrupted and gone on with: what the readers of the topic make of it."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout

import pytest

from streamproc.cli import main
from streamproc.results import is_interrupted
from streamproc.transports.codec import encode
from streamproc.transports.kafka.reading import TopicReader
from streamproc.transports.tiled.reading import run_documents
from tests.integration.publishing import publish

pytestmark = [pytest.mark.broker, pytest.mark.timeout(900)]
STEP_S = 1.5


@pytest.fixture(scope="module")
def slow(beam):
    """A raw run whose events are so far apart that one can act between them."""
    pairs = [(n, dict(d)) for n, d in beam.run("inline", "topic")]
    events = [d for n, d in pairs if n == "event"]
    for k, event in enumerate(events):
        event["time"] = events[0]["time"] + STEP_S * k
    pairs[-1][1]["time"] = events[-1]["time"] + 0.1
    return pairs


class Topic:
    """A beamline with the raw run on its topic, and the commands that one gives there."""

    def __init__(self, beam, settings, pairs, tiled):
        self.settings, self.tiled, self.uid = settings, tiled, pairs[0][1]["uid"]
        self.where = ("--bootstrap", settings.kafka.bootstrap, "--beamline", settings.beamline)
        self.config = ("--config", str(beam.config))
        publish(settings, (encode(*pair) for pair in pairs))

    def command(self, name, *more):
        return [sys.executable, "-m", "streamproc", name, *map(str, more), *self.where]

    def here(self, name, *more):
        """A command in this process: most of the time of a short one goes into its start."""
        said, errors = io.StringIO(), io.StringIO()
        with redirect_stdout(said), redirect_stderr(errors), pytest.raises(SystemExit) as ended:
            main([name, *map(str, more), *self.where])
        return subprocess.CompletedProcess(name, ended.value.code, said.getvalue(), errors.getvalue())

    def run(self, name, *more):
        ended = subprocess.run(
            self.command(name, *more), capture_output=True, text=True, timeout=150, check=False,
            env={**os.environ, "TILED_API_KEY": "secret"},
        )  # fmt: skip
        assert "Traceback" not in ended.stderr, ended.stderr
        return ended

    def published(self):
        """Name and document of every message of the results topic."""
        with TopicReader(self.settings.kafka, self.settings.topic("results"), timeout_s=60) as reader:
            return [(m.name, m.doc) for m in reader.documents()]

    def interrupt(self, *more):
        """Replay at the pace of the run and end it between two events."""
        before = sum(name == "event" for name, _ in self.published())
        process = subprocess.Popen(
            self.command("replay", "kafka", *self.config, "--to", "kafka", "--speed", "real", *more),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        until_s = time.monotonic() + 90
        while sum(name == "event" for name, _ in self.published()) == before:
            assert process.poll() is None and time.monotonic() < until_s
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        said, errors = process.communicate(timeout=60)
        assert process.returncode == 128 + signal.SIGTERM, errors
        return said

    def archived(self, spool):
        """Archive what is new, then return the run in Tiled."""
        from tiled.client import from_uri

        ended = self.run("archive", "--to", self.tiled, "--spool", spool, "--once")
        assert ended.returncode == 0, ended.stderr
        uid = next(d["uid"] for n, d in self.published() if n == "start")
        return list(run_documents(from_uri(self.tiled, api_key="secret")[uid]))

    def audited(self):
        ended = self.here("audit", "--run", self.uid, "--grace", "0", "--json")
        [row] = json.loads(ended.stdout)["runs"]
        return ended.returncode, row

    def table(self):
        import pandas

        ended = self.here("results", "--run", self.uid)
        assert ended.returncode == 0, ended.stderr
        return pandas.read_csv(io.StringIO(ended.stdout), comment="#"), ended.stderr


def stops(pairs):
    return [doc for name, doc in pairs if name == "stop"]


def test_whole_and_aborted_copies_of_a_run_are_told_apart_by_every_reader(
    beam, beamline, slow, tiled_server, tmp_path
):
    topic, resume = Topic(beam, beamline(), slow, tiled_server), ("--resume-file", tmp_path / "resume")

    topic.interrupt(*resume)
    [aborted] = stops(topic.published())
    assert is_interrupted(aborted) and 0 < aborted["ledger"]["primary"]["dropped"] < 4
    assert stops(topic.archived(tmp_path / "spool")) == [aborted]
    code, row = topic.audited()
    assert (code, row["verdict"], row["done"] + row["dropped"]) == (0, "accounted for", 4)
    points, notes = topic.table()
    assert len(points) < 4 and "interrupted" in notes

    ended = topic.here("replay", "kafka", *topic.config, "--to", "kafka", *resume)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    published = topic.published()
    again = max(k for k, (name, _) in enumerate(published) if name == "start")
    assert [n for n, _ in published[again:]].count("stop") == 1 and published[-1][0] == "stop"
    check_whole(topic, tmp_path)

    topic.interrupt()
    assert [is_interrupted(stop) for stop in stops(topic.published())] == [True, False, True]
    check_whole(topic, tmp_path)
    ended = topic.here("replay", "kafka", *topic.config, "--verify", "kafka")
    assert ended.returncode == 0 and "byte-identical" in ended.stdout, ended.stdout


def check_whole(topic, folder):
    """Every reader has the whole run."""
    [stop] = stops(topic.archived(folder / "spool"))
    assert not is_interrupted(stop) and stop["ledger"]["primary"]["done"] == 4
    code, row = topic.audited()
    assert (code, row["verdict"], row["done"], row["doubled"]) == (0, "complete", 4, 0)
    points, notes = topic.table()
    assert len(points) == 4 and "interrupted" not in notes
    status = topic.here("status", topic.uid)
    assert status.returncode == 0 and "done 4 of 4" in status.stdout
