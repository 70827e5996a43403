"""A catalog that a Python file makes, databroker.v2.temp() above all, as the source of the command."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from streamproc.transports.codec import encode

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to" / "replay.md"


def documented(words):
    """The Python of the how-to that has these words."""
    [found] = [text for text in re.findall(r"```python\n(.*?)```", HOW_TO.read_text(), re.S) if words in text]
    return found


def replay(*arguments):
    ended = subprocess.run(
        [sys.executable, "-m", "streamproc", "replay", *map(str, arguments)], capture_output=True, text=True,
        timeout=240, check=False,
    )  # fmt: skip
    assert "Traceback" not in ended.stderr
    return ended


@pytest.mark.parametrize("form", ["inline", "resource"])
def test_databroker_temp_gives_the_live_bytes_at_the_command_line(beam, tmp_path, form):
    raw, results, file = (tmp_path / n for n in ("raw.msgpack", "results.msgpack", "catalog.py"))
    raw.write_bytes(b"".join(encode(*p) for p in beam.run(form)))
    results.write_bytes(b"".join(beam.live(form)))
    file.write_text(documented("databroker.v2.temp()").replace("my-demo/documents", str(raw)))
    ended = replay(f"python:{file}", "--config", beam.config, "--to", "none", "--verify", results)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "byte-identical" in ended.stdout and "Tiled version" not in ended.stdout


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("import no_such_module", "", "ModuleNotFoundError: No module named 'no_such_module' (line 1)"),
        ("\n\nraise SystemExit(4)", "", "SystemExit: 4 (line 3)"),
        ("def (", "", "SyntaxError"),
        ("catalog = 1", "", "is a int, no catalog"),
        ("catalog = 1", ":other", "defines no 'other'"),
        ("def catalog():\n    return 1 / 0", "", "ZeroDivisionError: division by zero (line 2)"),
    ],
)
def test_a_file_that_makes_none_is_one_sentence(beam, tmp_path, text, name, words):
    file = tmp_path / "catalog.py"
    file.write_text(text)
    ended = replay(f"python:{file}{name}", "--config", beam.config)
    assert ended.returncode == 2 and words in ended.stderr, ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_a_file_or_module_that_is_not_there_is_one_sentence(beam, tmp_path):
    for place, words in ((tmp_path / "none.py", "no such file"), ("no_such_module", "ModuleNotFoundError")):
        ended = replay(f"python:{place}", "--config", beam.config)
        assert ended.returncode == 2 and words in ended.stderr
