"""One connection to one node by hand: resolved, opened and asked, each until a deadline."""

from __future__ import annotations

import queue
import socket
import ssl
import threading
import time
from typing import Any

from kafka.protocol.parser import KafkaProtocol

__all__ = ["Conversation", "open_line"]


def open_line(address: str, context: ssl.SSLContext | None, deadline_s: float) -> socket.socket:
    """Connect to HOST:PORT, encrypted with a ``context``, until the deadline (monotonic clock).

    Raises
    ------
    OSError
        Nobody there, not in time, or what :mod:`ssl` says about the certificate.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    plain = _connect(_resolve(host, int(port), deadline_s), deadline_s)
    try:
        plain.settimeout(_left_s(deadline_s))
        return plain if context is None else context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def _resolve(host: str, port: int, deadline_s: float) -> list[Any]:
    """Look a name up until the deadline; the system's own way has none, and a name server may be slow."""
    found: queue.SimpleQueue[list[Any] | OSError] = queue.SimpleQueue()

    def look() -> None:
        try:
            found.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            found.put(error)

    threading.Thread(target=look, name="streamproc-resolve", daemon=True).start()
    try:
        answer = found.get(timeout=_left_s(deadline_s))
    except queue.Empty:
        raise TimeoutError(f"the name {host} was not resolved in time") from None
    if isinstance(answer, OSError):
        raise answer
    return answer


def _connect(places: list[Any], deadline_s: float) -> socket.socket:
    cause: OSError = ConnectionRefusedError("no address")
    for family, kind, protocol, _, place in places:
        plain = socket.socket(family, kind, protocol)
        try:
            plain.settimeout(_left_s(deadline_s))
            plain.connect(place)
        except OSError as error:
            plain.close()
            cause = error
        else:
            return plain
    raise cause


class Conversation:
    """Requests and answers of the Kafka protocol on one socket, until the deadline."""

    def __init__(self, line: socket.socket, deadline_s: float) -> None:
        self._line, self._deadline_s, self._protocol = line, deadline_s, KafkaProtocol(client_id="streamproc")

    def ask(self, request: Any) -> Any:
        """Return the answer to ``request``; OSError or KafkaError when there is none."""
        self._protocol.send_request(request)
        self._line.settimeout(_left_s(self._deadline_s))
        self._line.sendall(self._protocol.send_bytes())
        while True:
            self._line.settimeout(_left_s(self._deadline_s))
            data = self._line.recv(65536)
            if not data:
                raise ConnectionResetError("closed the connection")
            for _, answer in self._protocol.receive_bytes(data):
                return answer


def _left_s(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("no answer in time")
    return left_s
