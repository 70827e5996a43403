from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time

import pytest

from streamproc.errors import ConfigurationError
from streamproc.settings import KafkaSettings
from streamproc.transports.broker.certificates import make_certificates
from streamproc.transports.kafka.connect import client_options
from streamproc.transports.kafka.login import find_open_address


@contextlib.contextmanager
def tls_port(certificates):
    """A port that begins an encrypted connection and says nothing more."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    line, _ = server.accept()
                    with contextlib.suppress(OSError), context.wrap_socket(line, server_side=True) as secure:
                        secure.recv(1000)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def said_about(address, authority):
    """What is said about an address within a deadline that is far away."""
    kafka = KafkaSettings(bootstrap=address, security_protocol="SSL", ssl_cafile=authority)
    begin = time.monotonic()
    with pytest.raises(ConfigurationError) as caught:
        find_open_address(kafka, [address], client_options(kafka), begin + 300)
    assert time.monotonic() - begin < 20
    return caught.value.message


def test_an_expired_certificate_is_said_to_have_expired(tmp_path):
    made = make_certificates(tmp_path, ["127.0.0.1"], -1.0)
    with tls_port(made) as address:
        said = said_about(address, made.authority)
    assert "has expired" in said and address in said


def test_a_certificate_for_another_name_is_said_to_be(tmp_path):
    made = make_certificates(tmp_path, ["elsewhere.example"], 1.0)
    with tls_port(made) as address:
        said = said_about(address, made.authority)
    assert "is not for 127.0.0.1" in said and "kafka.bootstrap" in said


def test_a_certificate_of_another_authority_names_the_setting(tmp_path):
    made = make_certificates(tmp_path / "a", ["127.0.0.1"], 1.0)
    other = make_certificates(tmp_path / "b", ["127.0.0.1"], 1.0)
    with tls_port(made) as address:
        said = said_about(address, other.authority)
    assert "not signed by kafka.ssl_cafile" in said and str(other.authority) in said


def test_an_authority_is_kept_and_keys_are_private(tmp_path):
    first = make_certificates(tmp_path, ["localhost"], 1.0)
    authority, server = first.authority.read_bytes(), first.server.read_bytes()
    again = make_certificates(tmp_path, ["localhost"], 1.0)
    assert again.authority.read_bytes() == authority and again.server.read_bytes() != server
    for path in (again.server, again.node, tmp_path / "ca.key"):
        assert path.stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE" not in again.authority.read_bytes()


def test_a_broken_authority_is_one_sentence(tmp_path):
    make_certificates(tmp_path, ["localhost"], 1.0)
    (tmp_path / "ca.key").write_text("broken")
    with pytest.raises(ConfigurationError, match=r"ca\.key: no authority of a broker"):
        make_certificates(tmp_path, ["localhost"], 1.0)
