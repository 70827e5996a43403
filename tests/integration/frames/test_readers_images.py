from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile

from streamproc.errors import FrameFailed, NotYet
from streamproc.frames.paths import PathPolicy
from streamproc.frames.readers import FrameReader
from streamproc.frames.readers.templates import expand

from .requests_of import datum, stream

TIFF = "multipart/related;type=image/tiff"
JPEG = "multipart/related;type=image/jpeg"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def reader(root: Path) -> FrameReader:
    return FrameReader(PathPolicy((root,)))


def frames(n: int, dtype: str = "u2", shape: tuple[int, int] = (30, 41)) -> np.ndarray:
    return np.random.default_rng(3).poisson(90, (n, *shape)).astype(dtype)


@pytest.mark.parametrize(
    ("template", "filename", "written"),
    [
        ("img_{:06d}.tiff", None, "img_000002.tiff"),
        ("img_{:d}.tif", None, "img_2.tif"),
        ("img_{}.tif", None, "img_2.tif"),
        ("img_{0:03d}.tif", None, "img_002.tif"),
        ("/img_{:05d}.tif", None, "img_00002.tif"),
        ("%s%s_%6.6d.tiff", "img", "img_000002.tiff"),
        ("%s_%3d.tiff", "img", "img_  2.tiff"),
        ("%s%s_%-4d.tiff", "img", "img_2   .tiff"),
        ("100%%_%02d.tif", None, "100%_02.tif"),
    ],
)
@pytest.mark.parametrize("slash", ["/", ""])
def test_both_template_styles_name_the_file_that_was_written(
    reader: FrameReader, root: Path, template: str, filename: str | None, written: str, slash: str
) -> None:
    data = frames(1)[0]
    tifffile.imwrite(root / written, data)
    more = {"template": template, **({"filename": filename} if filename else {})}
    got = reader.read(stream(f"file://localhost{root}{slash}", TIFF, 2, (1, 30, 41), **more))
    np.testing.assert_array_equal(got, data)
    assert not got.flags.writeable


def test_a_uri_may_be_a_name_prefix(reader: FrameReader, root: Path) -> None:
    data = frames(1)[0]
    tifffile.imwrite(root / "uid_7.tif", data)
    got = reader.read(stream(f"file://localhost{root}/uid", TIFF, 7, (1, 30, 41), template="_{:d}.tif"))
    np.testing.assert_array_equal(got, data)


@pytest.mark.parametrize(
    "template",
    [
        "{:9999999999d}.tif",
        "%9999999999d.tif",
        "{0.__class__}.tif",
        "{0!r}.tif",
        "{name}.tif",
        "%(name)s.tif",
        "%x.tif",
        "%*d.tif",
        "none.tif",
        "{:d}_{:d}.tif",
        "%s%s%s_%d.tif",
        "%d" * 600,
    ],
)
def test_a_template_with_other_fields_is_refused(reader: FrameReader, root: Path, template: str) -> None:
    with pytest.raises(FrameFailed, match="template"):
        reader.read(stream(f"{root}/", TIFF, 0, (1, 30, 41), template=template))


@pytest.mark.parametrize("style", ["%s%s_%6.6d.tiff", "%s%s_%d.tif", "%s/%s-%05d.tif"])
def test_old_templates_expand_as_python_does(style: str) -> None:
    assert expand(style, ("/data/", "img"), 42) == style % ("/data/", "img", 42)


@pytest.mark.parametrize("template", ["../secret/{:d}.tif", "/../secret/{:d}.tif", "link/{:d}.tif"])
def test_a_template_cannot_leave_the_roots(reader: FrameReader, root: Path, template: str) -> None:
    secret = root.parent / "secret"
    secret.mkdir()
    tifffile.imwrite(secret / "0.tif", frames(1)[0])
    (root / "link").symlink_to(secret)
    with pytest.raises(FrameFailed, match=r"frames\.roots"):
        reader.read(stream(f"{root}/", TIFF, 0, (1, 30, 41), template=template))


