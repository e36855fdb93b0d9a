"""The checks of `blindrelay doctor`: one per hop from this machine to the provider."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import Callable, Iterator
from typing import Final

from google.protobuf.message import DecodeError

from blindrelay.client.commands.api_dialects import DIALECTS, Dialect
from blindrelay.client.commands.doctor.findings import Finding, HopError, Status, finding_of
from blindrelay.client.commands.doctor.relay_socket import relay_socket
from blindrelay.client.commands.doctor.tls import handshake
from blindrelay.client.commands.options import dialect_for
from blindrelay.client.commands.sealed_api import AnsweredError, ProviderError, SealedApi
from blindrelay.client.connection_config import DEFAULT_PROVIDER, ConnectionConfig
from blindrelay.client.errors import ConfigurationError, KeyTrustError, RelayError
from blindrelay.client.history_store import HistoryStore, open_history
from blindrelay.client.key_ring import KeyRing
from blindrelay.client.provider_apis import MODELS
from blindrelay.client.relay_connection import RelayConnection
from blindrelay.client.transport import SealedTransport
from blindrelay.trust import (
    DirectoryError,
    FutureDirectoryError,
    StaleDirectoryError,
    VerifiedDirectory,
    format_identity,
    read_directory,
)
from blindrelay.v1.exchange_pb2 import GetKeyDirectoryResponse
from blindrelay.v1.inner_pb2 import Credential
from blindrelay.v1.limits import CLOCK_TOLERANCE
from blindrelay.v1.outer_status import OuterStatus

SECONDS: Final = 10.0
"""The time limit for each hop. A person is waiting."""

NOWHERE: Final = "https://doctor.invalid"
"""An address that no bridge calls (RFC 6761, section 6.4). The refusal is a sealed response."""


class Examination:
    """Checks each hop in order and stops at the first failure, which hides the hops behind it.

    Args:
        configured: returns the connection, or raises ConfigurationError.
        provider: whose API is asked for its models; None means the connection's, or by default the first
            that the bridge serves.
        origin: another server with that API.
    """

    _connection: ConnectionConfig
    _store: HistoryStore
    _ring: KeyRing
    _dialects: list[Dialect]

    def __init__(
        self,
        configured: Callable[[], ConnectionConfig],
        provider: str | None = None,
        origin: str | None = None,
    ) -> None:
        self._configured = configured
        self._given = provider
        self._origin = origin
        self._served = b""
        self._refusal: RelayError | None = None
        self._authentic: list[VerifiedDirectory] = []

    def findings(self) -> Iterator[Finding]:
        """The result of each check, as soon as it is known."""
        checks = {
            "configuration": self._configuration,
            "history": self._history,
            "name": self._name,
            "tcp": self._tcp,
            "tls": self._tls,
            "token": self._token,
            "directory": self._directory,
            "identity": self._identity,
            "clock": self._clock,
            "seal": self._seal,
            "provider": self._provider,
        }
        failed = False
        for name, check in checks.items():
            finding = Finding(name, Status.SKIPPED) if failed else finding_of(name, check)
            failed = failed or finding.status is Status.FAILED
            yield finding

    def _configuration(self) -> str:
        self._connection = self._configured()
        self._dialects = self._dialects_to_try()
        return f"relay {self._connection.target}, bridge {format_identity(self._connection.identity)}"

    def _history(self) -> str:
        self._store = open_history(self._connection)
        self._ring = KeyRing(self._connection.identity, time.time, self._store)
        return "kept in memory only" if self._store.path is None else str(self._store.path)

    def _name(self) -> str:
        # A proxy resolves the relay's name itself.
        hop = self._connection.proxy or self._connection
        host = hop.host
        try:
            found = socket.getaddrinfo(host, hop.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not a valid name"
            raise HopError(
                f"{host} cannot be resolved: {reason}", "check the name and this machine's DNS"
            ) from None
        addresses = sorted({str(entry[4][0]) for entry in found})
        return "an address: nothing to resolve" if _is_address(host) else f"{host} is {', '.join(addresses)}"

    def _tcp(self) -> str:
        began = time.monotonic()
        try:
            relay_socket(self._connection, SECONDS).close()
        except OSError as error:
            reason = "no response" if isinstance(error, TimeoutError) else error.strerror or str(error)
            raise HopError(
                f"no connection to {self._connection.target}: {reason}",
                "check that the relay runs, that the port is right, and that no firewall blocks it",
            ) from None
        by = "" if self._connection.proxy is None else f" through the proxy {self._connection.proxy.address}"
        return f"{self._connection.target}{by} in {_milliseconds(began)}"

    def _tls(self) -> str:
        if not self._connection.tls:
            return "off: the relay is on this machine"
        try:
            return handshake(self._connection, SECONDS)
        except OSError as error:  # ssl.SSLError is one
            raise HopError(*_tls_failure(error, self._connection)) from None

    def _token(self) -> str:
        try:
            self._served = asyncio.run(_directories(self._connection))
        except RelayError as error:
            if error.status is OuterStatus.UNAUTHENTICATED:
                remedy = "ask the relay's operator for a token, and check the configured one"
                raise HopError("the relay does not know this access token", remedy) from None
            if error.status is None:
                raise
            self._refusal = error  # the relay checks the token first
        return "accepted" if self._connection.token else "none given, none required"

    def _directory(self) -> str:
        if self._refusal is not None:
            raise self._refusal
        try:
            count = len(GetKeyDirectoryResponse.FromString(self._served).directories)
        except DecodeError:
            count = 0
        if not count:
            raise HopError(
                "the relay serves no key directory",
                "no bridge is up behind this relay: ask the bridge's operator, then the relay's",
            )
        return f"{count} {'replica' if count == 1 else 'replicas'}, {len(self._served):,} bytes"

    def _identity(self) -> str:
        failure = None
        try:
            self._ring.take(self._served, self._ring.generation)
        except KeyTrustError as error:
            failure = error
        self._authentic = self._ring.directories or self._of_another_time()
        if failure is not None and not self._authentic:
            remedy = "compare the identity with the bridge's operator, not the relay's (docs/keys.md)"
            raise HopError(str(failure), remedy)
        return "signed by the pinned bridge"

    def _of_another_time(self) -> list[VerifiedDirectory]:
        """The directories that the pinned identity signed, if only their dates do not fit this clock."""
        of_dates = [
            isinstance(each, FutureDirectoryError | StaleDirectoryError) for each in self._ring.refusals
        ]
        if not of_dates or not all(of_dates):
            return []
        authentic = []
        for signed in GetKeyDirectoryResponse.FromString(self._served).directories:
            try:
                authentic.append(read_directory(signed, self._connection.identity))
            except DirectoryError:
                continue
        return authentic

    def _clock(self) -> str:
        ahead = int(time.time()) - max(each.issued_at for each in self._authentic)
        if not self._ring.directories or abs(ahead) > CLOCK_TOLERANCE:
            way = "ahead of" if ahead > 0 else "behind"
            raise HopError(
                f"this machine's clock is {_span(abs(ahead))} {way} the bridge's newest signature",
                "set the clock (timedatectl set-ntp true); if it is right, the relay serves old keys",
            )
        return f"{abs(ahead)} s {'after' if ahead >= 0 else 'before'} the bridge's newest signature"

    def _seal(self) -> str:
        began = time.monotonic()
        with self._api(self._dialects[0], NOWHERE) as api:
            try:
                api.models()
            except AnsweredError as error:
                if (error.origin, error.kind) == ("bridge", "not_allowed"):
                    return f"request and response were opened in {_milliseconds(began)}"
                raise
            except ProviderError:
                pass
        raise HopError(
            "the bridge called an address that does not exist", "its lists allow too much: ask its operator"
        )

    def _dialects_to_try(self) -> list[Dialect]:
        connection = self._connection
        if self._given is not None or connection.provider != DEFAULT_PROVIDER:
            return [dialect_for(self._given, connection)]
        brought = connection.credential == Credential.CREDENTIAL_BROUGHT
        return [each for name, each in DIALECTS.items() if name != MODELS or connection.keys or not brought]

    def _provider(self) -> str:
        for dialect in self._dialects[:-1]:
            try:
                return self._models(dialect)
            except AnsweredError as error:
                if error.kind != "not_allowed":
                    raise
        return self._models(self._dialects[-1])

    def _models(self, dialect: Dialect) -> str:
        with self._api(dialect, self._origin) as api:
            count = len(api.models())
        return f"{dialect.name} lists {count} {'model' if count == 1 else 'models'}"

    def _api(self, dialect: Dialect, origin: str | None) -> SealedApi:
        transport = SealedTransport(self._connection)
        try:
            return SealedApi(transport, dialect, origin)
        except ConfigurationError as error:
            remedy = "set the variable, or remove credentials=brought: the bridge then adds its own key"
            raise HopError(str(error), remedy) from None


async def _directories(connection: ConnectionConfig) -> bytes:
    relay = RelayConnection(connection)
    try:
        await relay.connect(SECONDS)
        return await relay.directories()
    finally:
        await relay.close()


def _tls_failure(error: OSError, connection: ConnectionConfig) -> tuple[str, str]:
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the relay's certificate is not valid: {error.verify_message}",
            "name, dates and issuer must match; ca=FILE sets the root of a private certificate",
        )
    reason = getattr(error, "reason", None) or error.strerror or "the connection was closed"
    return (
        f"no TLS on {connection.target}: {reason}",
        "check that this is the relay's port; if a relay on this machine has no TLS: tls=off (init --no-tls)",
    )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _milliseconds(began: float) -> str:
    return f"{(time.monotonic() - began) * 1_000:.0f} ms"


def _span(seconds: int) -> str:
    minutes = seconds // 60
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {seconds % 60} s"
