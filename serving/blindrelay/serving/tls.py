"""TLS credentials for gRPC from PEM files, which are checked before they are used."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc

from blindrelay.serving.config import Table
from blindrelay.serving.errors import ConfigError
from blindrelay.serving.files import Latest, Version, read_bytes, read_secret, version

OnProblem = Callable[[ConfigError], None]
"""Called when files become unusable while a server runs."""


@dataclass(frozen=True)
class ServerTls:
    """PEM files of a listener. With `client_ca`, only clients with a certificate of that CA are served."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    @classmethod
    def read(cls, table: Table) -> ServerTls:
        """From a [tls] section: certificate, key, client_ca (optional)."""
        return cls(table.path("certificate"), table.path("key"), table.optional_path("client_ca"))

    def credentials(self, on_problem: OnProblem = lambda _: None) -> grpc.ServerCredentials:
        """Credentials for add_secure_port. Raises ConfigError if files are missing or do not match.

        The next connection uses replaced files, and open connections stay. While the new files are missing or
        do not match, the old ones stay in use. `on_problem` is called once for each change, in a gRPC thread.
        Later connections try the files again, at most once a second.
        """
        files = _FollowedFiles(self, on_problem)
        return grpc.dynamic_ssl_server_credentials(
            files.configuration,
            files.changed,  # type: ignore[arg-type]  # None means "as before"; the stubs lack that.
            require_client_authentication=self.client_ca is not None,
        )

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        """The current files. Raises ConfigError."""
        chain, key = _key_pair(self.certificate, self.key)
        roots = None if self.client_ca is None else _roots(self.client_ca)
        return grpc.ssl_server_certificate_configuration([(key, chain)], root_certificates=roots)

    @property
    def files(self) -> tuple[Path, ...]:
        """All that are given."""
        return tuple(path for path in (self.certificate, self.key, self.client_ca) if path is not None)


class _FollowedFiles:
    """The files of a listener, checked for each connection."""

    def __init__(self, tls: ServerTls, on_problem: OnProblem) -> None:
        self._latest = Latest(tls.files, tls.configuration, on_problem)
        self.configuration = self._given = self._latest()

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """The new configuration. None if nothing has changed, or the new files are unusable."""
        latest = self._latest()
        if latest is self._given:
            return None
        self._given = latest
        return latest


@dataclass(frozen=True)
class ChannelTls:
    """PEM files of a channel: the CA to trust (by default gRPC's own roots), and our certificate, if any."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @classmethod
    def read(cls, table: Table) -> ChannelTls:
        """From a [….tls] section: ca, certificate and key, all optional, the last two together."""
        tls = cls(table.optional_path("ca"), table.optional_path("certificate"), table.optional_path("key"))
        if (tls.certificate is None) != (tls.key is None):
            raise table.error("certificate", "goes with key: give both for mutual TLS, or neither")
        return tls

    def credentials(self) -> grpc.ChannelCredentials:
        """Credentials for secure_channel. Raises ConfigError if files are missing or do not match."""
        roots = None if self.ca is None else _roots(self.ca)
        if self.certificate is None or self.key is None:
            return grpc.ssl_channel_credentials(roots)
        chain, key = _key_pair(self.certificate, self.key)
        return grpc.ssl_channel_credentials(roots, private_key=key, certificate_chain=chain)

    def version(self) -> Version:
        """A value that changes whenever one of the files does."""
        return version(*self.files)

    @property
    def files(self) -> tuple[Path, ...]:
        """All that are given."""
        return tuple(path for path in (self.ca, self.certificate, self.key) if path is not None)


def _key_pair(certificate: Path, key: Path) -> tuple[bytes, bytes]:
    """The two files' bytes. Python's ssl checks the pair first, because gRPC's errors do not explain."""
    chain, secret = read_bytes(certificate, "TLS certificate"), read_secret(key, "TLS key")
    try:
        # With an empty password an encrypted key is an error. Otherwise OpenSSL would prompt on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (OSError, ValueError):
        raise ConfigError(
            f"{certificate}, {key}: not a PEM certificate chain with its unencrypted private key"
        ) from None
    return chain, secret


def _roots(path: Path) -> bytes:
    roots = read_bytes(path, "CA certificate")
    try:
        ssl.create_default_context(cadata=roots.decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise ConfigError(f"{path}: not a PEM file of CA certificates") from None
    return roots
