"""/metrics, /healthz and /readyz on a small HTTP server of the standard library."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from streamproc.errors import ConfigurationError

__all__ = ["StatusServer"]

Check = Callable[[], tuple[bool, Mapping[str, Any]]]


class StatusServer:
    """Serves the status of one service from a daemon thread.

    Parameters
    ----------
    host, port
        Where to listen; port 0 takes any free one (see :attr:`port`).
    metrics : callable
        Returns the Prometheus text.
    healthy, ready : callable
        Return (ok, details); not ok answers 503.

    Raises
    ------
    ConfigurationError
        When the address cannot be listened on.
    """

    def __init__(
        self, host: str, port: int, metrics: Callable[[], bytes], healthy: Check, ready: Check
    ) -> None:
        checks = {"/healthz": healthy, "/readyz": ready}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/metrics":
                    self._answer(200, "text/plain; version=0.0.4; charset=utf-8", metrics())
                elif self.path in checks:
                    ok, details = checks[self.path]()
                    body = json.dumps({"ok": ok, **details}, default=str).encode()
                    self._answer(200 if ok else 503, "application/json", body)
                else:
                    self._answer(404, "text/plain", b"try /metrics, /healthz or /readyz\n")

            def _answer(self, status: int, kind: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing: probes come every few seconds."""

        try:
            self._server = _Server((host, port), Handler)
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {host}:{port} for /metrics: {error.strerror}; set observability.http_port"
            ) from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="status", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port listened on."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=2.0)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of one who asked and did not wait for the answer."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)
