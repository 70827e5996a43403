"""One frozen settings tree: TOML file plus environment; unknown keys are refused, secrets are hidden."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings.sources import PydanticBaseSettingsSource

from streamproc.errors import ConfigurationError

__all__ = [
    "DeliverySettings",
    "FramesSettings",
    "InferenceSettings",
    "KafkaSettings",
    "ObservabilitySettings",
    "RunsSettings",
    "ServiceSettings",
    "Settings",
    "TiledSettings",
    "faults_of",
    "load_settings",
    "merge_tables",
]

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaSettings(_Section):
    """The broker, how to log in to it, and the topics."""

    bootstrap: str = Field("localhost:9092", description="Broker addresses, HOST:PORT, comma-separated.")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="As Kafka names it."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None, description="SASL mechanism, with SASL_PLAINTEXT or SASL_SSL."
    )
    username: str | None = Field(None, description="SASL user name.")
    password: SecretStr | None = Field(
        None, description="SASL password; give it as STREAMPROC_KAFKA__PASSWORD rather than in the file."
    )
    ssl_cafile: Path | None = Field(
        None, description="PEM file of the authority that signed the broker's certificate."
    )
    ssl_certfile: Path | None = Field(
        None, description="PEM client certificate, where the broker asks for one."
    )
    ssl_keyfile: Path | None = Field(None, description="PEM key of the client certificate.")
    group_id: str | None = Field(
        None,
        description="Consumer group; by default streamproc-<beamline>-<analysis>: analyses share no offsets.",
    )
    group_instance_id: str | None = Field(
        None,
        description="Static membership: a fixed name per instance; a quick restart then causes no rebalance.",
    )
    raw_topic: str | None = Field(None, description="Default <beamline>.bluesky.runengine.documents.")
    results_topic: str | None = Field(None, description="Default <beamline>.bluesky.streamproc.documents.")
    deadletters_topic: str | None = Field(
        None, description="Default <beamline>.bluesky.streamproc.deadletters."
    )
    state_topic: str | None = Field(
        None,
        description="Open-run state of one analysis; default <beamline>.bluesky.streamproc.state.<analysis>.",
    )
    transactional_id: str | None = Field(
        None, description="Own to each instance; default <group>.<group_instance_id>, or a random one."
    )
    from_beginning: bool = Field(
        True,
        description="A group without a committed offset starts at the topic's beginning; false: at its end.",
    )
    max_message_bytes: Count = Field(64 * 1024 * 1024, description="Largest message read or written (bytes).")
    max_poll_messages: Count = Field(200, description="Most messages taken at one poll.")
    fetch_max_wait_s: Positive = Field(0.05, description="How long the broker may hold a fetch back (s).")
    session_timeout_s: Positive = Field(
        45.0, description="After this silence (s) the group takes our partitions away."
    )
    request_timeout_s: Positive = Field(30.0, description="Deadline of one broker request (s).")
    poll_timeout_s: Positive = Field(
        120.0, description="Longest time one look for messages may take, rebalance included (s); then exit 3."
    )
    connect_timeout_s: Positive = Field(
        10.0, description="Deadline for the first answer of the broker at start-up (s)."
    )


class DeliverySettings(_Section):
    """Publishing and committing."""

    flush_timeout_s: Positive = Field(
        20.0, description="Deadline of a publication (s); past it the process ends, exit 3."
    )
    transaction_timeout_s: Positive = Field(
        15.0,
        description="Deadline of each transactional call (s), exit 3 past it; "
        "the broker aborts a transaction that is open this long.",
    )
    commit_interval_s: Annotated[float, Field(ge=0)] = Field(
        0.0,
        description="Least time between two transactions (s); 0: at once. Longer: more latency, less work.",
    )
    restore_timeout_s: Positive = Field(
        60.0, description="Deadline for reading the state of a partition that was assigned (s)."
    )
    max_in_flight_bytes: Count = Field(
        32 * 1024 * 1024, description="Most bytes handed to the producer before a flush."
    )


class RunsSettings(_Section):
    """How many runs are followed and for how long."""

    max_open: Count = Field(
        1000, description="Most runs followed at once; the longest idle one is closed beyond it."
    )
    idle_timeout_s: Positive = Field(
        3600.0, description="A run that is silent this long (s) is closed without a stop."
    )
    rewind_max_messages: Count = Field(
        20_000, description="How far back a run's start is looked for when joined in the middle."
    )
    rewind_max_bytes: Count = Field(
        256 * 1024 * 1024, description="Most bytes read in that search; they are held in memory."
    )


class FramesSettings(_Section):
    """Where detector files may lie and how long they are waited for."""

    roots: tuple[Path, ...] = Field(
        (), description="Folders that detector files may be read from; all else is refused."
    )
    prefix_map: dict[str, str] = Field(
        default_factory=dict, description="Path prefixes as documents have them -> as this machine sees them."
    )
    wait_s: Positive = Field(30.0, description="How long a frame that is not there yet is waited for (s).")
    retry_interval_s: Positive = Field(0.02, description="Pause between two looks for the same frame (s).")
    max_frame_bytes: Count = Field(512 * 1024 * 1024, description="Largest frame read (bytes).")
    max_waiting_bytes: Count = Field(
        1024 * 1024 * 1024, description="Frames held in memory (bytes); beyond it the topic is paused."
    )
    max_waiting_frames: Count = Field(
        2000, description="Readings waiting or in work; beyond it the topic is paused."
    )
    dark_stream: str | None = Field("dark", description="Stream that carries dark frames; null: ignore them.")


class InferenceSettings(_Section):
    """ONNX models and where they run."""

    provider: Literal["cpu", "cuda", "tensorrt", "openvino"] = Field(
        "cpu", description="onnxruntime execution provider."
    )
    threads: Count = Field(
        1, description="Threads inside one inference; more frames at once is the better use of cores."
    )
    max_batch: Count = Field(
        16, description="Most frames in one inference; what is queued is taken, nothing is waited for."
    )
    model_roots: tuple[Path, ...] = Field(
        (), description="Folders with models NAME/VERSION/model.onnx, before the shipped ones."
    )
    load_timeout_s: Positive = Field(
        300.0,
        description="Deadline for loading and checking a model (s), at the start and at a reload. The first "
        "start after an installation also compiles for this machine: up to two minutes on a slow one.",
    )
    watch_interval_s: Annotated[float, Field(ge=0)] = Field(
        5.0, description="How often the model folders are looked at for a newer model (s); 0: only at SIGHUP."
    )


class ServiceSettings(_Section):
    """The loop."""

    delivery: Literal["exactly-once", "at-least-once"] = Field(
        "exactly-once",
        description="exactly-once: results, state and positions in one Kafka transaction; at-least-once: for "
        "brokers that forbid transactions, a crash repeats documents with identical uids and bytes.",
    )
    policy: Literal["every", "latest"] = Field(
        "every",
        description="When frames come faster than they are analysed: every = fall behind and say how far; "
        "latest = skip to the newest, the skipped are in the ledger as dropped.",
    )
    workers: Count = Field(2, description="Threads that read, reduce and infer.")
    poll_timeout_s: Positive = Field(
        0.1, description="Longest wait for documents in one step when nothing else is to do (s)."
    )
    drain_timeout_s: Positive = Field(
        4.0, description="On SIGTERM: finish what is in work within this time (s)."
    )
    frame_timeout_s: Positive = Field(
        60.0, description="Longest time one batch may spend in analysis (s); past it the process ends."
    )
    one_pass: bool = Field(
        False, description="End when the topic is read to its present end and all runs are answered."
    )


class ObservabilitySettings(_Section):
    """Logs, metrics and health."""

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least level that is printed."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="auto: console on a terminal, else JSON lines."
    )
    http_host: str = Field("127.0.0.1", description="Address for /metrics, /healthz and /readyz.")
    http_port: Annotated[int, Field(ge=0, le=65535)] | None = Field(
        None, description="Port for /metrics, /healthz and /readyz; 0: any free one; unset: none."
    )
    stalled_after_s: Positive = Field(
        30.0, description="/healthz fails when the loop has not turned for this long (s)."
    )


class TiledSettings(_Section):
    """The catalog that runs are archived in; what `tiled` means as a source, a target or an archive."""

    catalog: str | None = Field(
        None,
        description="Container with the raw runs: http(s)://HOST:PORT[/PATH], or profile:NAME[/PATH] of a "
        "databroker or Tiled profile.",
    )
    api_key_env: str = Field(
        "TILED_API_KEY", description="Environment variable with a key for it; to write, one that may write."
    )


class Settings(BaseSettings):
    """Everything a service needs to know.

    Environment variables override the file: ``STREAMPROC_`` + section + ``__`` + key, e.g.
    ``STREAMPROC_KAFKA__BOOTSTRAP``.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="STREAMPROC_", env_nested_delimiter="__"
    )

    beamline: str = Field(
        "demo", pattern=r"^[A-Za-z0-9_-]+$", description="Short name that begins every topic."
    )
    kafka: KafkaSettings = KafkaSettings()
    delivery: DeliverySettings = DeliverySettings()
    runs: RunsSettings = RunsSettings()
    frames: FramesSettings = FramesSettings()
    inference: InferenceSettings = InferenceSettings()
    service: ServiceSettings = ServiceSettings()
    observability: ObservabilitySettings = ObservabilitySettings()
    tiled: TiledSettings = TiledSettings()
    analysis: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="One table per analysis, e.g. [analysis.phase-map]; the analysis defines its keys.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file (which arrives as keyword arguments)."""
        return (env_settings, init_settings)

    def topic(self, which: Literal["raw", "results", "deadletters"]) -> str:
        """Return the name of one of our topics: as set, or derived from the beamline."""
        named = {
            "raw": self.kafka.raw_topic or f"{self.beamline}.bluesky.runengine.documents",
            "results": self.kafka.results_topic or f"{self.beamline}.bluesky.streamproc.documents",
            "deadletters": self.kafka.deadletters_topic or f"{self.beamline}.bluesky.streamproc.deadletters",
        }
        return named[which]

    def tiled_catalog(self) -> str:
        """Return the catalog that `tiled` means.

        Raises
        ------
        ConfigurationError
            None is set.
        """
        if self.tiled.catalog is None:
            raise ConfigurationError(
                "tiled: no catalog is configured; set tiled.catalog in the settings (http://HOST:PORT/PATH "
                "or profile:NAME), or give its address in place of the word"
            )
        return self.tiled.catalog

    def state_topic(self, analysis: str) -> str:
        """Return the compacted topic with the open-run state of an analysis (or of ``group_id``)."""
        owner = self.kafka.group_id or analysis
        return self.kafka.state_topic or f"{self.beamline}.bluesky.streamproc.state.{owner}"

    def group(self, analysis: str) -> str:
        """Return the consumer group of an analysis."""
        return self.kafka.group_id or f"streamproc-{self.beamline}-{analysis}"


