"""`streamproc compare` with real models on an archived run, and on what a shadow published."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from streamproc.cli import main
from streamproc.inference.model import OnnxModel
from streamproc.inference.registry import find_model
from streamproc.settings import InferenceSettings
from streamproc.transports.codec import encode
from tests.integration.test_shadow import patterns
from tests.second_model import SHIPPED, put_second_model


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run of 12 patterns in a file, settings, and models that say a little and a lot else."""
    folder = tmp_path_factory.mktemp("compare")
    pairs = patterns("run-to-compare", 12, bad=(5,))
    (folder / "raw.msgpack").write_bytes(b"".join(encode(*pair) for pair in pairs))
    (folder / "c.toml").write_text('[analysis.phase-map]\naxis_key = "two_theta"\n')
    put_second_model(folder / "near", "50", 1.001)
    put_second_model(folder / "far", "51", 1.3)
    return folder


def compare(capsys, place, *more):
    arguments = ["compare", "--run", "run-to-compare", "--source", str(place / "raw.msgpack")]
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--config", str(place / "c.toml"), *more])
    said = capsys.readouterr()
    return end.value.code, said.out, said.err


def model(place, name, version):
    return str(place / name / "phase_qpa" / version / "model.onnx")


def test_a_model_that_says_nearly_the_same_agrees(capsys, place):
    near = model(place, "near", "50")
    code, out, _ = compare(capsys, place, "--model", SHIPPED, "--model", near, "--json")
    found = json.loads(out)
    assert code == 0 and found["differing_points"] == 0
    assert found["common"] == 11 and found["in_domain"]["both"] >= 6
    assert {q["name"] for q in found["quantities"]} >= {
        "corundum",
        "zincite",
        "fluorite",
        "brucite",
        "amorphous",
    }
    assert all(t["frames"] == 11 and t["median_ms"] > 0 for t in found["timings"])


def test_the_numbers_are_those_of_the_models_themselves(capsys, place):
    """The first answers are compared with what onnxruntime says of the very patterns."""
    near = model(place, "near", "50")
    code, out, _ = compare(capsys, place, "--model", SHIPPED, "--model", near, "--json")
    found = {q["name"]: q for q in json.loads(out)["quantities"]}
    settings = InferenceSettings()
    first, second = (OnnxModel(p, settings) for p in (find_model(SHIPPED, settings), Path(near)))
    with np.load(first.path.with_name("golden.npz")) as golden:
        x = golden["x"][:6]
    a, b = (m.run(np.ascontiguousarray(x, np.float32)) for m in (first, second))
    largest = float(np.max(np.abs(b["fractions"] - a["fractions"])))
    phases = [found[p] for p in first.card.labels if found[p]["points"]]
    assert 0 < max(abs(q["largest_difference"]) for q in phases) <= 2 * largest
    assert code == 0


def test_a_model_that_says_something_else_is_found_out_with_a_report(capsys, place, tmp_path):
    far = model(place, "far", "51")
    out_dir = tmp_path / "report"
    options = ("--model", SHIPPED, "--model", far, "--threshold", "0.5", "--out", str(out_dir))
    code, out, _ = compare(capsys, place, *options)
    assert code == 1 and "points differ by more than 0.5 sigma" in out and "frames/s" in out
    assert sorted(p.name for p in out_dir.iterdir()) == [
        "comparison.html", "comparison.json", "comparison.png", "differing.csv",
    ]  # fmt: skip
    code, _, _ = compare(capsys, place, *options[:6], "--share", "1")
    assert code == 0


def test_results_that_are_published_are_compared_without_any_frame(capsys, place, tmp_path):
    far = model(place, "far", "51")
    files = []
    for name in (SHIPPED, far):
        target = tmp_path / f"{len(files)}.jsonl"
        with pytest.raises(SystemExit):
            main(
                ["replay", str(place / "raw.msgpack"), "--run", "run-to-compare", "--model", name, "--to", str(target),
                 "--config", str(place / "c.toml")]
            )  # fmt: skip
        files.append(target)
    both = tmp_path / "both.jsonl"
    both.write_text("".join(f.read_text() for f in files))
    capsys.readouterr()
    options = ("--model", SHIPPED, "--model", "phase_qpa:51", "--json", "--threshold", "0.5")
    with pytest.raises(SystemExit) as end:
        main(["compare", "--run", "run-to-compare", "--published", "--source", str(both), *options])
    published = json.loads(capsys.readouterr().out)
    code, out, _ = compare(capsys, place, "--model", SHIPPED, "--model", far, *options[4:])
    replayed = json.loads(out)
    assert end.value.code == code
    for key in ("quantities", "in_domain", "differing", "common"):
        assert published[key] == replayed[key]


@pytest.mark.parametrize(
    ("models", "says"),
    [
        ((SHIPPED,), "--model twice"),
        ((SHIPPED, SHIPPED), "nothing to compare"),
        ((SHIPPED, "phase_qpa"), "are the same model"),
        ((SHIPPED, "phase_qpa:88"), "no model 'phase_qpa:88'"),
    ],
)
def test_what_cannot_be_compared_is_said(capsys, place, models, says):
    given = [part for m in models for part in ("--model", m)]
    code, _, err = compare(capsys, place, *given)
    assert code == 2 and says in err


def test_a_run_that_is_not_there_is_said(capsys, place):
    with pytest.raises(SystemExit) as end:
        main(
            ["compare", "--run", "ffffffff", "--source", str(place / "raw.msgpack"), "--config", str(place / "c.toml"),
             "--model", SHIPPED, "--model", model(place, "near", "50")]
        )  # fmt: skip
    assert end.value.code == 2 and "ffffffff" in capsys.readouterr().err
