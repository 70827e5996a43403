from __future__ import annotations

from dataclasses import fields, is_dataclass

import numpy as np
import pytest
from streamproc.models.report.evidence import Evidence, Presence, Quantities, Signals
from streamproc.models.report.parts import Curve, Facts, Table, WorstCase

from streamproc.errors import ConfigurationError


def same(a, b):
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if is_dataclass(a):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    return a == b or (a != a and b != b)


def test_evidence_comes_back_as_it_was_saved(make_evidence, tmp_path):
    evidence = make_evidence(4, 50)
    evidence.save(tmp_path / "evidence.npz")
    assert same(evidence, Evidence.load(tmp_path / "evidence.npz"))


def test_evidence_of_hardly_anything_comes_back(tmp_path):
    evidence = Evidence(Facts("m", "1"), notes=("a \u00e5ngstr\u00f6m \x00 and a \ud7ff",))
    evidence.save(tmp_path / "deep" / "e.npz")
    assert same(evidence, Evidence.load(tmp_path / "deep" / "e.npz"))


def test_the_same_evidence_gives_the_same_bytes(make_evidence, tmp_path):
    for name in ("a.npz", "b.npz"):
        make_evidence(4, 50).save(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_the_file_needs_no_pickle(make_evidence, tmp_path):
    make_evidence(4, 50).save(tmp_path / "e.npz")
    with np.load(tmp_path / "e.npz", allow_pickle=False) as file:
        assert all(file[name].dtype.kind in "biuf" for name in file.files)


def test_evidence_with_objects_in_its_arrays_is_refused_before_anything_is_written(tmp_path):
    evidence = Evidence(Facts("m", "1"), curve=Curve("error", "", np.arange(1), np.array([object()])))
    with pytest.raises(ConfigurationError, match="numbers only"):
        evidence.save(tmp_path / "e.npz")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"no zip file", b"PK\x03\x04 torn"])
def test_a_file_that_is_no_evidence_is_named(tmp_path, content):
    (tmp_path / "e.npz").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"e\.npz: not the evidence of a training"):
        Evidence.load(tmp_path / "e.npz")


def test_another_npz_file_and_a_torn_one_are_named(make_evidence, tmp_path):
    np.savez(tmp_path / "golden.npz", x=np.zeros(3))
    make_evidence(4, 50).save(tmp_path / "e.npz")
    (tmp_path / "torn.npz").write_bytes((tmp_path / "e.npz").read_bytes()[:-400])
    for name in ("golden.npz", "torn.npz"):
        with pytest.raises(ConfigurationError, match=f"{name}: not the evidence"):
            Evidence.load(tmp_path / name)


def test_shapes_that_do_not_agree_are_refused_with_both_of_them():
    two = np.zeros((5, 2))
    with pytest.raises(ConfigurationError, match=r"Quantities.sigma: expected shape \(5, 2\), got \(5, 3\)"):
        Quantities(("a", "b"), ("", ""), two, two, np.zeros((5, 3)), two, two, two > 0)
    with pytest.raises(ConfigurationError, match=r"Quantities.units: expected 2 of them, got 1"):
        Quantities(("a", "b"), ("",), two, two, two, two, two, two > 0)
    with pytest.raises(ConfigurationError, match=r"Presence.amount"):
        Presence(("a", "b"), two > 0, two, np.zeros((4, 2)))
    with pytest.raises(ConfigurationError, match=r"Signals.limits: expected shape \(2,\), got \(1,\)"):
        Signals(("a", "b"), two, two, np.zeros(5), np.zeros(1))
    with pytest.raises(ConfigurationError, match="'measured'"):
        Curve("error", "", np.arange(3), np.zeros(3), {"measured": np.zeros(2)})
    with pytest.raises(ConfigurationError, match="'zincite'"):
        WorstCase("w", *(np.zeros(3) if k != 1 else "x" for k in range(5)), {"zincite": np.zeros(4)})
    with pytest.raises(ConfigurationError, match="expected 2 cells, got 1"):
        Table("t", ("a", "b"), (("1",),))


def test_patterns_that_are_not_counted_enter_no_score(make_evidence):
    measured = make_evidence(4, 50).measured
    assert not measured.scored()[[0, 2]].any()
    assert measured.scored()[[1, 3, 4, 5, 6, 7]].all()
