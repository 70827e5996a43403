"""What lies in deploy/ fits the program: settings, exit codes, commands, metrics, files."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import click
import pytest
import yaml

from streamproc import __version__
from streamproc.cli import _group
from streamproc.errors import ConfigurationError, DeliveryError, FatalError
from streamproc.loading import analysis_settings, find_analysis
from streamproc.observability.metrics import ServiceMetrics
from streamproc.settings import Settings, load_settings
from streamproc.transports.broker import kafka_version
from streamproc.transports.kafka.users import service_rights

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SYSTEMD, COMPOSE = DEPLOY / "systemd", DEPLOY / "compose"
UNIT = SYSTEMD / "streamproc@.service"
TEXTS = sorted(p for p in DEPLOY.rglob("*") if p.is_file() and p.suffix not in (".pyc", ".lock"))
OWN_VARIABLES = {"STREAMPROC_SHARED", "STREAMPROC_CACHE", "STREAMPROC_JAVA"}


def entries(path):
    """Every directive of a unit file; a directive may occur more than once."""
    found = {}
    for line in path.read_text().splitlines():
        name, sign, value = line.partition("=")
        if sign and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def environment(path):
    lines = (line for line in path.read_text().splitlines() if line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def seconds(text):
    return float(text.removesuffix("s"))


def gibibytes(text):
    return float(text[:-1]) if text[-1] in "Gg" else pytest.fail(f"{text} is not in GiB")


def parsed(arguments):
    """Have the command line parse a command, without doing it."""
    command, rest = _group, list(arguments)
    while isinstance(command, click.Group):
        name = rest.pop(0)
        command = command.get_command(click.Context(command), name)
        assert command is not None, name
    return command.make_context(name, rest).params


def unit_environment(monkeypatch, instance="phase-map-1"):
    for line in entries(UNIT)["Environment"]:
        name, _, value = line.partition("=")
        monkeypatch.setenv(name, value.replace("%H", "host.example.org").replace("%i", instance))
    for name in (f"{instance}.env", "secret.env"):
        for variable, value in environment(SYSTEMD / name).items():
            monkeypatch.setenv(variable, value)


@pytest.fixture
def compose():
    return yaml.safe_load((COMPOSE / "compose.yaml").read_text())


# -- settings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*.toml")), ids=lambda p: str(p.relative_to(DEPLOY)))
def test_every_settings_file_is_accepted_with_the_tables_of_its_analyses(path):
    settings = load_settings(path)
    assert settings.analysis
    for name, table in settings.analysis.items():
        analysis_settings(find_analysis(name), table)


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: str(p.relative_to(DEPLOY)))
def test_every_variable_that_is_named_is_a_setting(path):
    for variable in set(re.findall(r"\bSTREAMPROC_[A-Z0-9_]+\b", path.read_text())) - OWN_VARIABLES:
        section, _, key = variable.removeprefix("STREAMPROC_").lower().partition("__")
        assert section in Settings.model_fields, variable
        if key:
            assert key in Settings.model_fields[section].annotation.model_fields, variable


def test_unit_and_its_files_give_one_instance_all_it_needs(monkeypatch):
    unit_environment(monkeypatch)
    settings = load_settings(SYSTEMD / "beamline.toml")
    assert settings.kafka.group_instance_id == "host.example.org-phase-map-1"
    assert settings.kafka.password is not None
    assert settings.observability.http_port is not None
    assert "password" not in tomllib.loads((SYSTEMD / "beamline.toml").read_text())["kafka"]


# -- systemd ----------------------------------------------------------------------------------------------


def test_the_unit_restarts_after_everything_but_a_wrong_configuration():
    unit = entries(UNIT)
    assert unit["Restart"] == ["on-failure"]
    prevented = [int(code) for code in unit["RestartPreventExitStatus"][0].split()]
    assert prevented == [ConfigurationError.exit_code]
    assert not {FatalError.exit_code, DeliveryError.exit_code} & set(prevented)
    assert unit["RestartForceExitStatus"] == ["SIGHUP"]


def test_an_outage_of_the_broker_never_reaches_the_start_limit():
    unit, settings = entries(UNIT), load_settings(SYSTEMD / "beamline.toml")
    per_start_s = settings.kafka.connect_timeout_s + seconds(unit["RestartSec"][0])
    assert int(unit["StartLimitBurst"][0]) * per_start_s > seconds(unit["StartLimitIntervalSec"][0])


def test_the_unit_leaves_time_to_end_and_memory_to_work():
    unit, settings = entries(UNIT), load_settings(SYSTEMD / "beamline.toml")
    delivery = settings.delivery
    ending_s = (
        settings.service.drain_timeout_s + delivery.flush_timeout_s + 2 * delivery.transaction_timeout_s
    )
    assert seconds(unit["TimeoutStopSec"][0]) >= ending_s
    held = settings.frames.max_waiting_bytes + delivery.max_in_flight_bytes
    held += settings.service.workers * settings.frames.max_frame_bytes
    assert gibibytes(unit["MemoryMax"][0]) * 2**30 > held


def test_the_unit_runs_a_command_that_there_is(monkeypatch):
    program, *arguments = entries(UNIT)["ExecStart"][0].split()
    assert Path(program).name == "streamproc"
    named = environment(SYSTEMD / "phase-map-1.env")["ANALYSIS"]
    assert parsed([named if a == "${ANALYSIS}" else a for a in arguments])["analysis"] == named
    find_analysis(named)


def test_the_folders_of_the_data_are_the_same_in_settings_and_unit():
    extra, settings = entries(SYSTEMD / "data.conf"), load_settings(SYSTEMD / "beamline.toml")
    roots = [str(root) for root in settings.frames.roots]
    assert extra["ReadOnlyPaths"] == extra["RequiresMountsFor"] == roots


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_finds_no_fault_with_the_unit(tmp_path):
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/streamproc/bin/streamproc", shutil.which("true")))
    added = tmp_path / f"{UNIT.name}.d"
    added.mkdir()
    shutil.copy(SYSTEMD / "data.conf", added)
    done = subprocess.run(
        ["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


# -- compose ----------------------------------------------------------------------------------------------


def services_of_ours(compose):
    return {n: s for n, s in compose["services"].items() if s["image"] == f"streamproc:{__version__}"}


def test_every_image_is_pinned_and_the_broker_is_the_locked_version(compose):
    for service in compose["services"].values():
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), service["image"]
    assert compose["services"]["kafka"]["image"] == f"apache/kafka:{kafka_version()}"


def test_services_are_restarted_checked_and_given_time_to_end(compose):
    running = {n: s for n, s in services_of_ours(compose).items() if s["command"].startswith("run ")}
    assert len(running) == 2
    for name, service in running.items():
        assert service["restart"] == "on-failure"
        assert service["environment"] == {"STREAMPROC_KAFKA__GROUP_INSTANCE_ID": name}
        assert "/readyz" in " ".join(service["healthcheck"]["test"])
        assert seconds(service["stop_grace_period"]) == seconds(entries(UNIT)["TimeoutStopSec"][0])
        assert gibibytes(service["mem_limit"]) == gibibytes(entries(UNIT)["MemoryMax"][0])


def test_every_command_of_the_compose_file_is_one_that_there_is(compose):
    for service in services_of_ours(compose).values():
        given = parsed(service["command"].split())
        mounts = dict(reversed(v.split(":")[:2]) for v in service["volumes"])
        assert COMPOSE / mounts[str(given["config"])] == COMPOSE / "./beamline.toml"
        for name in given.get("analyses") or (given.get("analysis"),):
            find_analysis(name)


def test_every_file_that_is_mounted_is_there_and_every_service_that_is_awaited(compose):
    own = set((COMPOSE / ".gitignore").read_text().split())
    for service in compose["services"].values():
        assert set(service.get("depends_on", ())) <= set(compose["services"])
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (COMPOSE / source).exists() or f"{Path(source).name}/" in own, source
            else:
                assert source in compose["volumes"] or source.startswith("${DATA"), source


def test_every_variable_of_the_compose_file_is_explained(compose):
    text = (COMPOSE / "compose.yaml").read_text()
    assert set(re.findall(r"\$\{([A-Z_]+)", text)) == set(environment(COMPOSE / "env.example"))


def test_addresses_of_broker_services_and_prometheus_agree(compose):
    settings = load_settings(COMPOSE / "beamline.toml")
    properties = environment(COMPOSE / "kafka" / "server.properties")
    assert f"://{settings.kafka.bootstrap}," in properties["advertised.listeners"]
    assert int(properties["message.max.bytes"]) > settings.kafka.max_message_bytes
    scraped = yaml.safe_load((COMPOSE / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    targets = [t for job in scraped for each in job["static_configs"] for t in each["targets"]]
    running = [n for n, s in services_of_ours(compose).items() if s["command"].startswith("run ")]
    assert targets == [f"{name}:{settings.observability.http_port}" for name in running]
    source = yaml.safe_load((COMPOSE / "grafana/provisioning/datasources/prometheus.yaml").read_text())
    assert source["datasources"][0]["url"] == "http://prometheus:9090"
    port = settings.observability.http_port
    probe = " ".join(services_of_ours(compose)["phase-map-1"]["healthcheck"]["test"])
    assert f"127.0.0.1:{port}/readyz" in probe


def expressions():
    board = json.loads((COMPOSE / "grafana" / "dashboards" / "streamproc.json").read_text())
    yield from (t["expr"] for panel in board["panels"] for t in panel["targets"])
    yield from (v["definition"] for v in board["templating"]["list"])
    groups = yaml.safe_load((COMPOSE / "prometheus" / "alerts.yml").read_text())["groups"]
    yield from (rule["expr"] for group in groups for rule in group["rules"])


def test_dashboard_and_alerts_ask_for_metrics_that_there_are():
    known = set()
    for metric in ServiceMetrics("phase-map").registry.collect():
        endings = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}.get(metric.type, [""])
        known |= {metric.name + ending for ending in endings}
    asked = {name for text in expressions() for name in re.findall(r"\bstreamproc_\w+", text)}
    assert len(asked) > 8
    assert asked <= known


def test_every_panel_asks_the_data_source_that_is_provisioned():
    source = yaml.safe_load((COMPOSE / "grafana/provisioning/datasources/prometheus.yaml").read_text())
    board = json.loads((COMPOSE / "grafana" / "dashboards" / "streamproc.json").read_text())
    uids = {t["datasource"]["uid"] for panel in board["panels"] for t in [panel, *panel["targets"]]}
    assert uids == {source["datasources"][0]["uid"]}


def test_the_image_has_what_the_package_is_made_of_and_nothing_else_is_sent():
    allowed = (COMPOSE / "Containerfile.dockerignore").read_text().split()
    assert allowed[0] == "*"
    kept = {line.removeprefix("!") for line in allowed if line.startswith("!")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folders = {"streamproc", *project["tool"]["setuptools"]["package-dir"].values()}
    files = {"pyproject.toml", "constraints.txt", project["project"]["readme"]}
    assert kept == folders | files | set(project["project"]["license-files"])
    assert all((ROOT / name).exists() for name in kept)


def test_the_image_runs_as_a_user_without_rights_on_locked_versions():
    text = (COMPOSE / "Containerfile").read_text()
    assert set(re.findall(r"^FROM (\S+)", text, re.M)) == {"python:3.12-slim"}
    assert "--constraint constraints.txt" in text
    (user,) = re.findall(r"^USER (\S+)", text, re.M)
    assert int(user) > 0
    assert "torch" not in text


# -- documentation ----------------------------------------------------------------------------------------


def test_every_file_of_deploy_that_a_page_names_is_there():
    pages = [ROOT / "README.md", DEPLOY / "README.md", *(ROOT / "docs").rglob("*.md")]
    named = {n.rstrip(".") for p in pages for n in re.findall(r"\bdeploy/[\w@./-]+", p.read_text())}
    assert {"deploy/systemd/streamproc@.service", "deploy/compose"} <= {n.rstrip("/") for n in named}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_page_on_exactly_once_lists_the_rights_a_service_needs():
    lines = (ROOT / "docs" / "how-to" / "exactly-once.md").read_text().splitlines()
    rows = [re.fullmatch(r"\| (\w+) \| `(\S+)`( \(prefix\))? \| (.+) \|", line) for line in lines]
    listed = {
        (row[1], row[2], right, row[3] is not None) for row in rows if row for right in row[4].split(", ")
    }
    needed = service_rights(load_settings(None, {"beamline": "xyz"}), "phase-map")
    assert listed == {(r.kind, r.name, r.operation, r.prefix) for r in needed}
