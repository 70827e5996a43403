"""Trying the log-in by hand before a client is made: what is wrong is known at once and said in one sentence.

kafka-python tries a refused password or certificate again and again until its deadline, and only logs why.
Here each address is asked once: TCP, encryption, then the log-in, as the Kafka protocol has them.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kafka.errors import KafkaError
from kafka.net.sasl import get_sasl_mechanism
from kafka.protocol.sasl import SaslAuthenticateRequest, SaslHandshakeRequest

from streamproc.errors import ConfigurationError
from streamproc.settings import KafkaSettings
from streamproc.transports.kafka.line import Conversation, open_line

__all__ = ["ask_node", "find_open_address"]

_PAUSE_S = 0.1
_LEAST_TRY_S = 1.0
_NO_LOGIN_HERE = 34
_OTHER_MECHANISM = 33
_CERTIFICATE_FAULTS = {9: "is not valid yet", 10: "has expired"}
_WRONG_NAME = (62, 64)
"""OpenSSL's X509_V_ERR codes (x509_vfy.h)."""


def find_open_address(
    kafka: KafkaSettings, addresses: list[str], options: Mapping[str, Any], deadline_s: float
) -> str:
    """Return the first address whose broker lets us in; it is asked for until ``deadline_s``.

    Parameters
    ----------
    kafka : KafkaSettings
        How to log in.
    addresses : list of str
        HOST:PORT each.
    options : Mapping
        kafka-python's options with ``ssl_context`` and ``sasl_*``.
    deadline_s : float
        As ``time.monotonic()`` has it.

    Raises
    ------
    ConfigurationError
        Refused log-in, certificate that cannot be trusted, encryption or log-in on one side only; said at
        once and never tried again.
    OSError
        No broker answered until the deadline; the last cause.
    """
    while True:
        cause: OSError | None = None
        for i, address in enumerate(addresses):
            # One that is frozen must leave time for the others.
            share_s = max(_LEAST_TRY_S, (deadline_s - time.monotonic()) / (len(addresses) - i))
            try:
                _knock(address, kafka, options, min(deadline_s, time.monotonic() + share_s))
                return address
            except OSError as error:
                cause = error
            if time.monotonic() >= deadline_s:
                break
        if time.monotonic() + _PAUSE_S >= deadline_s:
            raise cause or TimeoutError("no time left")
        time.sleep(_PAUSE_S)


def _knock(address: str, kafka: KafkaSettings, options: Mapping[str, Any], deadline_s: float) -> None:
    try:
        with _logged_in(address, kafka, options, deadline_s):
            return
    except ssl.SSLCertVerificationError as error:
        raise ConfigurationError(_certificate_fault(address, kafka, error)) from error
    except ssl.SSLError as error:
        _refuse_other_side(address, kafka, deadline_s)
        if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            raise ConnectionResetError(f"{address} closed the connection") from error
        raise ConfigurationError(
            f"no encrypted connection to the Kafka broker at {address}: {error.reason or error}; check "
            "kafka.security_protocol, kafka.ssl_cafile, and kafka.ssl_certfile where it wants a certificate"
        ) from error
    except (KafkaError, ConnectionError) as error:
        _refuse_other_side(address, kafka, deadline_s)
        raise ConnectionResetError(f"{address}: {error}") from error


def ask_node(
    address: str, kafka: KafkaSettings, options: Mapping[str, Any], request: Any, timeout_s: float
) -> Any:
    """Return the answer of this very node; kafka-python's clients ask any node of the cluster.

    Parameters
    ----------
    address : str
        HOST:PORT.
    kafka, options
        As for :func:`find_open_address`.
    request
        Of kafka-python's protocol, with its version.
    timeout_s : float
        Deadline (s).

    Raises
    ------
    OSError, KafkaError
        There is no answer.
    ConfigurationError
        Refused log-in.
    """
    with _logged_in(address, kafka, options, time.monotonic() + timeout_s) as conversation:
        return conversation.ask(request)


@contextmanager
def _logged_in(
    address: str, kafka: KafkaSettings, options: Mapping[str, Any], deadline_s: float
) -> Iterator[Conversation]:
    context: ssl.SSLContext | None = options.get("ssl_context")
    with open_line(address, context, deadline_s) as line:
        conversation = Conversation(line, deadline_s)
        _log_in(conversation, address, kafka, options)
        yield conversation


