"""Connecting: one clear sentence within the deadline when there is no broker or no right to it."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from kafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    KafkaTimeoutError,
    SaslAuthenticationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailedError,
)

from streamproc.errors import BrokerAway, ConfigurationError
from streamproc.settings import KafkaSettings
from streamproc.transports.kafka.login import find_open_address
from streamproc.transports.kafka.mends import ask_again_soon
from streamproc.transports.kafka.records import stand_odd_headers

__all__ = [
    "broker_addresses",
    "client_options",
    "connect",
    "denied",
    "milliseconds",
    "patiently",
    "who",
]

Client = TypeVar("Client")

_LEAST_TRY_S = 1.0
_PAUSE_S = 0.1
_REMEDIES: Final[dict[type[KafkaError], str]] = {
    SaslAuthenticationFailedError: "check kafka.username, kafka.password and kafka.sasl_mechanism",
    TransactionalIdAuthorizationFailedError: "have Write on that transactional id allowed, set "
    'kafka.transactional_id to one that is, or set service.delivery = "at-least-once"',
    GroupAuthorizationFailedError: "have Read on that group allowed, or set kafka.group_id to one that is",
    ClusterAuthorizationFailedError: "have it allowed on the cluster (IdempotentWrite, to publish), or set "
    'service.delivery = "at-least-once"',
    TopicAuthorizationFailedError: "have it allowed on that topic, or set the topic's name in [kafka], or "
    "kafka.username, to one that is",
}


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

    Parameters
    ----------
    kafka : KafkaSettings
        Addresses, log-in and ``connect_timeout_s``.
    make : callable
        Builds the client from options; called again while time is left.

    Raises
    ------
    BrokerAway
        No broker answered within ``kafka.connect_timeout_s``.
    ConfigurationError
        At once, what one of them refused.
    """
    stand_odd_headers()
    options, addresses = client_options(kafka), broker_addresses(kafka)
    deadline_s = time.monotonic() + kafka.connect_timeout_s
    cause: BaseException | str | None = None
    with _client_log() as said:
        while (left_s := deadline_s - time.monotonic()) > 0:
            try:
                # kafka-python takes any address of the list and keeps to it, also to one that is frozen.
                options["bootstrap_servers"] = [find_open_address(kafka, addresses, options, deadline_s)]
                options["bootstrap_timeout_ms"] = milliseconds(max(_LEAST_TRY_S, left_s / 2))
                client = make(options)
                ask_again_soon(client)
                return client
            except KafkaTimeoutError as error:
                cause = said[-1] if said else error
            except (KafkaError, ValueError) as error:
                raise denied(error, kafka, "connect") or ConfigurationError(
                    f"Kafka broker at {kafka.bootstrap}: {error}"
                ) from error
            except OSError as error:
                cause = error
    raise BrokerAway(
        f"no Kafka broker answered at {kafka.bootstrap} ({kafka.security_protocol}) within "
        f"{kafka.connect_timeout_s:g} s ({cause}); start one (`streamproc broker` gives one for this machine)"
        ", or set kafka.bootstrap and kafka.security_protocol"
    )


def patiently(call: Callable[[], Client], timeout_s: float) -> Client:
    """Return what ``call`` returns; it is called again while it fails for a reason that passes.

    The node that a client was just talking to may die at any instant; the others take over after seconds.

    Parameters
    ----------
    call : callable
        Anything that may be done twice.
    timeout_s : float
        After this time (s) its failure is raised.

    Raises
    ------
    KafkaError
        One that does not pass, or did not in time.
    """
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            return call()
        except KafkaError as error:
            if not error.retriable or time.monotonic() + _PAUSE_S >= deadline_s:
                raise
        time.sleep(_PAUSE_S)


def who(kafka: KafkaSettings) -> str:
    """Return whom the broker knows us as, for a sentence."""
    if kafka.username is not None and kafka.security_protocol.startswith("SASL"):
        return f"user {kafka.username!r}"
    if kafka.ssl_certfile is not None and kafka.security_protocol == "SSL":
        return f"the owner of certificate {kafka.ssl_certfile}"
    return "a client without a log-in"


def denied(error: BaseException, kafka: KafkaSettings, doing: str) -> ConfigurationError | None:
    """Turn a refused log-in or a missing right into the sentence that says what to change.

    Parameters
    ----------
    error : BaseException
        What kafka-python raised; its causes are looked at as well.
    kafka : KafkaSettings
        Whom the broker knows us as.
    doing : str
        What was not allowed, with its name, to follow "may not": ``read topic x``, ``use consumer group g``,
        ``use transactional id t``.

    Returns
    -------
    ConfigurationError or None
        None when the error is about something else.
    """
    kind = next((k for cause in _causes(error) for k in _REMEDIES if _is(cause, k)), None)
    if kind is None:
        return None
    if kind is SaslAuthenticationFailedError:
        return ConfigurationError(
            f"Kafka broker at {kafka.bootstrap} refuses the log-in of {who(kafka)}: {error}; "
            f"{_REMEDIES[kind]}"
        )
    return ConfigurationError(
        f"{who(kafka)} may not {doing} at the Kafka broker {kafka.bootstrap} "
        f"({kind.__name__.removesuffix('Error')}): {_REMEDIES[kind]}"
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__


def _is(error: BaseException, kind: type[KafkaError]) -> bool:
    # kafka-python's producer wraps what the broker refused into another error and keeps its name only.
    return isinstance(error, kind) or (isinstance(error, KafkaError) and kind.__name__ in str(error))


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
