"""TLS credentials for gRPC from PEM files, checked before they are used."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from blindrelay.serving.config import Table
from blindrelay.serving.errors import ConfigError


@dataclass(frozen=True)
class ServerTls:
    """PEM files of a listener; with `client_ca`, only clients with a certificate of that CA are served."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    @classmethod
    def read(cls, table: Table) -> ServerTls:
        """From a [tls] section: certificate, key, client_ca (optional)."""
        return cls(table.path("certificate"), table.path("key"), table.optional_path("client_ca"))

    def credentials(self) -> grpc.ServerCredentials:
        """Credentials for add_secure_port. Raises ConfigError for files that are missing or do not fit."""
        chain, key = _key_pair(self.certificate, self.key)
        roots = None if self.client_ca is None else _roots(self.client_ca)
        return grpc.ssl_server_credentials(
            [(key, chain)], root_certificates=roots, require_client_auth=roots is not None
        )


@dataclass(frozen=True)
class ChannelTls:
    """PEM files of a channel: whom to trust (None: the system's roots), and who we are (None: nobody)."""

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
        """Credentials for secure_channel. Raises ConfigError for files that are missing or do not fit."""
        roots = None if self.ca is None else _roots(self.ca)
        if self.certificate is None or self.key is None:
            return grpc.ssl_channel_credentials(roots)
        chain, key = _key_pair(self.certificate, self.key)
        return grpc.ssl_channel_credentials(roots, private_key=key, certificate_chain=chain)


def read_bytes(path: Path, what: str) -> bytes:
    """A small file's bytes. Raises ConfigError, with `what` naming the file's purpose."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path}: the {what} does not exist") from None
    except OSError as error:
        raise ConfigError(f"{path}: the {what} cannot be read ({error.strerror})") from None


def _key_pair(certificate: Path, key: Path) -> tuple[bytes, bytes]:
    """The two files' bytes, once Python's own TLS has accepted the pair: gRPC's error would say nothing."""
    chain, secret = read_bytes(certificate, "TLS certificate"), read_bytes(key, "TLS key")
    try:
        # The empty password refuses encrypted keys, which would otherwise be asked for at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError):
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
