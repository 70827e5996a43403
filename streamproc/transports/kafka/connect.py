"""Connecting: one clear sentence within the deadline when there is no broker or no right to it."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from kafka import KafkaAdminClient
from kafka.errors import KafkaError, KafkaTimeoutError

from streamproc.errors import ConfigurationError
from streamproc.settings import KafkaSettings

__all__ = ["broker_addresses", "client_options", "cluster_size", "connect", "milliseconds"]

Client = TypeVar("Client")

_FIRST_TRY_S = 1.0


def milliseconds(seconds: float) -> int:
    """Return ``seconds`` as the whole milliseconds kafka-python takes, at least 1."""
    return max(1, round(seconds * 1000))


def broker_addresses(kafka: KafkaSettings) -> list[str]:
    """Split ``kafka.bootstrap`` into addresses.

    Raises
    ------
    ConfigurationError
        When there is none, or one has no port.
    """
    addresses = [part.strip() for part in kafka.bootstrap.split(",") if part.strip()]
    for address in addresses:
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ConfigurationError(f"kafka.bootstrap: {address!r} is not HOST:PORT")
    if not addresses:
        raise ConfigurationError("kafka.bootstrap is empty; expected HOST:PORT[,HOST:PORT...]")
    return addresses


def client_options(kafka: KafkaSettings) -> dict[str, Any]:
    """Return what consumer, producer and admin client share: addresses, log-in, encryption, deadlines.

    Raises
    ------
    ConfigurationError
        Log-in settings that do not belong together, or certificate files that cannot be read.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": broker_addresses(kafka),
        "security_protocol": kafka.security_protocol,
        "request_timeout_ms": milliseconds(kafka.request_timeout_s),
        "reconnect_backoff_max_ms": 1000,
    }
    if kafka.security_protocol.startswith("SASL"):
        if kafka.sasl_mechanism is None or kafka.username is None or kafka.password is None:
            raise ConfigurationError(
                f"kafka.security_protocol {kafka.security_protocol} needs kafka.sasl_mechanism, "
                "kafka.username and kafka.password (environment variable STREAMPROC_KAFKA__PASSWORD)"
            )
        options |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.username,
            "sasl_plain_password": kafka.password.get_secret_value(),
        }
    if kafka.security_protocol.endswith("SSL"):
        options["ssl_context"] = _ssl_context(kafka)
    return options


def _ssl_context(kafka: KafkaSettings) -> ssl.SSLContext:
    for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
        path: Path | None = getattr(kafka, name)
        if path is not None and not path.is_file():
            raise ConfigurationError(f"kafka.{name}: {path}: no such file")
    try:
        context = ssl.create_default_context(cafile=kafka.ssl_cafile)
        if kafka.ssl_certfile is not None:
            context.load_cert_chain(kafka.ssl_certfile, kafka.ssl_keyfile)
    except (ssl.SSLError, OSError) as error:
        raise ConfigurationError(f"kafka: certificate files cannot be used: {error}") from error
    return context


def connect(kafka: KafkaSettings, make: Callable[[dict[str, Any]], Client]) -> Client:
    """Make a client that has reached a broker.

    kafka-python retries a refused password until its deadline, and only logs what was wrong; so it is asked
    in short tries, and its log is read in between.

    Parameters
    ----------
    kafka : KafkaSettings
        Addresses, log-in and ``connect_timeout_s``.
    make : callable
        Builds the client from options; called again with a longer ``bootstrap_timeout_ms`` on failure.

    Raises
    ------
    ConfigurationError
        No broker answered within ``kafka.connect_timeout_s``, or it refused the log-in (said at once).
    """
    options = client_options(kafka)
    deadline_s = time.monotonic() + kafka.connect_timeout_s
    try_s = _FIRST_TRY_S
    with _client_log() as said:
        while (left_s := deadline_s - time.monotonic()) > 0:
            options["bootstrap_timeout_ms"] = milliseconds(min(try_s, left_s))
            try:
                return make(options)
            except KafkaTimeoutError:
                _refused_login(kafka, said)
            except (KafkaError, OSError, ValueError) as error:
                raise ConfigurationError(f"Kafka broker at {kafka.bootstrap}: {error}") from error
            try_s *= 2
    cause = f" ({said[-1]})" if said else ""
    raise ConfigurationError(
        f"no Kafka broker answered at {kafka.bootstrap} ({kafka.security_protocol}) within "
        f"{kafka.connect_timeout_s:g} s{cause}; start one (`streamproc broker` gives one for this machine), "
        "or set kafka.bootstrap and kafka.security_protocol"
    )


def _refused_login(kafka: KafkaSettings, said: list[str]) -> None:
    for line in said:
        if "SaslAuthenticationFailed" in line or "AuthorizationFailed" in line:
            raise ConfigurationError(
                f"Kafka broker at {kafka.bootstrap} refuses the log-in of user {kafka.username!r}: {line}; "
                "check kafka.username, kafka.password and kafka.sasl_mechanism"
            )
        if "CERTIFICATE_VERIFY_FAILED" in line or "WRONG_VERSION_NUMBER" in line:
            raise ConfigurationError(
                f"no encrypted connection to the Kafka broker at {kafka.bootstrap}: {line}; "
                "check kafka.security_protocol and kafka.ssl_cafile"
            )


class _Listener(logging.Handler):
    """Keeps the causes that the client only logs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the causes of failed connections; the rest is chatter."""
        if isinstance(record.args, tuple):
            self.said += [
                str(a)[:200]
                for a in record.args
                if isinstance(a, Exception) and not isinstance(a, KafkaTimeoutError)
            ]


@contextmanager
def _client_log() -> Iterator[list[str]]:
    """Listen to kafka-python's log, and keep it off the terminal meanwhile."""
    logger, listener = logging.getLogger("kafka"), _Listener()
    level, propagate = logger.level, logger.propagate
    logger.addHandler(listener)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        yield listener.said
    finally:
        logger.removeHandler(listener)
        logger.setLevel(level)
        logger.propagate = propagate


def cluster_size(bootstrap: str, timeout_s: float) -> int:
    """Return how many brokers are up in an unencrypted cluster; 0 when none answers in ``timeout_s`` (s)."""
    with _client_log():
        try:
            admin = KafkaAdminClient(
                bootstrap_servers=bootstrap.split(","), bootstrap_timeout_ms=milliseconds(timeout_s)
            )
        except (KafkaError, OSError):
            return 0
        try:
            return len(admin.describe_cluster()["brokers"])
        except KafkaError:
            return 0
        finally:
            admin.close()
