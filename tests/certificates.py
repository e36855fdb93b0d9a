"""Certificates for 127.0.0.1 in PEM files."""

from __future__ import annotations

from pathlib import Path

import grpc
import trustme

from blindrelay.serving import ChannelTls, ServerTls


class Certificates:
    """A CA, and a certificate of it with its key, in a folder."""

    def __init__(self, folder: Path, ca: trustme.CA | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self.authority = ca or trustme.CA()
        self.ca, self.chain, self.key = (folder / name for name in ("ca.pem", "chain.pem", "key.pem"))
        self.authority.cert_pem.write_to_path(self.ca)
        self.issue("first")

    def issue(self, common_name: str, ca: trustme.CA | None = None) -> None:
        """Writes a new certificate and key to the files, from this CA or another."""
        issued = (ca or self.authority).issue_cert("127.0.0.1", common_name=common_name)
        issued.cert_chain_pems[0].write_to_path(self.chain)
        issued.private_key_pem.write_to_path(self.key)
        self.key.chmod(0o600)

    @property
    def server(self) -> ServerTls:
        return ServerTls(self.chain, self.key)

    def server_credentials(self, *, require_client_auth: bool = False) -> grpc.ServerCredentials:
        """The credentials of a server with another certificate of the CA."""
        issued = self.authority.issue_cert("127.0.0.1")
        pair = issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes()
        roots = self.authority.cert_pem.bytes()
        return grpc.ssl_server_credentials([pair], roots, require_client_auth=require_client_auth)

    def client(self, trusts: Path) -> ChannelTls:
        """A client with this certificate, which trusts this CA."""
        return ChannelTls(trusts, self.chain, self.key)
