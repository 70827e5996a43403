from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_package_is_in_the_wheel():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = set()
    for top, name in (
        ("streamproc", "streamproc"),
        ("consumers", "streamproc.consumers"),
        ("models", "streamproc.models"),
    ):
        for init in (ROOT / top).rglob("__init__.py"):
            inner = init.parent.relative_to(ROOT / top).parts
            found.add(".".join([name, *inner]))
    assert found == listed


def test_the_constraints_name_no_index_and_cover_every_dependency():
    lines = [x for x in (ROOT / "constraints.txt").read_text().splitlines() if not x.startswith("#")]
    assert all("==" in line and "://" not in line and not line.startswith("-") for line in lines)
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(d for extra in project["optional-dependencies"].values() for d in extra),
    ]
    names = {d.split(">")[0].split("[")[0].strip().lower().replace("_", "-") for d in wanted}
    assert names - pinned <= {"streamproc"}
