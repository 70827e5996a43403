"""`streamproc replay` as a user has it: exit codes, sentences, interruption, damage; no traceback ever."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from streamproc.cli import main
from streamproc.transports.codec import encode
from tests.second_model import SHIPPED


def command(*arguments):
    return [sys.executable, "-m", "streamproc", "replay", *map(str, arguments)]


def run(*arguments, timeout=120):
    ended = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=timeout, check=False)
    assert "Traceback" not in ended.stderr + ended.stdout, ended.stderr
    return ended


@pytest.fixture
def run_here(capsys):
    """The command in this process: for what ends before any work."""

    def run_in(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["replay", *map(str, arguments)])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return subprocess.CompletedProcess(arguments, ended.value.code, said.out, said.err)

    return run_in


@pytest.fixture(scope="session")
def kept(beam):
    """Documents and results of the runs, as `streamproc demo --keep` leaves them."""
    made = {}
    for form in ("inline", "hdf5", "tiff"):
        folder = beam.folder / f"documents-{form}"
        folder.mkdir(exist_ok=True)
        (folder / "raw.msgpack").write_bytes(b"".join(encode(*p) for p in beam.run(form)))
        (folder / "results.msgpack").write_bytes(b"".join(beam.live(form)))
        made[form] = folder
    return made


def test_verify_says_byte_identical_and_ends_with_0(beam, kept):
    ended = run(kept["hdf5"], "--config", beam.config, "--verify", kept["hdf5"] / "results.msgpack")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "byte-identical" in ended.stdout
    assert re.search(r"event primary: data\.corundum +equal bytes +4/4", ended.stdout)


def test_verify_names_the_fields_that_differ_and_ends_with_1(beam, kept, tmp_path):
    config = tmp_path / "other.toml"
    text = beam.config.read_text().replace("bins = 2000", "bins = 1500")
    for name in ("geometry.poni", "mask.tif", "dark.tif"):
        text = text.replace(f'"{name}"', f'"{beam.folder / name}"')
    config.write_text(text.replace('roots = ["frames"]', f'roots = ["{beam.folder}/frames"]'))
    ended = run(kept["hdf5"], "--config", config, "--verify", kept["hdf5"] / "results.msgpack", "--json")
    assert ended.returncode == 1
    [found] = json.loads(ended.stdout)
    verdict = {f["name"]: f for f in found["verify"]["fields"]}
    assert verdict["event primary: data.corundum"]["kind"] == "differs"
    assert "settings_sha256" in verdict["event primary: data.corundum"]["why"]
    assert verdict["start: uid"]["why"].startswith("follows from")
    assert verdict["event primary: time"]["kind"] == "equal bytes"


def test_results_go_to_a_file_that_is_not_overwritten_unasked(beam, kept, tmp_path):
    out = tmp_path / "out.jsonl"
    assert run(kept["tiff"], "--config", beam.config, "--to", out).returncode == 0
    ended = run(kept["tiff"], "--config", beam.config, "--to", out)
    assert ended.returncode == 2 and "--overwrite" in ended.stderr
    ended = run(kept["tiff"], "--config", beam.config, "--to", out, "--overwrite", "--verify", out)
    assert ended.returncode == 2 and "nothing to compare" in ended.stderr
    ended = run(kept["tiff"], "--config", beam.config, "--verify", out)
    assert ended.returncode == 0 and "byte-identical" in ended.stdout, ended.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_and_given_again_the_results_are_the_live_ones(beam, tmp_path, number):
    pairs = [(n, dict(d)) for n, d in beam.run("inline", "slow")]
    slow = tmp_path / "slow.msgpack"
    events = [d for n, d in pairs if n == "event"]
    for k, event in enumerate(events):
        event["time"] = events[0]["time"] + 1.5 * k
    pairs[-1][1]["time"] = events[-1]["time"] + 1.0
    slow.write_bytes(b"".join(encode(*p) for p in pairs))
    whole, out = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    assert run(slow, "--config", beam.config, "--to", whole).returncode == 0
    process = subprocess.Popen(
        command(slow, "--config", beam.config, "--to", out, "--speed", "real"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline_s = time.monotonic() + 60
    while not (out.exists() and out.read_text().count('["event"') >= 1):
        assert time.monotonic() < deadline_s and process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    said, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number, errors
    assert "interrupted" in said and "same command again goes on" in errors and "Traceback" not in errors
    stop = json.loads(out.read_text().splitlines()[-1])
    assert stop[0] == "stop" and stop[1]["exit_status"] == "abort"
    ledger = stop[1]["ledger"]["primary"]
    assert ledger["done"] + ledger["dropped"] == ledger["expected"] == 4 and ledger["dropped"] > 0
    ended = run(slow, "--config", beam.config, "--to", out, "--speed", "real", "--verify", whole)
    assert ended.returncode == 0 and "byte-identical" in ended.stdout, ended.stdout + ended.stderr
    assert out.read_bytes() == whole.read_bytes()
    assert not out.with_name("out.jsonl.resume").exists()


def test_a_truncated_file_is_a_sentence_and_a_ledger(beam, kept, tmp_path):
    whole = (kept["inline"] / "raw.msgpack").read_bytes()
    cut = tmp_path / "cut.msgpack"
    cut.write_bytes(whole[: len(whole) // 2])
    ended = run(cut, "--config", beam.config, "--to", tmp_path / "cut.jsonl")
    assert ended.returncode == 1
    assert "damaged" in ended.stdout and "cut off: the document at byte" in ended.stdout
    stop = json.loads((tmp_path / "cut.jsonl").read_text().splitlines()[-1])
    assert stop[0] == "stop" and "cut off" in stop[1]["reason"]
    assert 0 < stop[1]["ledger"]["primary"]["done"] < 4


def test_garbage_in_the_middle_is_a_sentence_and_a_ledger(beam, kept, tmp_path):
    raws = [encode(*p) for p in beam.run("tiff")]
    bad = tmp_path / "bad.msgpack"
    bad.write_bytes(b"".join(raws[:6]) + b"\xc1\xc1 no document" + b"".join(raws[6:]))
    ended = run(bad, "--config", beam.config)
    assert ended.returncode == 1 and "no Bluesky document at byte" in ended.stdout


def test_a_missing_asset_is_in_the_ledger(beam, kept, tmp_path):
    import shutil

    uid, frames = beam.run("tiff")[0][1]["uid"], tmp_path / "frames"
    shutil.copytree(beam.folder / "frames", frames)
    resource = next(d for n, d in beam.run("tiff") if n == "stream_resource")
    folder = frames / resource["uri"].rstrip("/").rpartition("/")[2]
    sorted(folder.iterdir())[2].unlink()
    ended = run(
        kept["tiff"], "--config", beam.config, "--frames", frames, "--map",
        f"{beam.folder}/frames={frames}", "--run", uid,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "3 done, 1 failed" in ended.stdout and "is not there" in ended.stdout


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nothing-here", "neither a file or folder"),
        ("nothing.msgpack", "no such file or folder"),
        ("http://127.0.0.1:9/raw", "no Tiled server answers"),
        ("profile:no-such-profile", "no profile"),
        ("kafka:raw@x", "expected kafka:TOPIC@PARTITION"),
    ],
)
def test_a_wrong_source_is_one_sentence(beam, run_here, source, words):
    ended = run_here(source, "--config", beam.config)
    assert ended.returncode == 2 and words in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--run", "ffffffff"], "no run 'ffffffff' in it"),
        (["--run", "4711"], "no run '4711' in it"),
        (["--search", "sample=other"], "fits --since/--until/--search"),
        (["--search", "nonsense"], "expected KEY=VALUE"),
        (["--speed", "fast"], "expected real, max"),
        (["--to", "somewhere"], "expected kafka, a .jsonl file"),
        (["--verify", "no-such-results.jsonl"], "no such file"),
        (["--frames", "/no/such/folder"], "no such folder"),
    ],
)
def test_a_wrong_option_is_one_sentence(beam, kept, run_here, options, words):
    ended = run_here(kept["inline"], "--config", beam.config, *options)
    assert ended.returncode == 2 and words in ended.stderr, ended.stderr


@pytest.mark.parametrize(
    ("model", "words"), [(SHIPPED.split(":")[1], "complete"), ("77", "no model 'phase_qpa:77'")]
)
def test_a_version_alone_is_one_of_the_settings_model(beam, kept, run_here, model, words):
    ended = run_here(kept["inline"], "--config", beam.config, "--model", model)
    assert ended.returncode == (2 if model == "77" else 0) and words in ended.stdout + ended.stderr


def test_no_documents_at_all_is_one_sentence(beam, run_here, tmp_path):
    (tmp_path / "noise.msgpack").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "text.jsonl").write_text("hello\n")
    for name in ("noise.msgpack", "text.jsonl", "."):
        ended = run_here(tmp_path / name, "--config", beam.config)
        assert ended.returncode == 2 and "Bluesky document" in ended.stderr, ended.stderr


def test_list_says_which_runs_there_are(beam, kept, run_here):
    ended = run_here(beam.folder, "--config", beam.config, "--list", "--search", "sample=replay")
    assert ended.returncode == 0
    assert {"100", "101", "102"} <= set(re.findall(r"\b10\d\b", ended.stdout))


def test_several_runs_go_to_one_file(beam, kept, tmp_path):
    out = tmp_path / "all.jsonl"
    ended = run(beam.folder, "--config", beam.config, "--run", "101", "--run", "102", "--to", out)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    starts = [json.loads(line)[1] for line in out.read_text().splitlines() if line.startswith('["start"')]
    assert [s["scan_id"] for s in starts] == [101, 102]
    for form in ("hdf5", "tiff"):
        checked = run(kept[form], "--config", beam.config, "--verify", out)
        assert checked.returncode == 0, checked.stdout


@pytest.mark.broker
def test_results_go_to_a_topic_and_are_compared_there(beam, kept, beamline):
    settings = beamline()
    where = ("--bootstrap", settings.kafka.bootstrap, "--beamline", settings.beamline)
    ended = run(kept["hdf5"], "--config", beam.config, *where, "--to", "kafka")
    assert ended.returncode == 0, ended.stderr
    ended = run(kept["hdf5"], "--config", beam.config, *where, "--verify", "kafka")
    assert ended.returncode == 0 and "byte-identical" in ended.stdout, ended.stdout
    ended = run(kept["hdf5"], "--config", beam.config, "--to", "kafka", "--bootstrap", "127.0.0.1:9")
    assert ended.returncode in (2, 3) and len(ended.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("key", "path", "words"),
    [
        ("secret", "/nowhere", "there is no 'nowhere'"),
        ("wrong", "", "401"),
        (None, "", "cannot be used as an archive"),
        ("secret", "/api/v1/metadata/nowhere", "404"),
    ],
)
def test_a_server_that_refuses_is_one_sentence(beam, tiled_server, key, path, words):
    env = {k: v for k, v in os.environ.items() if k != "TILED_API_KEY"}
    env |= {} if key is None else {"TILED_API_KEY": key}
    ended = subprocess.run(
        command(f"{tiled_server}{path}", "--config", beam.config, "--run", "4711"), capture_output=True,
        text=True, timeout=60, check=False, env=env, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert ended.returncode == 2 and "Traceback" not in ended.stderr, ended.stderr
    assert words in ended.stderr or "no run '4711'" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr
