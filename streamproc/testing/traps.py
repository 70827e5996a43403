"""Files that a service must not be led to: decoys outside its folder, and traps inside that lead there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from streamproc.testing.hostile import poison
from streamproc.testing.makers import write_hdf5

__all__ = ["Traps", "set_traps"]


@dataclass(frozen=True, slots=True)
class Traps:
    """What :func:`set_traps` made.

    Attributes
    ----------
    paths : tuple of str
        URIs and paths of the decoys and traps, in every spelling, for documents that name files.
    decoys : tuple of Path
        Files outside the root: sound ones, so that whoever opens one could read it.
    """

    paths: tuple[str, ...]
    decoys: tuple[Path, ...]


def set_traps(root: Path, outside: Path, canary: Path) -> Traps:
    """Fill ``outside`` with decoys and ``root`` with traps.

    Inside the root lie links to the decoys and to devices, a FIFO, a loop of links; HDF5 files with
    external links, external storage and virtual datasets of a decoy; pickles as NumPy and Zarr arrays;
    files cut short, empty, or claiming to be enormous.

    Parameters
    ----------
    root : Path
        A folder that the service may read; exists.
    outside : Path
        A folder that it may not; exists.
    canary : Path
        The file that the pickles create when something loads them.
    """
    decoys = _decoys(outside)
    for make in (_links, _hdf5, _numpy, _zarr):
        make(root, outside, canary)
    inside = [str(path) for path in sorted(root.rglob("*"))]
    spelled = [form(path) for path in map(str, decoys) for form in _spellings(root)]
    return Traps((*spelled, *inside, *(f"file://localhost{path}" for path in inside)), decoys)


def _spellings(root: Path) -> tuple[Callable[[str], str], ...]:
    up = "/.." * len(root.parts)
    return (
        str,
        lambda path: f"file://{path}",
        lambda path: f"FILE://LOCALHOST{path}",
        lambda path: f"file://127.0.0.1{path}",
        lambda path: f"{root}{up}{path}",
        lambda path: f"file://localhost{root}{up}{path}",
        lambda path: f"file://localhost{root}" + "/%2e%2e" * len(root.parts) + path,
        lambda path: f"file://localhost{root}" + "%2f%2e%2e" * len(root.parts) + path.replace("/", "%2f"),
        lambda path: f"{root}x/../..{path}",
        lambda path: f"/proc/self/root{path}",
        lambda path: f"/proc/self/cwd/{up}{path}",
        lambda path: f"{path}\x00{root}/sound.h5",
        lambda path: f"//{path}",
        lambda path: f"\\\\localhost{path}",
    )


def _decoys(outside: Path) -> tuple[Path, ...]:
    frames = np.ones((3, 200))
    h5, npy, text = outside / "decoy.h5", outside / "decoy_0.npy", outside / "decoy.txt"
    write_hdf5(h5, frames)
    np.save(npy, frames)
    text.write_text("not for you\n")
    (outside / "decoy.bin").write_bytes(frames.tobytes())
    return (h5, npy, text, outside / "decoy.bin")


def _links(root: Path, outside: Path, canary: Path) -> None:
    targets: dict[str, Path | str] = {
        "link.h5": outside / "decoy.h5", "link_0.npy": outside / "decoy_0.npy", "folder": outside,
        "zero.npy": "/dev/zero", "random.h5": "/dev/urandom", "environment": "/proc/self/environ",
        "memory.h5": "/proc/self/mem", "loop": root / "loop", "dangling.h5": outside / "nothing.h5",
    }  # fmt: skip
    for name, target in targets.items():
        (root / name).symlink_to(target)
    os.mkfifo(root / "fifo.h5")
    os.mkfifo(root / "fifo_0.npy")
    (root / "folder.h5").mkdir()


def _hdf5(root: Path, outside: Path, canary: Path) -> None:
    decoy = str(outside / "decoy.h5")
    write_hdf5(root / "sound.h5", np.ones((3, 200)))
    with h5py.File(root / "traps.h5", "w", libver="latest") as file:
        file["link"] = h5py.ExternalLink(decoy, "/entry/data/data")
        file["climbing"] = h5py.ExternalLink(os.path.relpath(decoy, root), "/entry/data/data")
        layout = h5py.VirtualLayout((3, 200), "f8")
        layout[:] = h5py.VirtualSource(decoy, "/entry/data/data", (3, 200))
        file.create_virtual_dataset("virtual", layout)
        external = [(str(outside / "decoy.bin"), 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("elsewhere", (3, 200), "f8", external=external)
        file["soft"] = h5py.SoftLink("/soft")
        file["texts"] = np.array([b"abc"] * 3)
        file.create_dataset("huge", (2**40, 200), "f8", chunks=(1, 200))
        file.create_dataset("objects", (3,), h5py.special_dtype(vlen=str))
    sound = (root / "sound.h5").read_bytes()
    (root / "short.h5").write_bytes(sound[: len(sound) // 2])
    (root / "empty.h5").touch()
    damaged = bytearray(sound)
    damaged[64 : len(sound) // 2 : 97] = b"\xff" * len(damaged[64 : len(sound) // 2 : 97])
    (root / "damaged.h5").write_bytes(damaged)


def _numpy(root: Path, outside: Path, canary: Path) -> None:
    np.save(root / "sound_0.npy", np.ones(200))
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (3,), }"
    (root / "objects_0.npy").write_bytes(_npy(header) + poison(canary))
    (root / "pickle_0.npy").write_bytes(poison(canary))
    (root / "huge_0.npy").write_bytes(
        _npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776, 200), }")
    )
    (root / "code_0.npy").write_bytes(_npy(b"__import__('os').mkdir('" + bytes(canary) + b"')"))
    (root / "nested_0.npy").write_bytes(_npy(b"(" * 9000))


def _npy(header: bytes) -> bytes:
    padded = header + b" " * (63 - (10 + len(header)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded


def _zarr(root: Path, outside: Path, canary: Path) -> None:
    array: dict[str, object] = {
        "zarr_format": 2, "shape": [3, 200], "chunks": [1, 200], "dtype": "<f8", "compressor": None,
        "fill_value": 0, "order": "C", "filters": None,
    }  # fmt: skip
    variants: dict[str, dict[str, object]] = {
        "pickle": {"dtype": "|O", "filters": [{"id": "pickle", "protocol": 5}]},
        "linked": {},
        "huge": {"shape": [2**40, 200], "chunks": [2**40, 200]},
        "bomb": {"compressor": {"id": "zlib", "level": 9}, "chunks": [3, 200]},
    }
    for name, changes in variants.items():
        folder = root / f"{name}.zarr"
        folder.mkdir()
        (folder / ".zarray").write_text(json.dumps(array | changes))
        (folder / "0.0").write_bytes(poison(canary))
    (root / "linked.zarr" / "0.0").unlink()
    (root / "linked.zarr" / "0.0").symlink_to(outside / "decoy.bin")
