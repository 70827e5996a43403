"""Who may log in to a broker with encryption: passwords, and the settings that clients paste."""

from __future__ import annotations

import json
import secrets
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from streamproc.errors import ConfigurationError
from streamproc.settings import KafkaSettings
from streamproc.transports.broker.folders import write_private
from streamproc.transports.broker.properties import Certificates, Node
from streamproc.transports.kafka.nodes import lets_in, rights_of, until_known
from streamproc.transports.kafka.users import Right, allow, put_user, withdraw

__all__ = ["SERVICE", "Users", "toml_settings"]

SERVICE = "streamproc"
"""The user that a service logs in as; what it may do is said by :func:`service_rights`."""

_PASSWORD_BYTES = 24


class Users:
    """The users of a broker with log-in, each with a settings file that only the folder's owner can read.

    Parameters
    ----------
    folder : Path
        The broker's; users' files are in its folder ``clients``.
    nodes : sequence of Node
        All nodes; what a method changes is known to each when it returns, so all have to run.
    certificates : Certificates
        The nodes' own certificate is what administers.
    """

    def __init__(self, folder: Path, nodes: Sequence[Node], certificates: Certificates) -> None:
        self._folder, self._nodes, self._certificates = folder / "clients", list(nodes), certificates
        self._folder.mkdir(mode=0o700, exist_ok=True)

    def inner(self, nodes: Iterable[Node]) -> KafkaSettings:
        """Return how the broker itself reaches ``nodes``: with the certificate that only nodes have."""
        return KafkaSettings(
            bootstrap=",".join(node.inner_address for node in nodes),
            security_protocol="SSL",
            ssl_cafile=self._certificates.authority,
            ssl_certfile=self._certificates.node,
            ssl_keyfile=self._certificates.node,
        )

    def file(self, user: str) -> Path:
        """Return the settings file of a user."""
        return self._folder / f"{user}.toml"

    def add(self, user: str, password: str | None = None) -> None:
        """Make a user known to all nodes; the password is the one given, else the one it has, else random."""
        password = password or self._password(user) or secrets.token_urlsafe(_PASSWORD_BYTES)
        put_user(self.inner(self._nodes), user, password)
        for node in self._nodes:
            own = KafkaSettings(**(self.table(user) | {"password": password, "bootstrap": node.address}))
            until_known(partial(lets_in, own), f"user {user!r}")
        self._write(user, password, None)

    def name_beamline(self, user: str, beamline: str) -> None:
        """Put the beamline into a user's settings file, so that it can be used as it is."""
        self._write(user, self.table_with_password(user)["password"], beamline)

    def table(self, user: str) -> dict[str, str]:
        """Return the ``[kafka]`` table of a user, without the password."""
        return {
            "bootstrap": ",".join(node.address for node in self._nodes),
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "SCRAM-SHA-512",
            "username": user,
            "ssl_cafile": str(self._certificates.authority),
        }

    def table_with_password(self, user: str) -> dict[str, str]:
        """Return the ``[kafka]`` table of a user.

        Raises
        ------
        ConfigurationError
            There is no such user.
        """
        if (password := self._password(user)) is None:
            raise ConfigurationError(f"the broker has no user {user!r}")
        return self.table(user) | {"password": password}

    def allow(self, user: str, rights: Iterable[Right]) -> None:
        """Give rights to a user; all nodes know them when this returns."""
        wanted = frozenset(rights)
        allow(self.inner(self._nodes), user, wanted)
        self._until_all(user, lambda known: wanted <= known)

    def withdraw(self, user: str, rights: Iterable[Right]) -> None:
        """Take rights away from a user; all nodes know it when this returns."""
        gone = frozenset(rights)
        withdraw(self.inner(self._nodes), user, gone)
        self._until_all(user, lambda known: not gone & known)

    def _until_all(self, user: str, right: Callable[[frozenset[Right]], bool]) -> None:
        for node in self._nodes:
            inner = self.inner([node])

            def known(inner: KafkaSettings = inner) -> bool:
                rights = rights_of(inner, user)
                return rights is not None and right(rights)

            until_known(known, f"rights of user {user!r}")

    def _write(self, user: str, password: str, beamline: str | None) -> None:
        text = "# What this user needs to log in, password included: keep it readable by yourself only.\n"
        table = self.table(user) | {"password": password}
        write_private(self.file(user), text + toml_settings(table, beamline))

    def _password(self, user: str) -> str | None:
        try:
            return str(tomllib.loads(self.file(user).read_text())["kafka"]["password"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{self.file(user)}: not the settings of a user ({error}); remove it for a new password"
            ) from error


def toml_settings(kafka: Mapping[str, str], beamline: str | None = None) -> str:
    """Return a settings file: the beamline, if given, and a ``[kafka]`` table."""
    # What JSON makes of text is a basic string of TOML as well.
    head = f"beamline = {json.dumps(beamline)}\n\n" if beamline else ""
    return f"{head}[kafka]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in kafka.items())
