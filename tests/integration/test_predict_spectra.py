"""`streamproc predict excitation-fit` on text files: the live fit without a broker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from streamproc.models.excitations.oscillators.example import example_run

from streamproc.cli import _group


def asked(*arguments: str) -> Any:
    return CliRunner().invoke(
        _group, ["predict", "excitation-fit", *arguments], prog_name="streamproc", standalone_mode=False
    )


@pytest.fixture(scope="module")
def spectra(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, float]]:
    """Simulated spectra of an acoustic phonon as two-column files, and its energy in each."""
    folder, made = tmp_path_factory.mktemp("spectra"), []
    for f in example_run()[1]:
        file = folder / f"scan_{f.seq_num}.dat"
        rows = np.stack([np.asarray(f.readings["energy"]), f.array], 1)
        np.savetxt(file, rows, header="energy_meV counts")
        made.append((file, 24 * np.sin(np.pi * (0.2 + 0.12 * f.seq_num) / 2)))
    return made


def test_files_of_spectra_are_answered_with_energies_within_their_errors(
    spectra: list[tuple[Path, float]],
) -> None:
    done = asked(*(str(f) for f, _ in spectra), "--temperature", "300", "--resolution", "1.5", "--json")
    assert done.return_value == 0, done.output
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(spectra)
    for answer, (_, energy) in zip(answers, spectra, strict=True):
        found = answer["energy_1"]
        assert abs(found["value"] - energy) < 4 * found["sigma"] + 0.02, answer
        assert answer["in_domain"]


def test_a_column_of_errors_is_used_where_its_title_says_so(
    spectra: list[tuple[Path, float]], tmp_path: Path
) -> None:
    rows = np.loadtxt(spectra[2][0])
    # scaled counts with their errors: the counts, and with them the answer, are recovered
    scaled = np.column_stack([rows[:, 0], rows[:, 1] / 50, np.sqrt(np.maximum(rows[:, 1], 1)) / 50])
    file = tmp_path / "scaled.dat"
    np.savetxt(file, scaled, header="energy intensity sigma")
    given = ("--temperature", "300", "--resolution", "1.5", "--json")
    plain, errors = (json.loads(asked(str(f), *given).stdout) for f in (spectra[2][0], file))
    assert errors["energy_1"]["value"] == pytest.approx(plain["energy_1"]["value"], abs=0.01)
    assert errors["amplitude_1"]["value"] == pytest.approx(plain["amplitude_1"]["value"] / 50, rel=0.03)


def test_what_is_missing_is_said(spectra: list[tuple[Path, float]], tmp_path: Path) -> None:
    file = str(spectra[0][0])
    assert "temperature_K" in str(asked(file, "--resolution", "1.5").exception)
    assert "there is no default resolution" in str(asked(file, "--temperature", "300").exception)
    done = asked(str(tmp_path / "none.dat"), "--temperature", "300", "--resolution", "1.5")
    assert done.return_value == 1 and "no such file" in done.output
    text = asked(file, "--temperature", "300", "--resolution", "1.5").output
    assert "energy_1" in text and "in domain" in text and "nan" not in text
