from __future__ import annotations

import os
from pathlib import Path

import pytest

from streamproc.errors import FrameFailed
from streamproc.frames.paths import PathPolicy


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a b.h5").write_bytes(b"x")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_bytes(b"x")
    return tmp_path / "data"


@pytest.mark.parametrize(
    "form",
    ["{}", "file://{}", "file://localhost{}", "FILE://LocalHost{}", "file://localhost/{}", "/{}"],
)
def test_plain_paths_and_local_uris_name_the_same_file(root: Path, form: str) -> None:
    path = str(root / "a b.h5")
    quoted = path.replace(" ", "%20") if "://" in form else path
    assert PathPolicy((root,)).resolve(form.format(quoted)) == root / "a b.h5"


def test_a_uri_that_is_not_percent_encoded_is_understood_too(root: Path) -> None:
    (root / "scan#1?.h5").write_bytes(b"x")
    assert PathPolicy((root,)).resolve(f"file://localhost{root}/scan#1?.h5") == root / "scan#1?.h5"


def test_a_file_that_does_not_exist_yet_is_allowed_inside_a_root(root: Path) -> None:
    assert PathPolicy((root,)).resolve(root / "new" / "later.h5") == root / "new" / "later.h5"


@pytest.mark.parametrize(
    "where", ["secret/key", "data/../secret/key", "data/sub/../../secret/key", "data2/x"]
)
def test_a_path_outside_the_roots_is_refused_naming_path_roots_and_setting(root: Path, where: str) -> None:
    with pytest.raises(FrameFailed) as refused:
        PathPolicy((root,)).resolve(f"{root.parent}/{where}")
    for part in (where, str(root), "frames.roots"):
        assert part in str(refused.value)


def test_a_percent_encoded_climb_is_refused(root: Path) -> None:
    with pytest.raises(FrameFailed, match=r"frames\.roots"):
        PathPolicy((root,)).resolve(f"file://localhost{root}/%2e%2e/secret/key")


def test_a_root_is_no_prefix_of_its_siblings(root: Path) -> None:
    (root.parent / "database").mkdir()
    with pytest.raises(FrameFailed):
        PathPolicy((root,)).resolve(root.parent / "database" / "x")


@pytest.mark.parametrize("target", ["../secret/key", "../secret"])
def test_a_symbolic_link_that_leaves_the_root_is_refused(root: Path, target: str) -> None:
    (root / "link").symlink_to(target)
    name = "link" if target.endswith("key") else "link/key"
    with pytest.raises(FrameFailed, match="really"):
        PathPolicy((root,)).resolve(root / name)


def test_a_symbolic_link_that_stays_inside_is_followed(root: Path) -> None:
    (root / "link").symlink_to("a b.h5")
    assert PathPolicy((root,)).resolve(root / "link") == root / "a b.h5"


def test_a_root_may_itself_be_a_symbolic_link(root: Path) -> None:
    (root.parent / "mount").symlink_to(root)
    policy = PathPolicy((root.parent / "mount",))
    assert policy.resolve(root.parent / "mount" / "a b.h5") == root / "a b.h5"


def test_links_in_a_circle_are_refused(root: Path) -> None:
    (root / "one").symlink_to("two")
    (root / "two").symlink_to("one")
    with pytest.raises(FrameFailed):
        PathPolicy((root,)).resolve(root / "one")


def test_a_fifo_is_refused_without_opening_it(root: Path) -> None:
    os.mkfifo(root / "pipe")
    with pytest.raises(FrameFailed, match="FIFO"):
        PathPolicy((root,)).resolve(root / "pipe")


def test_a_device_is_refused_even_inside_a_root() -> None:
    with pytest.raises(FrameFailed, match="not a regular file"):
        PathPolicy((Path("/dev"),)).resolve("/dev/zero")


def test_without_roots_every_file_is_refused_with_a_hint(root: Path) -> None:
    with pytest.raises(FrameFailed, match=r"name the detector's data folder in frames\.roots"):
        PathPolicy(()).resolve(root / "a b.h5")


@pytest.mark.parametrize(
    "bad", ["", "a\0b", "file:///data/a%00b", "relative/x.h5", "x" * 5000, "/" + "x" * 300, "/" + "y/" * 3000]
)
def test_what_is_no_usable_path_is_refused(root: Path, bad: str) -> None:
    with pytest.raises(FrameFailed):
        PathPolicy((root,)).resolve(bad)


@pytest.mark.parametrize("uri", ["http://x/a", "s3://bucket/a", "ftp://x/y", "tiled://x"])
def test_other_schemes_are_refused(root: Path, uri: str) -> None:
    with pytest.raises(FrameFailed, match="file://"):
        PathPolicy((root,)).resolve(uri)


def test_another_host_is_refused_unless_mapped(root: Path) -> None:
    uri = "file://ioc7/share/a%20b.h5"
    with pytest.raises(FrameFailed, match="ioc7"):
        PathPolicy((root,)).resolve(uri)
    assert PathPolicy((root,), {"file://ioc7/share": str(root)}).resolve(uri) == root / "a b.h5"
    assert PathPolicy((root,), {"//ioc7/share": str(root)}).resolve(uri) == root / "a b.h5"


@pytest.mark.parametrize(
    ("prefix", "path"),
    [
        ("X:\\data", "X:\\data\\a b.h5"),
        ("X:\\data\\", "x:/Data/a b.h5"),
        ("X:/data", "file:///X:/data/a%20b.h5"),
        ("X:", "X:\\a b.h5"),
        ("\\\\server\\share", "\\\\server\\share\\a b.h5"),
        ("/nsls2/data", "/nsls2/data/a b.h5"),
        ("/nsls2/data/", "/nsls2/data//a b.h5"),
    ],
)
def test_prefixes_are_mapped(root: Path, prefix: str, path: str) -> None:
    assert PathPolicy((root,), {prefix: str(root)}).resolve(path) == root / "a b.h5"


def test_an_unmapped_windows_path_is_refused_with_a_hint(root: Path) -> None:
    with pytest.raises(FrameFailed, match=r"frames\.prefix_map"):
        PathPolicy((root,)).resolve("Z:\\data\\a.h5")


def test_a_prefix_ends_at_a_component_and_the_longest_wins(root: Path) -> None:
    policy = PathPolicy((root,), {"/ioc": "/elsewhere", "/ioc/data": str(root)})
    assert policy.resolve("/ioc/data/a b.h5") == root / "a b.h5"
    with pytest.raises(FrameFailed, match="/iocdata"):
        policy.resolve("/iocdata/a")


def test_a_mapped_path_must_still_lie_inside_a_root(root: Path) -> None:
    with pytest.raises(FrameFailed, match=r"frames\.roots"):
        PathPolicy((root,), {"/ioc": str(root)}).resolve("/ioc/../../secret/key")
