"""The command a card names can be given on another machine; no shipped card names a folder of ours."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import streamproc.models
from streamproc.models.networks.command_line import published_command

from streamproc.inference.card import CARD_KEY, ModelCard
from streamproc.inference.onnxfile import inspect_onnx

CARDS = sorted(Path(streamproc.models.__path__[0]).glob("*/*/**/model.onnx"))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["--out", "/tmp/x/iron/1"], "--out models/iron/1"),
        (["--out=/tmp/x/iron/1", "--resume"], "--out=models/iron/1"),
        (["--resume", "--out", "models/iron/1", "--steps", "3"], "--out models/iron/1 --steps 3"),
        (["--cif", "/home/me/fe 1.cif", "../cu.cif"], "--cif 'fe 1.cif' ../cu.cif"),
        (["--ka2", "--set=size_nm=8,300"], "--ka2 --set=size_nm=8,300"),
        (["--cif="], "--cif="),
    ],
)
def test_absolute_paths_are_shortened_and_all_else_stays(given, kept) -> None:
    assert published_command("defect-flags", given) == f"streamproc train defect-flags {kept}"


@pytest.mark.parametrize("file", CARDS, ids=lambda file: "/".join(file.parts[-4:-1]))
def test_no_shipped_card_names_an_absolute_path(file) -> None:
    card = ModelCard.from_json(inspect_onnx(file.read_bytes()).metadata[CARD_KEY], file=str(file))
    command = str(card.training.get("command") or "")
    assert not [w for w in shlex.split(command) if Path(w.rpartition("=")[2]).is_absolute()]
