"""Models of several trainings that differ in nothing but the seed: given, or trained first."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from threadpoolctl import threadpool_limits

from streamproc.inference.model import OnnxModel
from streamproc.inference.registry import find_model
from streamproc.settings import InferenceSettings

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def parser(about: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options every command here has."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--data", type=Path, default=DATA, help="folder of measured data")
    made.add_argument("--models", nargs="+", help="version folders, or NAME:VERSION")
    made.add_argument(
        "--train", type=Path, metavar="DIR", help="train seeds into DIR/SEED first, if not there"
    )
    made.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    return made


def models_of(
    arguments: argparse.Namespace, options: list[str], default: str | None = None
) -> list[OnnxModel]:
    """Return the models to measure; ``options`` are those of ``streamproc train phase-map``."""
    threadpool_limits(1, "blas")
    names = list(arguments.models or ([default] if default and not arguments.train else []))
    if arguments.train:
        names += [str(_trained(arguments.train / str(seed), seed, options)) for seed in arguments.seeds]
    if not names:
        raise SystemExit("give --models FOLDER ..., or --train DIR to train one model per seed first")
    settings = InferenceSettings()
    return [OnnxModel(_file(name, settings), settings) for name in names]


def _file(name: str, settings: InferenceSettings) -> Path:
    folder = Path(name)
    return folder / "model.onnx" if folder.is_dir() else find_model(name, settings)


def _trained(out: Path, seed: int, options: list[str]) -> Path:
    if not (out / "model.onnx").is_file():
        command = [sys.executable, "-m", "streamproc.models.phase_map.command", *options]
        subprocess.run([*command, "--seed", str(seed), "--out", str(out), "--resume"], check=True)
    return out


def needs(folder: Path) -> Path:
    """Return the folder, or end with a sentence."""
    if not folder.is_dir():
        raise SystemExit(f"not measured: there is no {folder}; give the folder of measured data with --data")
    return folder


def spread(name: str, values: list[float], wanted: str) -> None:
    """Print a figure over all models."""
    each = " ".join(f"{v:.4g}" for v in values)
    print(f"{name:<52} {each}   min {min(values):.4g} max {max(values):.4g}   wanted {wanted}")
