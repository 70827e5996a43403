"""A live topic recorded in files, killed and gone on with, moved, damaged, and replayed from there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from streamproc.errors import ConfigurationError
from streamproc.replay import NoTarget, replay_run
from streamproc.replay.recording import Recorder
from streamproc.transports.archive.opening import open_archive
from streamproc.transports.archive.ports import Query
from streamproc.transports.codec import decode, encode
from tests.integration.publishing import publish

pytestmark = pytest.mark.broker
FORMS = ("inline", "hdf5", "tiff", "resource")


def slowly(raws, pause_s):
    for raw in raws:
        yield raw
        time.sleep(pause_s)


def with_frames(beam, settings):
    return settings.model_copy(update={"frames": beam.settings.frames})


def record(settings, out, **more):
    recorder = Recorder(settings, settings.topic("raw"), out, **more)
    return recorder.run(until_idle_s=0.5)


def replayed(beam, archive, uid):
    out = []
    settings = beam.settings.model_copy(
        update={"frames": beam.settings.frames.model_copy(update={"roots": ()})}
    )
    ref = next(iter(archive.runs(Query(runs=(uid,)))))
    return replay_run(archive, ref, beam.analysis, NoTarget(out.append), settings=settings), out


def uid_of(pairs):
    return pairs[0][1]["uid"]


@pytest.fixture(scope="module")
def recording(kafka, beam, tmp_path_factory):
    """All storage forms of runs, interleaved with each other, with their frames, moved to another folder."""
    from streamproc.settings import Settings
    from streamproc.transports.kafka import ensure_topics

    settings = Settings(beamline=f"rec{os.getpid()}", kafka={"bootstrap": kafka})
    ensure_topics(settings, partitions=1, analysis="phase-map")
    runs = [[encode(*p) for p in beam.run(form)] for form in FORMS]
    longest = max(map(len, runs))
    mixed = [run[i] for i in range(longest) for run in runs if i < len(run)]
    publish(settings, [mixed[-1], b"garbage", *mixed])
    first = tmp_path_factory.mktemp("record") / "first"
    report = record(with_frames(beam, settings), first, frames=True)
    assert (report.runs, report.open_runs, report.undecodable, report.missing) == (4, 0, 1, [])
    assert report.strays == 1 and report.frame_files == 1 + 4 + 4
    moved = first.with_name("moved")
    first.rename(moved)
    return moved


@pytest.fixture
def copied(recording, tmp_path):
    """A copy of one's own, to be damaged."""
    return shutil.copytree(recording, tmp_path / "copy")


@pytest.mark.parametrize("form", FORMS)
def test_a_moved_recording_gives_the_live_bytes_from_its_own_frames(beam, recording, form):
    outcome, out = replayed(beam, open_archive(recording, beam.settings), uid_of(beam.run(form)))
    assert outcome.good, (outcome.reason, outcome.ledger)
    assert out == beam.live(form)


def test_the_messages_are_kept_as_they_came(beam, recording):
    for form in FORMS:
        pairs = beam.run(form)
        kept = (recording / "runs" / f"{uid_of(pairs)}.msgpack").read_bytes()
        assert kept == b"".join(encode(*p) for p in pairs)