def load_settings(path: Path | None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read a TOML file (all defaults when None), then the environment, then ``overrides`` (command line).

    Relative paths in the file are meant relative to the file's folder.

    Raises
    ------
    ConfigurationError
        File missing or not TOML, an unknown key, a value out of range: all faults in one message.
    """
    data: dict[str, Any] = {}
    if path is not None:
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ConfigurationError(
                f"{path}: no such settings file; `streamproc config show` prints one"
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
            raise ConfigurationError(f"{path}: not readable as TOML: {error}") from error
        _anchor_paths(data, path.resolve().parent)
    _refuse_unknown_environment()
    try:
        settings = Settings(**data)
        for name, value in (overrides or {}).items():
            section = getattr(settings, name)
            if isinstance(section, _Section):
                value = type(section).model_validate(merge_tables(section.model_dump(), value))
            elif isinstance(section, dict):
                value = merge_tables(section, value)
            settings = settings.model_copy(update={name: value})
    except ValidationError as error:
        raise ConfigurationError(f"{path or 'settings'}: {faults_of(error)}") from error
    return settings


def _anchor_paths(data: dict[str, Any], base: Path) -> None:
    """Make the paths of the known path settings absolute; the analyses anchor their own."""
    data.setdefault("analysis", {})
    for table in data["analysis"].values() if isinstance(data["analysis"], dict) else ():
        if isinstance(table, dict):
            table.setdefault("base_dir", str(base))
    for section, keys in {"frames": ("roots",), "inference": ("model_roots",)}.items():
        for key in keys:
            if isinstance(data.get(section, {}).get(key), list):
                data[section][key] = [str(base / p) for p in data[section][key]]
    for key in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
        if isinstance(data.get("kafka", {}).get(key), str):
            data["kafka"][key] = str(base / data["kafka"][key])


def _refuse_unknown_environment() -> None:
    """A mistyped STREAMPROC_ variable must not be ignored in silence."""
    known = {f"STREAMPROC_{name}".upper() for name in Settings.model_fields}
    own = {"STREAMPROC_SHARED", "STREAMPROC_CACHE", "STREAMPROC_JAVA"}
    for variable in os.environ:
        upper = variable.upper()
        if upper.startswith("STREAMPROC_") and upper not in own and upper.split("__")[0] not in known:
            raise ConfigurationError(
                f"environment variable {variable} is no setting; `streamproc config schema` lists them"
            )


def merge_tables(base: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``extra`` laid over it, tables merged."""
    merged = dict(base)
    for key, value in extra.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), dict):
            merged[key] = merge_tables(merged[key], value)
        else:
            merged[key] = value
    return merged


def faults_of(error: ValidationError) -> str:
    """Return pydantic's report as one clause per fault: which setting, and what is wrong with it."""
    return "; ".join(
        f"{'.'.join(map(str, e['loc'])) or 'table'}: "
        + ("is no setting (see `streamproc config schema`)" if e["type"] == "extra_forbidden" else e["msg"])
        for e in error.errors()
    )
