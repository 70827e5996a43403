"""Every form holds the numbers bit by bit; each is read back by another program."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys

import h5py
import numpy as np
import pandas as pd
import pytest

import streamproc
from streamproc.cli import main
from streamproc.export import read_table
from streamproc.export.columnar import write_parquet
from streamproc.export.csvfile import write_csv
from streamproc.export.dataset import to_dataset, write_netcdf
from streamproc.export.nexus import write_nexus
from streamproc.transports.lines import to_line
from tests.unit.export.runs import answer, late_documents, result_documents

NUMBERS = ("seq_num", "time", "x", "share", "share_sigma", "share_lo90", "share_hi90", "rwp")


@pytest.fixture
def table():
    first = result_documents(seq_nums=(1, 3, 4), failed=(2, 5), answers={3: answer(3, in_domain=False)})
    return read_table([*first, *late_documents(first, [2])])


def text_of(table):
    out = io.StringIO()
    write_csv(table, out)
    return out.getvalue()


def test_csv_is_read_by_pandas_to_the_last_bit(table):
    frame = pd.read_csv(io.StringIO(text_of(table)), comment="#")
    for name in NUMBERS:
        np.testing.assert_array_equal(frame[name].to_numpy(), table[name].values)
    assert frame["in_domain"].tolist() == [1, 1, 0, 1]
    assert frame["reasons"].tolist()[2] == 'unlike "training", # 7'
    assert "pattern" not in frame


def test_csv_says_units_provenance_ledger_and_what_is_left_out(table):
    lines = text_of(table).splitlines()
    comments = [line for line in lines if line.startswith("#")]
    units = next(c for c in comments if c.startswith("# units: ")).removeprefix("# units: ")
    names = next(csv.reader(line for line in lines if not line.startswith("#")))
    found = dict(zip(names, next(csv.reader([units])), strict=True))
    assert (found["x"], found["time"], found["share"], found["share_sigma"]) == ("mm", "s", "1", "1")
    text = "\n".join(comments)
    assert "raw run raw-run-0001 (scan_id 412, sample ore, 3" in text
    assert f"model_sha256 {'a' * 64}" in text and f"settings_sha256 {'s' * 64}" in text
    assert "ledger: expected 5, done 3, failed 2, dropped 0, late 1" in text
    assert "failed 2: file cut off (seq_num 2, 5)" in text
    assert "left out: pattern" in text and "supplementary run" in text


def test_parquet_keeps_types_curves_units_and_provenance(table, tmp_path):
    import pyarrow.parquet as pq

    write_parquet(table, tmp_path / "r.parquet")
    got = pq.read_table(tmp_path / "r.parquet")
    for name in NUMBERS:
        np.testing.assert_array_equal(got[name].to_numpy(), table[name].values)
    np.testing.assert_array_equal(np.array(got["pattern"].to_pylist()), table["pattern"].values)
    assert got.schema.field("x").metadata[b"units"] == b"mm"
    assert got.schema.field("share_sigma").metadata[b"of"] == b"share"
    about = {k.decode(): v.decode() for k, v in got.schema.metadata.items()}
    assert about["streamproc.model_sha256"] == "a" * 64
    assert len(json.loads(about["streamproc.provenance"])) == 2


def check_dataset(ds, table):
    assert list(ds.sizes) == ["seq_num", "pattern_1"]
    assert set(ds.coords) == {"seq_num", "time", "x"}
    for name in (n for n in NUMBERS if n != "time"):
        np.testing.assert_array_equal(ds[name].values, table[name].values)
    np.testing.assert_array_equal(ds["time"].values.astype("int64") / 1e9, table["time"].values)
    linked = ds["share"].attrs["ancillary_variables"].split()
    assert {"share_sigma", "share_lo90", "share_hi90", "in_domain"} <= set(linked) <= set(ds)
    assert (ds["x"].attrs["units"], ds["share"].attrs["units"]) == ("mm", "1")
    assert ds["in_domain"].dtype == bool and ds["in_domain"].values.tolist() == [True, True, False, True]
    assert ds["reasons"].values[2] == 'unlike "training", # 7'
    assert (ds.attrs["ledger_failed"], ds.attrs["ledger_late"], ds.attrs["finished"]) == (2, 1, 1)
    assert json.loads(ds.attrs["ledger"])["failed_reasons"][0]["count"] == 2
    assert ds.attrs["raw_uid"] == "raw-run-0001" and ds.attrs["analysis"] == "phase-map"


def test_a_dataset_links_values_to_sigmas_units_and_provenance(table):
    check_dataset(to_dataset(table), table)


def test_netcdf_gives_the_same_dataset_back(table, tmp_path):
    import xarray

    write_netcdf(table, tmp_path / "r.nc")
    with xarray.open_dataset(tmp_path / "r.nc", engine="h5netcdf") as ds:
        check_dataset(ds, table)


def test_nexus_has_a_default_plot_errors_and_the_process(table, tmp_path):
    write_nexus(table, tmp_path / "r.nxs")
    with h5py.File(tmp_path / "r.nxs") as file:
        entry = file[file.attrs["default"]]
        data = entry[entry.attrs["default"]]
        assert (entry.attrs["NX_class"], data.attrs["NX_class"]) == ("NXentry", "NXdata")
        signal = data[data.attrs["signal"]]
        np.testing.assert_array_equal(signal[()], table["share"].values)
        np.testing.assert_array_equal(data["share_errors"][()], table["share_sigma"].values)
        assert list(data.attrs["axes"]) == ["x"] and data["x"].attrs["units"] == "mm"
        assert len(data["x"]) == len(signal)
        process = entry["process_1"]
        assert process.attrs["NX_class"] == "NXprocess"
        assert process["parameters/model_sha256"][()].decode() == "a" * 64
        assert "process_2" in entry
        assert entry["ledger/failed"][()] == 2
        np.testing.assert_array_equal(entry["points/pattern"][()], table["pattern"].values)


@pytest.mark.parametrize("documents", [result_documents(seq_nums=()), result_documents(stop=False)])
def test_empty_and_open_runs_can_be_written_in_every_form(documents, tmp_path):
    import xarray

    table = read_table(documents)
    assert len(text_of(table).splitlines()) > 3
    write_parquet(table, tmp_path / "r.parquet")
    write_nexus(table, tmp_path / "r.nxs")
    write_netcdf(table, tmp_path / "r.nc")
    with xarray.open_dataset(tmp_path / "r.nc", engine="h5netcdf") as ds:
        assert ds.sizes["seq_num"] == len(table)


def write_lines(path, documents):
    path.write_text("".join(to_line(n, d) + "\n" for n, d in documents), encoding="utf-8")
    return path


def test_open_results_of_a_file_equals_that_of_the_documents(tmp_path):
    made = result_documents()
    path = write_lines(tmp_path / "results.jsonl", made)
    got = streamproc.open_results(path, "raw-run-0001")
    assert got.identical(streamproc.open_results(made))


def test_the_command_writes_each_form_and_names_what_is_missing(tmp_path, capsys):
    path = write_lines(tmp_path / "results.jsonl", result_documents())
    for form, name in (("parquet", "a.parquet"), ("xarray", "a.nc"), ("nexus", "a.nxs"), ("csv", "a.csv")):
        with pytest.raises(SystemExit) as end:
            main(["results", "--source", str(path), "--to", form, "--out", str(tmp_path / name)])
        assert end.value.code == 0 and (tmp_path / name).stat().st_size > 0
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "a.csv",
        "a.nc",
        "a.nxs",
        "a.parquet",
        "results.jsonl",
    ]
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(["results", "--source", str(path), "--run", "ffffffff"])
    assert end.value.code == 2 and "no results" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        main(["results", "--source", str(tmp_path / "none.jsonl")])
    assert end.value.code == 2 and "no such file" in capsys.readouterr().err


def test_a_damaged_file_is_named_with_the_place(tmp_path, capsys):
    path = write_lines(tmp_path / "results.jsonl", result_documents())
    path.write_text(path.read_text()[:-30])
    with pytest.raises(SystemExit) as end:
        main(["results", "--source", str(path)])
    said = capsys.readouterr().err
    assert end.value.code == 2 and "line 8" in said and "cut off" in said


def test_import_streamproc_brings_none_of_the_table_packages():
    code = (
        "import sys, streamproc; heavy = {'xarray', 'pandas', 'pyarrow', 'h5py', 'kafka', 'tiled', 'numpy'};"
        "print(sorted(heavy & set(sys.modules)), 'open_results' in dir(streamproc))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[] True"
