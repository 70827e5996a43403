"""A run of `streamproc demo --keep`, answered live through Kafka, stored everywhere with the how-to's own lines
(they are run here as they stand there), then replayed from every store."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from streamproc.transports.archive.files import FileSpan, read_documents

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module", params=["inline", "tiff"])
def kept(request, beam, kafka):
    # Inside the folder that the Tiled server may read from.
    folder = beam.folder / f"demo-{request.param}" / "my-demo"
    folder.parent.mkdir()
    command = [
        sys.executable, "-m", "streamproc", "demo", "--keep", str(folder), "--points", "4", "--rate", "0",
        "--storage", request.param, "--bootstrap", kafka,
    ]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"--verify {folder}/documents/results.msgpack" in ended.stdout.replace("\n", "")
    return folder


HOW_TO = Path(__file__).parents[3] / "docs" / "how-to" / "replay.md"


def documented(words):
    """The Python of the how-to that has these words."""
    [found] = [text for text in re.findall(r"```python\n(.*?)```", HOW_TO.read_text(), re.S) if words in text]
    return found


def run_python(folder, text):
    """Run a program beside the folder ``my-demo``, as the how-to has it."""
    command = [sys.executable, "-W", "ignore", "-c", text]
    subprocess.run(command, cwd=folder.parent, check=True, capture_output=True, timeout=180)


def replayed(folder, source):
    command = [
        sys.executable, "-m", "streamproc", "replay", str(source), "--config", "my-demo/beamline.toml",
        "--run", uid(folder)[:8], "--to", "none", "--verify", "my-demo/documents/results.msgpack",
    ]  # fmt: skip
    return subprocess.run(
        command, cwd=folder.parent, capture_output=True, text=True, timeout=240, check=False
    )


def verified(folder, source):
    ended = replayed(folder, source)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "byte-identical" in ended.stdout


def raw(folder):
    return list(read_documents(FileSpan(folder / "documents" / "raw.msgpack")))


def uid(folder):
    return str(raw(folder)[0][1]["uid"])


def test_from_the_kept_documents(kept):
    verified(kept, kept / "documents")


@pytest.mark.parametrize("kind", ["jsonl", "msgpack"])
def test_from_suitcase_files(kept, kind):
    text = documented("suitcase.jsonl").replace("suitcase.jsonl", f"suitcase.{kind}")
    run_python(kept, text.replace('"suitcase"', f'"{kind}"'))
    if kind == "msgpack" and any(name == "stream_resource" for name, _ in raw(kept)):
        ended = replayed(kept, kind)
        assert ended.returncode == 1 and "has no stream_resource" in ended.stdout
    else:
        verified(kept, kind)


def test_from_a_tiled_server(kept, tiled_server):
    run_python(kept, documented("TiledWriter").replace("http://127.0.0.1:8000", tiled_server))
    verified(kept, tiled_server)


def test_from_a_recording(kept, kafka, tmp_path):
    command = [
        sys.executable, "-m", "streamproc", "record", "--out", str(tmp_path / "r"), "--frames", "--config",
        str(kept / "beamline.toml"), "--until-idle", "0",
    ]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode in (0, 1), ended.stderr  # other demos' frames lie outside these roots
    verified(kept, tmp_path / "r")


def test_from_databroker_temp(kept):
    (kept.parent / "catalog.py").write_text(documented("databroker.v2.temp()"))
    if any(name == "stream_resource" for name, _ in raw(kept)):
        ended = replayed(kept, "python:catalog.py")
        assert ended.returncode == 1 and "keep no stream_resource" in ended.stdout
        assert "Traceback" not in ended.stderr
    else:
        verified(kept, "python:catalog.py")
