"""PathPolicy: which files documents may make us open; everything outside the configured roots is refused."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from streamproc.errors import FrameFailed

__all__ = ["PathPolicy"]

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+)://")
_DRIVE = re.compile(r"^/?[A-Za-z]:[\\/]")
_LONGEST_PATH = 4096


@dataclass(frozen=True, slots=True)
class PathPolicy:
    """Turns what a document says about a place into a path that may be opened, or refuses it.

    Parameters
    ----------
    roots : tuple of Path
        Folders detector files may be read from (setting ``frames.roots``). None means: refuse every file.
    prefix_map : Mapping of str to str
        Path prefixes as documents have them, mapped to prefixes this machine sees (``frames.prefix_map``):
        ``{"X:\\\\data": "/data", "/nsls2/data": "/mnt/nsls2", "file://ioc7/share": "/share"}``. The longest
        prefix that ends at a path component is replaced, once. Windows prefixes ignore case.
    """

    roots: tuple[Path, ...]
    prefix_map: Mapping[str, str] = field(default_factory=dict)
    _real_roots: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Follow the roots' own symbolic links once; a file's are followed every time."""
        object.__setattr__(self, "_real_roots", tuple(os.path.realpath(root) for root in self.roots))

    def resolve(self, uri_or_path: str | Path) -> Path:
        """Return the real path of a file or folder inside the allowed roots, every symbolic link followed.

        The file need not exist yet. What exists must be a regular file or a folder: opening a FIFO would
        block the service for ever, and a device is no detector file.

        Raises
        ------
        FrameFailed
            Outside the roots, not a local path, not a regular file, or not a path at all.
        """
        return self.check(self.local(uri_or_path))

    def local(self, uri_or_path: str | Path) -> str:
        """Return the local path a URI or path stands for, prefix map applied, not yet checked.

        A trailing slash is kept: it says that a template is to be joined to a folder.
        """
        text = str(uri_or_path)
        if not text or "\0" in text or len(text) > _LONGEST_PATH:
            raise FrameFailed(f"not a usable path ({_shown(text)}): empty, too long or with a NUL byte")
        path = self._without_scheme(text)
        mapped = self._mapped(path)
        if mapped is not None:
            return mapped
        if _DRIVE.match(path) or path.startswith("\\\\"):
            raise FrameFailed(
                f"{_shown(text)} is a Windows path: say in frames.prefix_map where its prefix is found here"
            )
        if not path.startswith("/"):
            raise FrameFailed(f"{_shown(text)} is a relative path: a document must give an absolute one")
        return path

    def check(self, path: str | Path) -> Path:
        """Return the real path of a local path if it lies inside a root and is no special file."""
        text = str(path)
        if "\0" in text or len(text) > _LONGEST_PATH:
            raise FrameFailed(f"not a usable path ({_shown(text)}): too long or with a NUL byte")
        try:
            # POSIX keeps two leading slashes, which "file://localhost/" + "/data" makes
            real = os.path.realpath("/" + text.lstrip("/") if text.startswith("//") else text)
        except (OSError, ValueError) as error:
            raise FrameFailed(f"cannot follow the path {_shown(text)}: {error}") from error
        if not any(real == root or real.startswith(root.rstrip("/") + "/") for root in self._real_roots):
            raise FrameFailed(self._refusal(text, real))
        _refuse_special(real)
        return Path(real)

    def _without_scheme(self, text: str) -> str:
        scheme = _SCHEME.match(text)
        if scheme is None:
            return text
        if scheme[1].lower() != "file":
            raise FrameFailed(f"{_shown(text)} is not a file: only file:// URIs and plain paths can be read")
        host, slash, rest = text[scheme.end() :].partition("/")
        path = unquote(slash + rest)
        if "\0" in path:
            raise FrameFailed(f"not a usable path ({_shown(text)}): it holds a NUL byte")
        if host.lower() in ("", "localhost"):
            return path[1:] if _DRIVE.match(path) else path
        mapped = self._mapped(f"file://{host}{path}") or self._mapped(f"//{host}{path}")
        if mapped is None:
            raise FrameFailed(
                f"{_shown(text)} lies on the host {_shown(host)}: "
                f"add file://{host[:80]}/... to frames.prefix_map to say where it is mounted here"
            )
        return mapped

    def _mapped(self, path: str) -> str | None:
        """Replace the longest matching prefix, or return None where none matches."""
        for prefix in sorted(self.prefix_map, key=len, reverse=True):
            windows = bool(_DRIVE.match(prefix + "/")) or prefix.startswith("\\\\")
            ours, theirs = (_slashed(path), _slashed(prefix)) if windows else (path, prefix)
            theirs = theirs.rstrip("/")
            head, tail = ours[: len(theirs)], ours[len(theirs) :]
            same = head.lower() == theirs.lower() if windows else head == theirs
            if same and (not tail or tail.startswith("/")):
                return (self.prefix_map[prefix].rstrip("/") + tail) or "/"
        return None

    def _refusal(self, text: str, real: str) -> str:
        where = _shown(text) if real == text else f"{_shown(text)} (really {_shown(real)})"
        if not self.roots:
            return (
                f"{where} is refused: no folder may be read from yet; "
                "name the detector's data folder in frames.roots"
            )
        roots = ", ".join(str(r) for r in self.roots)
        return (
            f"{where} is refused: it is outside the allowed folders ({roots}); "
            "add its folder to frames.roots if it may be read"
        )


def _refuse_special(real: str) -> None:
    try:
        mode = os.stat(real).st_mode  # noqa: PTH116  (a Path costs more than the call, once per frame)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise FrameFailed(f"cannot look at {_shown(real)}: {error}") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise FrameFailed(f"{_shown(real)} is refused: not a regular file (a FIFO, device or socket)")


def _slashed(path: str) -> str:
    return path.replace("\\", "/")


def _shown(text: str) -> str:
    """Quote text from a document for a message: printable and of bounded length."""
    return repr(text if len(text) <= 300 else f"{text[:297]}...")
