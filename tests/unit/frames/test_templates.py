"""File names of one reading: bounded in number whatever a document says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamproc.errors import FrameFailed
from streamproc.frames.paths import PathPolicy
from streamproc.frames.readers.asks import Ask
from streamproc.frames.readers.hdf5 import Hdf5Reader
from streamproc.frames.readers.images import ImageReader
from streamproc.frames.readers.templates import file_names


def ask(root: Path, **changes: object) -> Ask:
    fields = {"run_uid": "r", "form": "hdf5", "base": str(root), "parameters": {"template": "%s%s_%d.h5", "filename": "a"},
              "index": 0, "frames": 2**31, "datum_style": True}  # fmt: skip
    return Ask(**{**fields, **changes})  # type: ignore[arg-type]


def test_a_reading_of_two_thousand_million_files_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(FrameFailed, match="2147483648 files"):
        file_names(ask(tmp_path), 2**31)


def test_no_reader_makes_a_list_of_as_many_names_as_a_document_says(tmp_path: Path) -> None:
    policy = PathPolicy((tmp_path,))
    stated = {"template": "%s%s_%d.h5", "filename": "a", "dataset": "/d", "files_per_datum": 2**40}
    with pytest.raises(FrameFailed, match="files"):
        Hdf5Reader(policy, max_frame_bytes=1000, max_open_files=1).read(ask(tmp_path, parameters=stated))
    with pytest.raises(FrameFailed, match="files"):
        ImageReader(policy, lambda *_: np.zeros(1), max_frame_bytes=1000).read(
            ask(tmp_path, parameters=stated)
        )
