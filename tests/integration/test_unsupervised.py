"""phase-map --unsupervised as a service of its own, on the real Apache Kafka."""

from __future__ import annotations

import subprocess
import sys

from streamproc.models.unmixing.example import example_run

from streamproc.results import deduplicate
from streamproc.transports.codec import encode
from tests.integration.publishing import publish
from tests.integration.reading import results

POINTS = 20


def raw_documents():
    run, frames = example_run(POINTS)
    (descriptor,) = run.descriptors.values()
    pairs = [("start", dict(run.start)), ("descriptor", dict(descriptor))]
    for frame in frames:
        data = {**frame.readings, "pattern": frame.array}
        event = {
            "uid": f"{run.uid}-{frame.seq_num}", "descriptor": descriptor["uid"], "seq_num": frame.seq_num,
            "time": frame.time_s, "data": data, "timestamps": dict.fromkeys(data, frame.time_s), "filled": {},
        }  # fmt: skip
        pairs.append(("event", event))
    stop = {"uid": f"{run.uid}-s", "run_start": run.uid, "time": 1.7e9 + 99, "exit_status": "success"}
    return [*pairs, ("stop", {**stop, "num_events": {"primary": POINTS}})]


def run_once(settings):
    argv = [
        sys.executable, "-m", "streamproc", "run", "phase-map", "--unsupervised", "--once",
        "--bootstrap", settings.kafka.bootstrap, "--beamline", settings.beamline,
        "--set", "axis_key=two_theta", "--set", "unmixing.points=320", "--set", "unmixing.map_points=64",
    ]  # fmt: skip
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stderr[-3000:]


def answers(settings):
    return list(deduplicate(results(settings)))


def streams(documents):
    names = {d["uid"]: d["name"] for n, d in documents if n == "descriptor"}
    found = {}
    for name, doc in documents:
        if name == "event":
            found.setdefault(names[doc["descriptor"]], []).append(doc["data"])
    return found


def test_components_map_and_change_point_are_published_and_a_restart_changes_nothing(beamline):
    pairs, whole, halved = raw_documents(), beamline(), beamline()
    publish(whole, (encode(*pair) for pair in pairs))
    run_once(whole)
    for part in (pairs[:12], pairs[12:]):
        publish(halved, (encode(*pair) for pair in part))
        run_once(halved)
    expected = answers(whole)
    assert [n for n, _ in expected if n in ("start", "stop")] == ["start", "stop"]
    assert expected[-1][1]["ledger"]["primary"]["done"] == POINTS
    found = streams(expected)
    assert len(found["primary"]) == len(found["points"]) == POINTS
    (summary,) = found["summary"]
    assert (summary["points"], summary["components"]) == (POINTS, 2)
    assert summary["change_points"] == 1
    assert abs(found["change_points"][-1]["position"] - 395) <= 5
    assert "in_domain" in found["points"][-1]
    assert found["map"][-1]["places"].shape == (64, 3)
    assert [encode(*d) for d in answers(halved)] == [encode(*d) for d in expected]
