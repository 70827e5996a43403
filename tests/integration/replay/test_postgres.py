"""A Tiled server whose catalog and tables are in PostgreSQL; runs where PostgreSQL's programs are installed."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import warnings
from pathlib import Path

import pytest

BINARIES = (*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), Path("/usr/local/bin"))
FOUND = next((folder for folder in BINARIES if (folder / "initdb").exists()), None)
USER = "postgres"
"""PostgreSQL does not run as root; Debian's package makes this user."""

pytestmark = pytest.mark.skipif(
    FOUND is None and shutil.which("initdb") is None,
    reason="PostgreSQL is optional and not installed here: apt-get install postgresql",
)

CONFIG = """\
authentication: {{single_user_api_key: "secret"}}
trees:
  - path: /
    tree: catalog
    args:
      uri: "postgresql://{user}@127.0.0.1:{database}/catalog"
      init_if_not_exists: true
      writable_storage: ["file://localhost{folder}/data", "postgresql://{user}@127.0.0.1:{database}/tables"]
      readable_storage: ["file://localhost{readable}"]
uvicorn: {{host: 127.0.0.1, port: {port}}}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """Port of a PostgreSQL server of its own, with two empty databases."""
    programs = FOUND or Path(str(shutil.which("initdb"))).parent
    how = {"user": USER, "group": USER, "extra_groups": []} if os.getuid() == 0 else {}
    folder = tmp_path_factory.mktemp("postgres") / "data"
    folder.mkdir(mode=0o700)
    if how:
        entry = pwd.getpwnam(USER)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        for parent in list(folder.parents)[:-1]:
            parent.chmod(parent.stat().st_mode | 0o011)
    user, port = how.get("user") or pwd.getpwuid(os.getuid()).pw_name, free_port()

    def run(program, *arguments):
        command = [programs / program, *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=120, cwd="/", **how)

    run("initdb", "-D", folder, "-A", "trust", "-U", user, "--no-sync")
    options = f"-p {port} -h 127.0.0.1 -k {folder} -F"
    run("pg_ctl", "-D", folder, "-w", "-l", folder / "log", "-o", options, "start")
    try:
        for name in ("catalog", "tables"):
            run("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", user, name)
        yield user, port
    finally:
        run("pg_ctl", "-D", folder, "-m", "immediate", "stop")


@pytest.fixture(scope="module")
def server(tmp_path_factory, beam, postgres):
    """URL of a `tiled serve` process on it."""
    folder, port, (user, database) = tmp_path_factory.mktemp("tiled"), free_port(), postgres
    known = {"folder": folder, "readable": beam.folder, "port": port, "user": user, "database": database}
    (folder / "config.yml").write_text(CONFIG.format(**known))
    command = [str(Path(sys.executable).with_name("tiled")), "serve", "config", str(folder / "config.yml")]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    url, deadline_s = f"http://127.0.0.1:{port}", time.monotonic() + 120
    try:
        while True:
            try:
                urllib.request.urlopen(f"{url}/healthz", timeout=2)
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline_s, (folder / "log").read_text()
                time.sleep(0.2)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)


@pytest.mark.parametrize("form", ["inline", "hdf5", "tiff", "resource"])
def test_a_catalog_in_postgresql_gives_the_live_bytes_and_takes_the_results(beam, server, tmp_path, form):
    from bluesky_tiled_plugins import TiledWriter
    from tiled.client import from_uri

    writer, uid = TiledWriter(from_uri(server, api_key="secret")), beam.run(form)[0][1]["uid"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, doc in beam.run(form):
            writer(name, dict(doc))
    results = tmp_path / "results.msgpack"
    results.write_bytes(b"".join(beam.live(form)))
    common = ["--config", str(beam.config), "--run", uid[:8]]
    for more in (["--to", server, "--verify", str(results)], ["--verify", server]):
        ended = subprocess.run(
            [sys.executable, "-m", "streamproc", "replay", server, *common, *more], capture_output=True,
            text=True, timeout=180, check=False, env={**os.environ, "TILED_API_KEY": "secret"},
        )  # fmt: skip
        assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "equal bytes" in ended.stdout
