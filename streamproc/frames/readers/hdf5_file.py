"""One HDF5 file held open: SWMR while it is written, plain once it is closed; links followed by ourselves.

HDF5 would follow external links and open the sources of virtual datasets by itself, wherever they point. So
paths inside the file are walked link by link here, and a link that leaves the file is handed back to the
reader, which asks the path policy first.
"""

from __future__ import annotations

import fcntl
import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from streamproc.errors import FrameFailed, NotYet

__all__ = ["Hdf5File", "Redirect"]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_LARGEST_USER_BLOCK = 1 << 20
_MOST_LINKS = 64
_WRITING, _SWMR = 0x01, 0x04


@dataclass(frozen=True, slots=True)
class Redirect:
    """The dataset lies in another file: an external link's file name as it is written, and the path there."""

    file: str
    dataset: str


@dataclass(frozen=True, slots=True)
class _State:
    """What tells whether a file is another one, or another state of the same one."""

    device: int
    inode: int
    flags: int
    size: int
    modified_ns: int

    @property
    def live(self) -> bool:
        return bool(self.flags & _SWMR)

    def same_file(self, other: _State) -> bool:
        return (self.device, self.inode, self.flags) == (other.device, other.inode, other.flags)


class Hdf5File:
    """An open HDF5 file; use under its handle's lock only.

    A file whose superblock says that a SWMR writer has it open is opened for SWMR reading; one without any
    writer is opened plainly. Locks are never held (``locking=False``): a shared lock of ours would make a
    writer's next open fail.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: h5py.File | None = None
        self._found: dict[str, h5py.Dataset | Redirect] = {}
        self._state = self._open()

    @property
    def live(self) -> bool:
        """Whether a SWMR writer had the file open when it was last looked at."""
        return self._state.live

    def dataset(self, name: str) -> h5py.Dataset | Redirect:
        """Return the dataset at ``name``, or where an external link on the way points.

        Raises
        ------
        NotYet
            There is nothing of that name (it may still be created).
        FrameFailed
            The path does not end at a dataset, or links run in a circle.
        """
        found = self._found.get(name)
        if found is None:
            found = self._found[name] = self._walk(name)
        return found

    def renew(self) -> bool:
        """Look at the file again; return False where nothing can have changed since the last look."""
        state = _state_of(self.path)
        if self._file is None or not state.same_file(self._state):
            self._reopen()
        elif state.live:
            self._refresh()
        elif state != self._state:
            self._reopen()
        else:
            return False
        return True

    def reopen_if_replaced(self, new_run: bool) -> None:
        """Reopen where another file, or other content, may now have this name.

        A file that is being written grows all the time, so its size says nothing within one run; a closed one
        that changed, or any file that changed before another run came to it, may have been overwritten.
        """
        try:
            now = self.path.stat()
        except OSError:
            return
        was = self._state
        changed = (now.st_size, now.st_mtime_ns) != (was.size, was.modified_ns)
        if (now.st_dev, now.st_ino) != (was.device, was.inode) or (changed and (new_run or not was.live)):
            self._reopen()

    def close(self) -> None:
        """Close the file."""
        self._found.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _reopen(self) -> None:
        self.close()
        self._state = self._open()

    def _refresh(self) -> None:
        try:
            for found in self._found.values():
                if isinstance(found, h5py.Dataset):
                    found.refresh()
        except (OSError, RuntimeError, ValueError):
            self._reopen()

    def _open(self) -> _State:
        state = _state_of(self.path)
        if state.flags & _WRITING and not state.live:
            raise NotYet(
                f"{self.path} is open by a writer without SWMR: it can be read once the writer closes it or "
                "switches SWMR on (after a writer's crash: h5clear --status FILE)"
            )
        try:
            self._file = h5py.File(self.path, "r", swmr=state.live, libver="latest", locking=False)
        except PermissionError as error:
            raise FrameFailed(f"not allowed to read {self.path}: {error}") from error
        except OSError as error:
            raise NotYet(f"cannot open {self.path} (yet): {error}") from error
        return state

    def _walk(self, name: str) -> h5py.Dataset | Redirect:
        if self._file is None:
            raise NotYet(f"{self.path} could not be reopened yet")
        here: Any = self._file["/"]
        parts = deque(part for part in name.split("/") if part not in ("", "."))
        for _ in range(_MOST_LINKS):
            if not parts:
                return self._dataset_or_refusal(here, name)
            if not isinstance(here, h5py.Group):
                raise FrameFailed(f"{name!r} in {self.path} leads through something that is no group")
            link = _link(here, parts[0], name, self.path)
            if isinstance(link, h5py.ExternalLink):
                return Redirect(link.filename, "/".join([link.path, *list(parts)[1:]]))
            part = parts.popleft()
            if isinstance(link, h5py.SoftLink):
                parts.extendleft(p for p in reversed(link.path.split("/")) if p not in ("", "."))
                here = self._file["/"] if link.path.startswith("/") else here
            else:
                here = here[part]
        raise FrameFailed(f"{name!r} in {self.path} has more than {_MOST_LINKS} parts or links in a circle")

    def _dataset_or_refusal(self, found: Any, name: str) -> h5py.Dataset:
        if not isinstance(found, h5py.Dataset):
            raise FrameFailed(f"{name!r} in {self.path} is a {type(found).__name__.lower()}, not a dataset")
        return found


def _link(group: h5py.Group, part: str, name: str, path: Path) -> Any:
    try:
        link = group.get(part, getlink=True)
    except (TypeError, RuntimeError, OSError) as error:
        raise FrameFailed(f"{name!r} in {path} has a link that cannot be followed: {error}") from error
    if link is None:
        there = ", ".join(sorted(group)[:10]) or "nothing"
        raise NotYet(f"{path} has no {part!r} for the dataset {name!r} (yet); {group.name} holds {there}")
    return link


def _state_of(path: Path) -> _State:
    """Read who and what a file is, and from its superblock whether a writer has it open.

    HDF5 file format, superblock versions 2 and 3: signature (8 bytes), version, two sizes, then the file
    consistency flags: bit 0 open for writing, bit 2 open for SWMR writing. Versions 0 and 1 have no flags; a
    writer of such a file shows in its lock on it, which is asked for without keeping it.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            version, flags = _superblock(file.fileno(), path)
            if version < 2 and _locked_for_writing(file.fileno()):
                flags |= _WRITING
    except FileNotFoundError as error:
        raise NotYet(f"{path} is not there (yet)") from error
    except PermissionError as error:
        raise FrameFailed(f"not allowed to read {path}: {error}") from error
    except OSError as error:
        raise NotYet(f"cannot look at {path} (yet): {error}") from error
    return _State(status.st_dev, status.st_ino, flags, status.st_size, status.st_mtime_ns)


def _superblock(descriptor: int, path: Path) -> tuple[int, int]:
    offset = 0
    while offset <= _LARGEST_USER_BLOCK:
        block = os.pread(descriptor, 12, offset)
        if len(block) < 12:
            break
        if block.startswith(_SIGNATURE):
            version = block[8]
            return version, block[11] if version >= 2 else 0
        offset = 512 if offset == 0 else offset * 2
    raise NotYet(f"{path} is no HDF5 file (yet): it has no HDF5 signature")


def _locked_for_writing(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False
