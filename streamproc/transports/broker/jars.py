"""The jars of Apache Kafka: fetched once, held against locked checksums, kept in the cache."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from streamproc.errors import ConfigurationError

__all__ = ["Jar", "Lock", "cache_folder", "ensure_jars", "kafka_version", "read_lock"]

_DOWNLOADS_AT_ONCE = 4
OWN_BROKER = "or use a broker of your own with --bootstrap HOST:PORT"


@dataclass(frozen=True, slots=True)
class Jar:
    """One locked file of Maven Central."""

    group: str
    artifact: str
    version: str
    bytes: int
    sha256: str

    @property
    def name(self) -> str:
        """The file name."""
        return f"{self.artifact}-{self.version}.jar"


@dataclass(frozen=True, slots=True)
class Lock:
    """The lock file: which Kafka, and every jar it needs."""

    kafka: str
    jars: tuple[Jar, ...]


def read_lock() -> Lock:
    """Return the lock file that is part of this package (written by ``deploy/kafka/lock.py``)."""
    data = json.loads(files("streamproc.transports.broker").joinpath("kafka.lock").read_text("utf-8"))
    return Lock(data["kafka"], tuple(Jar(**jar) for jar in data["jars"]))


def kafka_version() -> str:
    """Return the version of Apache Kafka that is started."""
    return read_lock().kafka


def cache_folder() -> Path:
    """Return where downloads are kept: ``STREAMPROC_CACHE``, else the user's cache folder.

    Where there is no home folder (a bare container user), a folder of this user's under the temporary one.
    """
    if own := os.environ.get("STREAMPROC_CACHE"):
        return Path(own)
    home = os.path.expanduser("~")  # noqa: PTH111
    base = os.environ.get("XDG_CACHE_HOME") or Path(home) / ".cache"
    if not Path(base).is_absolute() or base == Path("/.cache"):
        user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
        return Path(tempfile.gettempdir()) / f"streamproc-{user}"
    return Path(base) / "streamproc"


def ensure_jars(tell: Callable[[str], None], lock: Lock | None = None) -> list[Path]:
    """Return the paths of all jars, fetching those that are missing or damaged.

    Every jar is compared with its locked SHA-256 each time. Files appear under their name only when complete
    and right, so an interrupted download or a second process at work does no harm.

    Parameters
    ----------
    tell : callable
        Gets a line of text now and then while something is fetched.
    lock : Lock or None
        By default the lock file of this package.

    Raises
    ------
    ConfigurationError
        The jars cannot be fetched or kept, or what came is not what was locked.
    """
    lock = lock or read_lock()
    folder = cache_folder() / f"kafka-{lock.kafka}"
    missing = [jar for jar in lock.jars if not _is_right(folder / jar.name, jar)]
    if missing:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix="fetch-", dir=folder) as scratch:
                _fetch_all(missing, Path(scratch), folder, lock.kafka, tell)
        except OSError as error:
            raise ConfigurationError(
                f"Apache Kafka {lock.kafka} could not be fetched into {folder}: {error}; allow access to "
                f"Maven Central once (proxy and certificate variables are honoured), {OWN_BROKER}"
            ) from error
    return [folder / jar.name for jar in lock.jars]


def _is_right(path: Path, jar: Jar) -> bool:
    try:
        return path.stat().st_size == jar.bytes and _sha256(path) == jar.sha256
    except OSError:
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch_all(
    jars: list[Jar], scratch: Path, folder: Path, version: str, tell: Callable[[str], None]
) -> None:
    total, done, size = len(jars), 0, sum(jar.bytes for jar in jars) / 1e6
    tell(f"fetching Apache Kafka {version} ({total} files, {size:.0f} MB) into {folder}")
    with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool:
        futures = [pool.submit(_fetch, jar, scratch / str(i), folder) for i, jar in enumerate(jars)]
        try:
            for future in as_completed(futures):
                future.result()
                done += 1
                if done % 10 == 0 or done == total:
                    tell(f"fetching Apache Kafka {version}: {done} of {total} files")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _fetch(jar: Jar, scratch: Path, folder: Path) -> None:
    """Download one jar, hold it against the lock, put it in place.

    jgo speaks to Maven Central through requests, whose errors are OSErrors; its own are RuntimeErrors.
    """
    try:
        from jgo.maven import MavenContext
    except ImportError as error:
        raise ConfigurationError(
            f"`streamproc broker` needs the extra: pip install 'streamproc[broker]'; {OWN_BROKER}"
        ) from error
    context = MavenContext(repo_cache=scratch, local_repos=[])
    try:
        path = context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
    except (RuntimeError, ValueError) as error:
        raise OSError(f"{jar.name}: {error}") from error
    if not _is_right(path, jar):
        raise ConfigurationError(
            f"{jar.name} refused: SHA-256 {_sha256(path)}, locked is {jar.sha256}; it was changed on the way "
            f"or in the repository; {OWN_BROKER}"
        )
    path.replace(folder / jar.name)