def test_a_fifo_in_place_of_an_image_is_refused_without_blocking(reader: FrameReader, root: Path) -> None:
    os.mkfifo(root / "0.tif")
    with pytest.raises(FrameFailed, match="FIFO"):
        reader.read(stream(f"{root}/", TIFF, 0, template="{:d}.tif"))


@pytest.mark.parametrize(
    "options", [{}, {"compression": "lzw"}, {"compression": "zlib", "tile": (16, 16)}], ids=str
)
@pytest.mark.parametrize("dtype", ["u1", "u2", ">u2", "i4", "f4"])
def test_tiff_kinds_give_what_was_written(
    reader: FrameReader, root: Path, options: dict[str, Any], dtype: str
) -> None:
    data = frames(1, dtype)[0]
    tifffile.imwrite(root / "0.tif", data, byteorder=">" if dtype.startswith(">") else "<", **options)
    got = reader.read(stream(f"{root}/", TIFF, 0, (1, 30, 41), template="{:d}.tif"))
    np.testing.assert_array_equal(got, data)
    assert got.dtype == np.dtype(dtype).newbyteorder("=")


@pytest.mark.parametrize(
    "more",
    [
        {"files_per_datum": 3},
        {"multiplier": 3},
        {"chunk_shape": [1, 30, 41]},
        {"chunk_shape": [1], "join_method": "concat"},
    ],
    ids=str,
)
def test_several_frames_per_event_in_a_file_each_are_stacked(
    reader: FrameReader, root: Path, more: dict[str, Any]
) -> None:
    data = frames(6)
    for i in range(6):
        tifffile.imwrite(root / f"{i}.tif", data[i])
    got = reader.read(stream(f"{root}/", TIFF, 1, (3, 30, 41), template="{:d}.tif", **more))
    np.testing.assert_array_equal(got, data[3:])


def test_several_frames_per_event_in_one_file_are_its_pages(reader: FrameReader, root: Path) -> None:
    data = frames(3)
    tifffile.imwrite(root / "1.tif", data, photometric="minisblack")
    for chunks in ({}, {"chunk_shape": [3, 30, 41]}):
        got = reader.read(stream(f"{root}/", TIFF, 1, (3, 30, 41), template="{:d}.tif", **chunks))
        np.testing.assert_array_equal(got, data)