def test_a_changed_frame_file_is_a_sentence_and_a_ledger(beam, copied):
    uid = uid_of(beam.run("hdf5"))
    frame = next((copied / "frames" / uid).rglob("*.h5"))
    data = bytearray(frame.read_bytes())
    data[len(data) // 2] ^= 1
    frame.write_bytes(data)
    outcome, _ = replayed(beam, open_archive(copied, beam.settings), uid)
    assert outcome.ending == "damaged" and "has changed since" in outcome.reason
    assert outcome.ledger["failed"] == outcome.ledger["expected"] == 4


def test_a_missing_frame_file_is_a_sentence_and_a_ledger(beam, copied):
    uid = uid_of(beam.run("tiff"))
    next((copied / "frames" / uid).rglob("*.tiff")).unlink()
    outcome, _ = replayed(beam, open_archive(copied, beam.settings), uid)
    assert outcome.ending == "damaged" and "not in the recording" in outcome.reason


def test_changed_documents_are_refused(beam, copied):
    uid = uid_of(beam.run("inline"))
    path = copied / "runs" / f"{uid}.msgpack"
    path.write_bytes(path.read_bytes()[:-10])
    outcome, _ = replayed(beam, open_archive(copied, beam.settings), uid)
    assert outcome.ending == "damaged" and "has changed since" in outcome.reason


def test_a_broken_manifest_is_a_sentence(beam, copied):
    (copied / "manifest.json").write_text("{")
    with pytest.raises(ConfigurationError, match="no manifest of a recording"):
        open_archive(copied, beam.settings)


def test_frames_outside_the_roots_are_not_copied_and_said(beam, beamline, tmp_path):
    settings = beamline()
    publish(settings, [encode(*p) for p in beam.run("hdf5")])
    report = record(settings, tmp_path / "r", frames=True)
    assert report.runs == 1 and "frames.roots" in report.missing[0]


def test_another_topic_or_a_second_recorder_is_refused(beam, beamline, tmp_path):
    settings = beamline()
    record(settings, tmp_path / "r")
    with pytest.raises(ConfigurationError, match="has a recording of topic"):
        Recorder(settings, "another", tmp_path / "r")
    first = Recorder(settings, settings.topic("raw"), tmp_path / "r")
    with pytest.raises(ConfigurationError, match="another program"):
        Recorder(settings, settings.topic("raw"), tmp_path / "r")
    first.close()


def test_an_open_run_is_kept_and_gone_on_with(beam, beamline, tmp_path):
    settings, raws = beamline(), [encode(*p) for p in beam.run("tiff")]
    publish(settings, raws[:6])
    report = record(settings, tmp_path / "r")
    assert (report.runs, report.open_runs) == (0, 1)
    archive = open_archive(tmp_path / "r", beam.settings)
    assert replayed(beam, archive, uid_of(beam.run("tiff")))[0].ending == "unfinished"
    publish(settings, raws[6:])
    report = record(settings, tmp_path / "r")
    assert (report.runs, report.open_runs, report.strays) == (1, 0, 0)
    kept = next((tmp_path / "r" / "runs").iterdir()).read_bytes()
    assert kept == b"".join(raws)


def test_killed_again_and_again_nothing_is_doubled_or_left_out(beam, beamline, tmp_path):
    settings, out = beamline(), tmp_path / "r"
    raws = [encode(*p) for form in ("inline", "hdf5", "resource") for p in beam.run(form)]
    sender = threading.Thread(target=publish, args=(settings, slowly(raws, 0.15)))
    sender.start()
    command = [
        sys.executable, "-m", "streamproc", "record", "--out", str(out), "--bootstrap",
        settings.kafka.bootstrap, "--beamline", settings.beamline,
    ]  # fmt: skip
    kills = 0
    while sender.is_alive():
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1.7)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        kills += 1
    sender.join()
    ended = subprocess.run(
        [*command, "--until-idle", "1"], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert kills >= 2
    for form in ("inline", "hdf5", "resource"):
        pairs = beam.run(form)
        kept = (out / "runs" / f"{uid_of(pairs)}.msgpack").read_bytes()
        assert kept == b"".join(encode(*p) for p in pairs)
    manifest = json.loads((out / "manifest.json").read_text())
    assert all(entry["complete"] for entry in manifest["runs"].values())
    assert decode(raws[0])[0] == "start"


def test_ctrl_c_ends_a_recording_cleanly(beam, beamline, tmp_path):
    settings = beamline()
    publish(settings, [encode(*p) for p in beam.run("tiff")])
    command = [
        sys.executable, "-m", "streamproc", "record", "--out", str(tmp_path / "r"), "--bootstrap",
        settings.kafka.bootstrap, "--beamline", settings.beamline,
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    deadline_s = time.monotonic() + 60
    while not (tmp_path / "r" / "manifest.json").exists():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 0 and "1 run(s) complete" in said