def _log_in(
    conversation: Conversation, address: str, kafka: KafkaSettings, options: Mapping[str, Any]
) -> None:
    broker, ours = f"the Kafka broker at {address}", kafka.security_protocol
    encrypted = "_SSL" if ours.endswith("SSL") else "_PLAINTEXT"
    # Also asked without a log-in: the answer says whether the broker wants one.
    answer = conversation.ask(SaslHandshakeRequest(version=1, mechanism=kafka.sasl_mechanism or "PLAIN"))
    offered = ", ".join(answer.mechanisms)
    if not ours.startswith("SASL"):
        if answer.error_code in (0, _OTHER_MECHANISM):
            raise ConfigurationError(
                f"{broker} wants a log-in, kafka.security_protocol is {ours}: set it to SASL{encrypted}, "
                f"kafka.sasl_mechanism to one of {offered}, kafka.username and kafka.password"
            )
        return
    if answer.error_code == _NO_LOGIN_HERE:
        raise ConfigurationError(
            f"{broker} takes no log-in there, kafka.security_protocol is {ours}: set it to "
            f"{encrypted.removeprefix('_')}, or kafka.bootstrap to the port with log-in"
        )
    if answer.error_code:
        raise ConfigurationError(
            f"{broker} offers no log-in by {kafka.sasl_mechanism}: set kafka.sasl_mechanism to one of "
            f"{offered}"
        )
    _authenticate(conversation, address, kafka, options)


def _authenticate(
    conversation: Conversation, address: str, kafka: KafkaSettings, options: Mapping[str, Any]
) -> None:
    said = f"Kafka broker at {address} refuses the log-in of user {kafka.username!r} ({kafka.sasl_mechanism})"
    advice = "check kafka.username, kafka.password and kafka.sasl_mechanism"
    mechanism = get_sasl_mechanism(kafka.sasl_mechanism)(host=address.rpartition(":")[0], **options)
    while not mechanism.is_done():
        answer = conversation.ask(SaslAuthenticateRequest(version=0, auth_bytes=mechanism.auth_bytes()))
        if answer.error_code:
            raise ConfigurationError(f"{said}: {answer.error_message or answer.error_code}; {advice}")
        try:
            mechanism.receive(answer.auth_bytes)
        except ValueError as error:
            raise ConfigurationError(f"{said}: {error}; {advice}") from error
    if not mechanism.is_authenticated():
        raise ConfigurationError(f"{said}; {advice}")


def _certificate_fault(address: str, kafka: KafkaSettings, error: ssl.SSLCertVerificationError) -> str:
    whose = f"the certificate of the Kafka broker at {address}"
    if error.verify_code in _CERTIFICATE_FAULTS:
        fault = _CERTIFICATE_FAULTS[error.verify_code]
        return (
            f"{whose} {fault} (or this machine's clock is wrong): whoever runs the broker must renew it; "
            "kafka.bootstrap names another broker"
        )
    if error.verify_code in _WRONG_NAME:
        host = address.rpartition(":")[0]
        return f"{whose} is not for {host}: set kafka.bootstrap to the name in it ({error.verify_message})"
    trusted = f"kafka.ssl_cafile ({kafka.ssl_cafile})" if kafka.ssl_cafile else "this machine's authorities"
    return (
        f"{whose} is not signed by {trusted} ({error.verify_message}): set kafka.ssl_cafile to the PEM file "
        "of the authority that signed it"
    )


def _refuse_other_side(address: str, kafka: KafkaSettings, deadline_s: float) -> None:
    """Say so when only one side encrypts: each just hangs up on the other."""
    ours = kafka.security_protocol
    encrypts = not ours.endswith("SSL")
    if (theirs := _spoken(address, encrypts, deadline_s)) is None:
        return
    fault = "wants an encrypted connection" if encrypts else "does not encrypt"
    others = ", and kafka.ssl_cafile" if encrypts else ", or kafka.bootstrap to the encrypted port"
    if theirs.startswith("SASL") and not ours.startswith("SASL"):
        others += ", kafka.sasl_mechanism, kafka.username and kafka.password"
    raise ConfigurationError(
        f"the Kafka broker at {address} {fault}, kafka.security_protocol is {ours}: set it to "
        f"{theirs}{others}"
    )


def _spoken(address: str, encrypted: bool, deadline_s: float) -> str | None:
    """Return the security protocol a broker speaks, with encryption or without; None: it does not."""
    context, plain = None, "PLAINTEXT"
    if encrypted:
        context, plain = ssl.create_default_context(), "SSL"
        # Nothing is sent on this connection but the question.
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with open_line(address, context, deadline_s) as line:
            try:
                answer = Conversation(line, deadline_s).ask(
                    SaslHandshakeRequest(version=1, mechanism="PLAIN")
                )
            except (OSError, KafkaError):
                return plain if encrypted else None
            return plain if answer.error_code == _NO_LOGIN_HERE else f"SASL_{plain}"
    except OSError:
        return None
