from __future__ import annotations

import json
import socket
import struct
import threading
import urllib.error
import urllib.request

import pytest

from streamproc.errors import ConfigurationError
from streamproc.observability.http import StatusServer
from streamproc.observability.metrics import ServiceMetrics


def get(server, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_health_readiness_and_metrics_answer_over_http():
    metrics, state = ServiceMetrics("toy"), {"ready": False}
    metrics.frame("done", 0.25)
    server = StatusServer(
        "127.0.0.1", 0, metrics.text, lambda: (True, {"turns": 3}), lambda: (state["ready"], {})
    )
    try:
        assert get(server, "/healthz") == (200, json.dumps({"ok": True, "turns": 3}))
        assert get(server, "/readyz")[0] == 503
        state["ready"] = True
        assert get(server, "/readyz")[0] == 200
        status, text = get(server, "/metrics")
        assert status == 200
        assert 'streamproc_latency_seconds_count{analysis="toy"} 1.0' in text
        assert get(server, "/etc/passwd")[0] == 404
        with pytest.raises(ConfigurationError, match="http_port"):
            StatusServer("127.0.0.1", server.port, metrics.text, lambda: (True, {}), lambda: (True, {}))
    finally:
        server.close()


def test_two_services_in_one_process_count_apart():
    one, two = ServiceMetrics("toy"), ServiceMetrics("toy")
    one.frame("done")
    assert b'outcome="done"' not in two.text()


def test_one_who_does_not_wait_for_the_answer_is_no_failure(capsys):
    asked, gone, told = threading.Event(), threading.Event(), []

    def metrics():
        told.append(threading.current_thread())
        asked.set()
        gone.wait(30)
        return b"x" * 10_000_000

    server = StatusServer("127.0.0.1", 0, metrics, lambda: (True, {}), lambda: (True, {}))
    try:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert asked.wait(30)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gone.set()
        assert get(server, "/healthz")[0] == 200
        told[0].join(30)
        assert capsys.readouterr().err == ""
    finally:
        server.close()
