from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from streamproc.cli import _group, main

WAVELENGTH_A = 1.5405929


def run(*arguments):
    return CliRunner().invoke(_group, ["hint", *map(str, arguments)], catch_exceptions=False)


def angle(d):
    return np.rad2deg(2 * np.arcsin(WAVELENGTH_A / 2 / d))


@pytest.fixture(scope="module")
def pattern(tmp_path_factory):
    """Fluorite's lattice, a = 5.463: F-centred, spacings from a / sqrt(h^2 + k^2 + l^2)."""
    x = np.arange(20, 100, 0.02)
    y = np.full(x.size, 100.0)
    for n in (3, 4, 8, 11, 12, 16, 19, 20, 24):
        y += 2000 * np.exp(-4 * np.log(2) * ((x - angle(5.463 / np.sqrt(n))) / 0.12) ** 2)
    path = tmp_path_factory.mktemp("hint") / "unknown.xy"
    np.savetxt(path, np.column_stack([x, np.random.default_rng(0).poisson(y)]))
    return path


def test_the_crystal_of_a_pattern_is_told(pattern):
    result = run(pattern, "--wavelength", "1.5406")
    assert result.exit_code == 0
    assert "cubic F  a = 5.46" in result.output
    assert "9 peaks" in result.output


def test_json_has_peaks_probabilities_and_cells(pattern):
    answer = json.loads(run(pattern, "--wavelength", WAVELENGTH_A, "--json").output)
    assert [p["position_deg"] for p in answer["peaks"]] == pytest.approx(
        [angle(5.463 / np.sqrt(n)) for n in (3, 4, 8, 11, 12, 16, 19, 20, 24)], abs=0.01
    )
    assert sum(answer["hint"]["systems"].values()) == pytest.approx(1)
    best = answer["hint"]["cells"][0]
    assert best["cell"][0] == pytest.approx(5.463, abs=0.002)
    assert best["M"] > 20


def test_a_q_axis_needs_no_wavelength(pattern, tmp_path):
    x, y = np.loadtxt(pattern).T
    path = tmp_path / "q.xy"
    np.savetxt(path, np.column_stack([4 * np.pi * np.sin(np.deg2rad(x / 2)) / WAVELENGTH_A, y]))
    answer = json.loads(run(path, "--axis", "q", "--json").output)
    assert answer["hint"]["cells"][0]["cell"][0] == pytest.approx(5.463, abs=0.002)


def test_a_pattern_without_peaks_is_told_so_and_is_no_failure(tmp_path):
    path = tmp_path / "noise.xy"
    x = np.arange(20, 100, 0.05)
    np.savetxt(path, np.column_stack([x, np.random.default_rng(1).poisson(100, x.size)]))
    result = run(path, "--wavelength", "1.5406")
    assert result.exit_code == 0
    assert "cannot say" in result.output


def test_a_missing_file_fails_and_the_others_are_answered(pattern, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["hint", str(tmp_path / "none.xy"), str(pattern), "--wavelength", "1.5406"])
    output = capsys.readouterr().out
    assert ended.value.code == 1
    assert "no such file" in output
    assert "cubic F" in output


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ([], "--wavelength"),
        (["--wavelength", "1.2", "--ka2"], "K-alpha1"),
        (["--axis", "q", "--wavelength", "9"], "q up"),
    ],
)
def test_wrong_use_is_exit_code_2_and_one_sentence(pattern, capsys, more, says):
    with pytest.raises(SystemExit) as ended:
        main(["hint", str(pattern), *more])
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert says in error
    assert error.count("\n") == 1