def test_one_multi_page_file_gives_a_page_per_event(reader: FrameReader, root: Path) -> None:
    data = frames(4)
    tifffile.imwrite(root / "all.tif", data, photometric="minisblack")
    for i in range(4):
        got = reader.read(stream(root / "all.tif", "image/tiff", i, (1, 30, 41)))
        np.testing.assert_array_equal(got, data[i])
    with pytest.raises(NotYet, match="4 pages"):
        reader.read(stream(root / "all.tif", "image/tiff", 4, (1, 30, 41)))


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}], ids=str)
def test_a_tiff_that_is_still_being_written_is_not_yet_at_every_length(
    reader: FrameReader, root: Path, options: dict[str, Any]
) -> None:
    data = frames(1)[0]
    tifffile.imwrite(root / "whole.tif", data, **options)
    whole = (root / "whole.tif").read_bytes()
    used = max(a + n for a, n in _extents(root / "whole.tif"))
    asked = stream(f"{root}/", TIFF, 0, (1, 30, 41), template="{:d}.tif")
    with pytest.raises(NotYet, match="not there"):
        reader.read(asked)
    for keep in [0, 1, 4, 8, 9, 100, 200, used // 2, used - 1]:
        (root / "0.tif").write_bytes(whole[:keep])
        with pytest.raises(NotYet):
            reader.read(asked)
    (root / "0.tif").write_bytes(whole)
    np.testing.assert_array_equal(reader.read(asked), data)


def _extents(path: Path) -> list[tuple[int, int]]:
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        return list(zip(page.dataoffsets, page.databytecounts, strict=True))


def test_colour_images_fail(reader: FrameReader, root: Path) -> None:
    colour = np.zeros((30, 41, 3), "u1")
    tifffile.imwrite(root / "0.tif", colour, photometric="rgb")
    (root / "0.jpg").write_bytes(imagecodecs.jpeg8_encode(colour))
    for mimetype, name in ((TIFF, "{:d}.tif"), (JPEG, "{:d}.jpg")):
        with pytest.raises(FrameFailed, match=r"grey|colour"):
            reader.read(stream(f"{root}/", mimetype, 0, (1, 30, 41), template=name))


def test_an_image_over_the_limit_is_refused(root: Path) -> None:
    tifffile.imwrite(root / "0.tif", frames(1)[0])
    small = FrameReader(PathPolicy((root,)), max_frame_bytes=1000)
    with pytest.raises(FrameFailed, match=r"frames\.max_frame_bytes"):
        small.read(stream(f"{root}/", TIFF, 0, (1, 30, 41), template="{:d}.tif"))


def test_a_tiff_that_claims_a_huge_size_is_refused(reader: FrameReader, root: Path) -> None:
    tifffile.imwrite(root / "0.tif", frames(1)[0])
    with tifffile.TiffFile(root / "0.tif", mode="r+b") as file:
        file.pages[0].tags["ImageLength"].overwrite(2**31)
    with pytest.raises((FrameFailed, NotYet)):
        reader.read(stream(f"{root}/", TIFF, 0, (1, 30, 41), template="{:d}.tif"))


def test_files_of_one_event_that_differ_in_shape_fail(reader: FrameReader, root: Path) -> None:
    tifffile.imwrite(root / "0.tif", frames(1)[0])
    tifffile.imwrite(root / "1.tif", frames(1)[0][:20])
    with pytest.raises(FrameFailed, match="differ"):
        reader.read(stream(f"{root}/", TIFF, 0, (2, 30, 41), template="{:d}.tif", multiplier=2))


def test_grey_jpegs_are_read_and_cut_ones_are_not_yet(reader: FrameReader, root: Path) -> None:
    data = np.tile(np.arange(0, 160, 4, dtype="u1"), (30, 1))
    encoded = imagecodecs.jpeg8_encode(data, level=100)
    (root / "cam_000001.jpg").write_bytes(encoded)
    asked = stream(f"{root}/", JPEG, 1, (1, 30, 40), template="cam_{:06d}.jpg")
    got = reader.read(asked)
    assert np.abs(got.astype(int) - data).max() <= 2
    (root / "cam_000001.jpg").write_bytes(encoded[: len(encoded) // 2])
    with pytest.raises(NotYet, match="cut short"):
        reader.read(asked)


@pytest.mark.parametrize("per_point", [1, 2])
def test_area_detector_tiff_reads_as_its_handler(reader: FrameReader, root: Path, per_point: int) -> None:
    from area_detector_handlers.handlers import AreaDetectorTiffHandler

    data = frames(4)
    for i in range(4):
        tifffile.imwrite(root / f"img_{i:06d}.tiff", data[i])
    kwargs = {"template": "%s%s_%6.6d.tiff", "filename": "img", "frame_per_point": per_point}
    handler = AreaDetectorTiffHandler(str(root), **kwargs)
    for point in range(4 // per_point):
        for root_, path in ((root.parent, "data"), (root.parent, "data/"), ("/", str(root))):
            asked = datum("AD_TIFF", root_, path, kwargs, {"point_number": point})
            np.testing.assert_array_equal(reader.read(asked), handler(point).squeeze())


def test_a_folder_in_place_of_a_file_fails_with_a_hint(reader: FrameReader, root: Path) -> None:
    with pytest.raises(FrameFailed, match="template"):
        reader.read(stream(f"{root}/", TIFF, 0, (1, 30, 41)))
