"""The service as a process of its own, on the real Apache Kafka."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from streamproc.results import deduplicate
from streamproc.testing.hostile import hostile_messages
from streamproc.testing.makers import inline_run
from streamproc.transports.codec import encode
from tests.integration.publishing import publish
from tests.integration.reading import records, results

CPD = ["cpd-1a", "cpd-1c", "cpd-1e", "cpd-1g"]
PHASES = ["corundum", "zincite", "fluorite", "brucite"]


def write_config(tmp_path, settings, analysis, **sections):
    sections = {
        "kafka": {"bootstrap": settings.kafka.bootstrap, "session_timeout_s": 6.0},
        "frames": {"roots": [str(tmp_path)], "wait_s": 5.0},
        "analysis.phase-map": analysis,
        **sections,
    }
    lines = [f'beamline = "{settings.beamline}"']
    for name, table in sections.items():
        lines += [f"[{name}]", *(f"{k} = {json.dumps(v)}" for k, v in table.items())]
    path = tmp_path / "beamline.toml"
    path.write_text("\n".join(lines))
    return path


def command(config, *more):
    return [sys.executable, "-m", "streamproc", "run", "phase-map", "--config", str(config), *more]


def run_once(config):
    ended = subprocess.run(command(config, "--once"), capture_output=True, text=True, timeout=180)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended


def primary_events(documents):
    names = {d["uid"]: d["name"] for n, d in documents if n == "descriptor"}
    return [d for n, d in documents if n == "event" and names[d["descriptor"]] == "primary"]


def predict(*arguments):
    argv = [sys.executable, "-m", "streamproc", "predict", "phase-map", "--json", *map(str, arguments)]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=180)
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def pattern_pairs(uid, patterns, axis):
    """A run of 1-D patterns whose axis is a reading of the same event."""
    pairs = inline_run(patterns, uid=uid, key="intensity")
    for name, doc in pairs:
        if name == "descriptor":
            doc["data_keys"]["two_theta"] = {**doc["data_keys"]["intensity"], "units": "deg"}
        if name == "event":
            doc["data"]["two_theta"] = axis
            doc["timestamps"]["two_theta"] = doc["time"]
    return pairs


@pytest.mark.real
def test_measured_mixtures_through_kafka_give_what_predict_gives(beamline, tmp_path, shared_data):
    files = [shared_data / "iucr_qarr" / f"{name}.prn" for name in CPD]
    columns = [np.loadtxt(f, usecols=(0, 1)) for f in files]
    settings = beamline()
    for name, column in zip(CPD, columns, strict=True):
        pairs = pattern_pairs(name, [column[:, 1]], column[:, 0])
        publish(settings, [encode(*p) for p in pairs])
    run_once(write_config(tmp_path, settings, {"axis_key": "two_theta"}))
    documents, predicted = results(settings), predict(*files)
    started = {d["uid"]: d["original_run_uid"] for n, d in documents if n == "start"}
    described = {d["uid"]: started[d["run_start"]] for n, d in documents if n == "descriptor"}
    events = {described[e["descriptor"]]: e for e in primary_events(documents)}
    assert set(events) == set(CPD)
    for name, answer in zip(CPD, predicted, strict=True):
        event = events[name]
        assert event["data"]["in_domain"] is True
        for phase in PHASES:
            assert event["data"][phase] == answer["phases"][phase]["fraction"]
            assert event["data"][f"{phase}_sigma"] == answer["phases"][phase]["sigma"]


@pytest.mark.real
def test_the_measured_frame_through_kafka_gives_what_predict_gives(beamline, tmp_path, shared_data):
    import tifffile

    folder = shared_data / "img2d_CeO2_pilatus"
    poni, image = folder / "CeO2_Pilatus1M.poni", folder / "CeO2_Pilatus1M.tif"
    settings = beamline()
    publish(settings, [encode(*p) for p in inline_run([tifffile.imread(image)], uid="ceo2")])
    reduction = {"poni": str(poni), "flip": "rows", "shape": [1043, 981]}
    config = write_config(tmp_path, settings, {}, **{"analysis.phase-map.reduction": reduction})
    run_once(config)
    (event,), (answer,) = primary_events(results(settings)), predict(image, "--poni", poni, "--flip", "rows")
    assert event["data"]["in_domain"] is answer["in_domain"] is False
    assert "unknown-material" in event["data"]["reasons"]
    for phase in PHASES:
        assert event["data"][phase] == answer["phases"][phase]["fraction"]


def golden_pairs(uid, count=6):
    """Patterns that the shipped model was released with, as a run."""
    from streamproc.inference.registry import find_model
    from streamproc.settings import InferenceSettings

    with np.load(find_model("phase_qpa", InferenceSettings()).with_name("golden.npz")) as golden:
        sound = golden["x"][golden["x"].any(axis=1)]
    patterns = np.round(np.resize(sound, (count, sound.shape[1])).astype(float) ** 2 * 1e5)
    return pattern_pairs(uid, list(patterns), np.linspace(20.0, 100.0, patterns.shape[1]))


def test_the_hostile_corpus_stops_nothing_and_loses_nothing(beamline, tmp_path):
    canary = tmp_path / "canary"
    settings = beamline()
    before, after = golden_pairs("before"), golden_pairs("after")
    hostile = [m.raw for m in hostile_messages(canary) if len(m.raw) < 16 * 2**20]
    raws = [encode(*p) for p in before[:4]] + hostile[: len(hostile) // 2]
    raws += [encode(*p) for p in before[4:] + after[:3]] + hostile[len(hostile) // 2 :]
    raws += [encode(*p) for p in after[3:]]
    publish(settings, raws)
    run_once(write_config(tmp_path, settings, {"axis_key": "two_theta"}, frames={"roots": [], "wait_s": 0.5}))
    documents = results(settings)
    starts = {d["original_run_uid"]: d["uid"] for n, d in documents if n == "start"}
    stops = {d["run_start"]: d for n, d in documents if n == "stop"}
    for uid in ("before", "after"):
        ledger = stops[starts[uid]]["ledger"]["primary"]
        assert (ledger["expected"], ledger["done"]) == (6, 6)
    assert not canary.exists()
    dead = records(settings, settings.topic("deadletters"))
    assert len(dead) > 100
    for record in dead:
        headers = dict(record.headers)
        assert headers["reason"]
        assert headers["topic"].decode() == settings.topic("raw")
        assert raws[int(headers["offset"])] == record.value


def test_killed_in_the_middle_and_started_again_every_result_is_there_and_the_same(beamline, tmp_path):
    expected_of = beamline()
    pairs = golden_pairs("killed", 60)
    publish(expected_of, [encode(*p) for p in pairs])
    run_once(write_config(tmp_path, expected_of, {"axis_key": "two_theta"}))
    settings = beamline()
    publish(settings, [encode(*p) for p in pairs[:45]])
    config = write_config(tmp_path, settings, {"axis_key": "two_theta"})
    process = subprocess.Popen(command(config), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 90
    while len(records(settings, settings.topic("results"))) < 10 and time.monotonic() < deadline:
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    publish(settings, [encode(*p) for p in pairs[45:]])
    run_once(config)
    conflicts = []
    got = list(deduplicate(results(settings), on_conflict=lambda n, d: conflicts.append(d["uid"])))
    assert conflicts == []
    assert {encode(*d) for d in got} == {encode(*d) for d in results(expected_of)}


def test_sigterm_ends_the_service_cleanly_and_what_was_open_goes_on(beamline, tmp_path):
    settings = beamline()
    pairs = golden_pairs("term", 40)
    publish(settings, [encode(*p) for p in pairs[:-1]])
    log = tmp_path / "log"
    config = write_config(tmp_path, settings, {"axis_key": "two_theta"})
    with log.open("w") as stream:
        process = subprocess.Popen(command(config), stderr=stream)
    deadline = time.monotonic() + 90
    while not records(settings, settings.topic("results")) and time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-2000:]
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0, log.read_text()[-2000:]
    done = primary_events(results(settings))
    publish(settings, [encode(*pairs[-1])])
    run_once(config)
    documents = list(deduplicate(results(settings)))
    assert len(done) <= 40 == len(primary_events(documents))
    assert documents[-1][0] == "stop"


def test_a_missing_topic_is_exit_code_2_and_one_sentence(kafka, tmp_path, beamline):
    settings = beamline()
    config = write_config(tmp_path, settings, {"axis_key": "two_theta"})
    env = {**os.environ, "STREAMPROC_KAFKA__RAW_TOPIC": "no.such.topic"}
    ended = subprocess.run(command(config), capture_output=True, text=True, timeout=60, env=env)
    assert ended.returncode == 2
    assert "no.such.topic" in ended.stderr.strip().splitlines()[-1]
    assert "Traceback" not in ended.stderr


def _filled(value):
    """Put random images and byte strings where the shared files have placeholders."""
    if isinstance(value, dict):
        if "__array__" in value:
            return np.random.default_rng(0).integers(0, 1000, value["__array__"]).astype(value["dtype"])
        if "__bytes__" in value:
            return value["__bytes__"].encode()
        return {key: _filled(item) for key, item in value.items()}
    return [_filled(item) for item in value] if isinstance(value, list) else value


@pytest.mark.real
def test_real_documents_on_the_topic_as_they_are_raise_no_complaint_that_is_not_true(
    beamline, tmp_path, shared_data
):
    from streamproc.demo.calibration import write_calibration

    settings, uids = beamline(), set()
    for number, path in enumerate(sorted((shared_data / "real_documents").glob("*.json"))):
        if path.name == "xpd_start.json":
            continue
        text = path.read_text().replace("{{ uuid }}", f"0000000{number}-1234-1234-1234")
        entries = json.loads(text.replace("{{ root_path }}", str(tmp_path)))
        pairs = [(e["name"], e["doc"]) if isinstance(e, dict) else tuple(e) for e in entries]
        publish(settings, [encode(name, _filled(doc)) for name, doc in pairs])
        uids.add(pairs[0][1]["uid"])
    xpd = json.loads((shared_data / "real_documents" / "xpd_start.json").read_text())
    publish(settings, [encode("start", xpd)])
    write_calibration(tmp_path)
    reduction = {"poni": str(tmp_path / "geometry.poni")}
    config = write_config(
        tmp_path, settings, {}, frames={"roots": [str(tmp_path)], "wait_s": 0.5},
        **{"analysis.phase-map.reduction": reduction},
    )  # fmt: skip
    ended = run_once(config)
    # The one complaint is true: the shared XPD start was stored before the RunEngine gave it a uid.
    assert "uid" not in xpd
    letters = records(settings, settings.topic("deadletters"))
    (complaint,) = (r for r in letters if dict(r.headers)["kind"] != b"frame")
    assert b"uid" in dict(complaint.headers)["reason"]
    assert "Traceback" not in ended.stderr
    answered = {d["original_run_uid"] for n, d in results(settings) if n == "start"}
    assert answered <= uids
    for name, doc in results(settings):
        if name == "stop":
            ledger = doc["ledger"]["primary"]
            assert ledger["expected"] == ledger["done"] + ledger["failed"] + ledger["dropped"]
