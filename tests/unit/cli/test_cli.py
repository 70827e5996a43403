from __future__ import annotations

import json
import subprocess
import sys
import tomllib

import pytest
from click.testing import CliRunner

from streamproc.cli import _COMMANDS, _group, main


def run(*arguments):
    return CliRunner().invoke(_group, list(arguments), catch_exceptions=False)


def ends_with(code, *arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code == code
    return capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(_COMMANDS))
def test_every_command_explains_itself(name):
    result = run(name, "--help")
    assert result.exit_code == 0
    assert len(result.output) > 120


def test_importing_the_package_pulls_in_nothing_heavy():
    code = (
        "import sys, streamproc, streamproc.cli; heavy = {'kafka', 'torch', 'databroker', 'tiled', 'onnxruntime',"
        "'pyFAI', 'numba', 'h5py', 'bluesky', 'scipy'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_settings_shown_are_a_valid_settings_file(tmp_path):
    path = tmp_path / "shown.toml"
    path.write_text(run("config", "show").output)
    assert tomllib.loads(path.read_text())["kafka"]["bootstrap"] == "localhost:9092"
    assert run("config", "check", "--config", str(path)).exit_code == 0
    assert run("config", "show", "--config", str(path)).output == path.read_text()


def test_the_schema_explains_every_setting_of_every_analysis():
    text = run("config", "schema").output
    for name in ("kafka.bootstrap", "frames.roots", "analysis.phase-map.reduction.poni"):
        assert name in text
    assert "analysis.phase-map." in json.loads(run("config", "schema", "--json").output)


def test_secrets_are_not_shown(monkeypatch):
    monkeypatch.setenv("STREAMPROC_KAFKA__PASSWORD", "hunter2")
    assert "hunter2" not in run("config", "show").output


def test_an_unknown_key_is_exit_code_2_and_one_sentence(tmp_path, capsys):
    path = tmp_path / "b.toml"
    path.write_text("[analysis.phase-map]\npony = 1")
    error = ends_with(2, "config", "check", "--config", str(path), capsys=capsys)
    assert "pony" in error
    assert "Traceback" not in error
    assert error.count("\n") == 1


def test_what_is_missing_at_start_up_is_exit_code_2_and_one_sentence(tmp_path, capsys):
    path = tmp_path / "b.toml"
    path.write_text("beamline = 'x'")
    assert "geometry" in ends_with(2, "run", "phase-map", "--config", str(path), capsys=capsys)
    path.write_text("[analysis.phase-map]\nmodel = 'nope'\nreduction = {poni = 'none.poni'}")
    assert "nope" in ends_with(2, "run", "phase-map", "--config", str(path), capsys=capsys)
    path.write_text("[analysis.phase-map]\nreduction = {poni = 'none.poni'}")
    assert "none.poni" in ends_with(2, "run", "phase-map", "--config", str(path), capsys=capsys)
    assert "no analysis" in ends_with(2, "run", "phase-mop", capsys=capsys)


def test_a_service_without_a_broker_is_to_be_started_again_other_commands_are_not(tmp_path, capsys):
    path = tmp_path / "b.toml"
    path.write_text(
        "[kafka]\nbootstrap = '127.0.0.1:9'\nconnect_timeout_s = 1\n[analysis.phase-map]\naxis_key = 'tth'"
    )
    for code, command in ((3, ["run", "phase-map"]), (2, ["topics", "check"])):
        assert "127.0.0.1:9" in ends_with(code, *command, "--config", str(path), capsys=capsys)
