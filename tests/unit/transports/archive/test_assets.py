from __future__ import annotations

from types import SimpleNamespace
from uuid import UUID

import pytest

from streamproc.errors import ArchiveDamaged
from streamproc.transports.archive.assets import external_of, mended, template_of
from streamproc.transports.archive.ports import RunRef

RUN = RunRef("run", {"uid": "run", "time": 0.0}, None, "here")


def node(uris, shape, parameters=None, mimetype="multipart/related;type=image/tiff"):
    assets = [SimpleNamespace(data_uri=u, num=i, parameter="data_uris") for i, u in enumerate(uris)]
    source = SimpleNamespace(
        assets=assets[::-1], parameters=parameters or {}, structure={"shape": shape}, mimetype=mimetype
    )
    return SimpleNamespace(data_sources=lambda: [source])


def descriptor(shape):
    return {"uid": "d", "data_keys": {"det": {"shape": shape, "external": "STREAM:"}}}


def uuid_names(count, first=0):
    uid = UUID(int=0x12345678123456781234567812345678)
    return [f"file://localhost/data/{uid}_{first + i:04d}.tiff" for i in range(count)]


def test_files_with_digits_in_their_names_are_all_kept_in_order():
    uris = uuid_names(3)
    external = external_of(RUN, descriptor([1, 5, 6]), "det", node(uris, [3, 1, 5, 6]))
    told = [external.datum(i, i + 1, "d") for i in range(3)]
    assert [docs[0][1]["uri"] for docs in told] == uris
    assert [docs[1][1]["seq_nums"]["start"] for docs in told] == [1, 2, 3]
    assert all(docs[1][1]["indices"] == {"start": 0, "stop": 1} for docs in told)


def test_several_files_for_each_reading_become_a_template():
    external = external_of(RUN, descriptor([2, 5, 6]), "det", node(uuid_names(6, 2), [3, 2, 5, 6]))
    resource = next(external.resources())
    assert resource["parameters"]["files_per_datum"] == 2
    assert resource["parameters"]["template"].endswith("_%04d.tiff")
    [(_, datum)] = external.datum(0, 1, "d")
    assert datum["indices"] == {"start": 1, "stop": 2} and datum["seq_nums"]["start"] == 1


def test_files_that_do_not_come_out_even_are_a_sentence():
    with pytest.raises(ArchiveDamaged, match="5 files for 3 readings"):
        external_of(RUN, descriptor([1, 5, 6]), "det", node(uuid_names(5), [3, 1, 5, 6]))


def test_what_no_event_took_comes_at_the_end():
    external = external_of(
        RUN,
        descriptor([5, 6]),
        "det",
        node(["file://localhost/a.h5"], [4, 5, 6], mimetype="application/x-hdf5"),
    )
    [(name, datum)] = external.rest(1, 2, "d")
    assert name == "stream_datum" and datum["indices"] == {"start": 1, "stop": 4}
    assert datum["seq_nums"] == {"start": 2, "stop": 5}


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["a_1.tif", "a_2.tif"], ("/d/", "a_%01d.tif", 1)),
        (["a_08.tif", "a_09.tif", "a_10.tif"], ("/d/", "a_%02d.tif", 8)),
        (["a_8.tif", "a_9.tif", "a_10.tif"], ("/d/", "a_%01d.tif", 8)),
        (["a_1.tif", "a_3.tif"], None),
        (["a_1.tif", "b_2.tif"], None),
        (["a1_1.tif", "a2_2.tif"], None),
        (["a%_1.tif", "a%_2.tif"], None),
    ],
)
def test_templates_are_made_only_where_they_give_the_very_names(names, found):
    assert template_of([f"/d/{n}" for n in names]) == found


def test_the_slash_that_was_lost_is_put_back_where_that_file_is(tmp_path):
    (tmp_path / "scan_7").mkdir()
    (tmp_path / "scan_7" / "img_0001.tif").touch()
    lost = f"file://localhost{tmp_path}/scan_7img_0001.tif"
    assert mended(lost, RUN) == f"file://localhost{tmp_path}/scan_7/img_0001.tif"
    other = f"file://localhost{tmp_path}/scan_8img_0001.tif"
    assert mended(other, RUN) == other
