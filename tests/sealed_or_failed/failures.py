"""Failures between a program and the bridge. Each is a context manager that gives a connection string."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from unittest.mock import patch

import trustme

from blindrelay.client.portal import Portal
from blindrelay.provider_bridge.keys.key_files import load_identity
from blindrelay.testbed.attacks.alterations import at, cut_after, flip, flipped
from blindrelay.testbed.attacks.impostor import delegated
from blindrelay.testbed.attacks.relay import EndedError, Hook, HostileRelay, Passage
from blindrelay.trust import DirectorySigner, IdentityKey, format_identity
from blindrelay.v1.keys_pb2 import KeyDirectory
from blindrelay.v1.outer_status import OuterStatus

from .world import OUTSIDE, World

Failure = Callable[[World], AbstractContextManager[str]]

_PROXY_VARIABLES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "GRPC_PROXY", "WS_PROXY")
_HOST: Final = "127.0.0.1"
_LONG_AGO: Final = datetime(2020, 1, 1, tzinfo=UTC)


def _connecting(by: Callable[[World], str]) -> Failure:
    """With another connection string."""
    return lambda world: nullcontext(by(world))


_OTHER: Final = format_identity(IdentityKey.generate().public_key)

none: Final = _connecting(lambda world: world.bed.relay)
another_pin: Final = _connecting(lambda world: world.bed.relay.replace(world.bed.identity, _OTHER))
another_token: Final = _connecting(lambda world: world.bed.relay.replace(world.bed.token, "brt_wrong"))
no_tls: Final = _connecting(lambda world: world.bed.relay.replace("tls=off", "tls=on"))
no_such_name: Final = _connecting(
    lambda world: world.bed.relay.replace("tls=off", "tls=on").replace(_HOST, "relay.invalid")
)


def gone(part: str) -> Failure:
    """A part is stopped."""

    @contextmanager
    def failure(world: World) -> Iterator[str]:
        world.bed.stop(part)
        try:
            yield world.bed.relay
        finally:
            world.bed.start(part)
            world.bed.wait_until_ready()

    return failure


@asynccontextmanager
async def tls_front(target: tuple[str, int], certificate: trustme.LeafCert) -> AsyncIterator[int]:
    """TLS in front of a relay without it, so that the capture can read what is behind it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2"])
    certificate.configure_cert(context)

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection(*target)
        with suppress(asyncio.CancelledError):  # asyncio would print it
            await asyncio.gather(_passed(reader, behind_writer), _passed(behind_reader, writer))

    server = await asyncio.start_server(take, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


def certified(issue: Callable[[trustme.CA], trustme.LeafCert]) -> Failure:
    """The relay has TLS, with a certificate from the authority that the client trusts or from another."""

    @contextmanager
    def failure(world: World) -> Iterator[str]:
        trusted = trustme.CA()
        trusted.cert_pem.write_to_path(world.folder / "ca.pem")
        relay = world.bed.parts["relay"].listening
        host, _, port = relay.rpartition(":")
        with _running(tls_front((host, int(port)), issue(trusted))) as front:
            connection = world.bed.connection(f"{_HOST}:{front}").replace("tls=off", "tls=on")
            yield f"{connection}&ca={world.folder / 'ca.pem'}"

    return failure


certificate: Final = certified(lambda trusted: trusted.issue_cert(_HOST))
another_authoritys_certificate: Final = certified(lambda _: trustme.CA().issue_cert(_HOST))
another_hosts_certificate: Final = certified(lambda trusted: trusted.issue_cert("relay.example"))
expired_certificate: Final = certified(
    lambda trusted: trusted.issue_cert(
        _HOST, not_before=_LONG_AGO, not_after=datetime.now(UTC) - timedelta(days=1)
    )
)


def hostile(hook: Callable[[], Hook]) -> Failure:
    """A hostile relay."""
    return lambda world: _hostile(world, hook())


@contextmanager
def _hostile(world: World, hook: Hook) -> Iterator[str]:
    async def made() -> HostileRelay:
        return HostileRelay([world.bed.parts["bridge"].listening], hook)

    portal = Portal()
    with _running(portal.call(made()).running(), portal) as address:
        yield world.bed.connection(str(address))


@contextmanager
def _running(server: Any, portal: Portal | None = None) -> Iterator[Any]:
    """An asynchronous context manager, in another thread."""
    portal = portal or Portal()
    running = portal.call(server.__aenter__())
    try:
        yield running
    finally:
        portal.call(server.__aexit__(None, None, None))
        portal.close()


class Refusing(Hook):
    """Ends every exchange with an outer status."""

    def __init__(self, status: OuterStatus) -> None:
        super().__init__()
        self._end = EndedError(*status.value)

    async def carry(self, passage: Passage) -> None:
        raise self._end


def outdated_directory(world: World) -> AbstractContextManager[str]:
    """A directory that the bridge's identity signed correctly, but that is too old."""
    identity, signer = load_identity(world.bed.folder / "identity.key"), DirectorySigner.generate()

    def outdated(directories: list[Any]) -> list[Any]:
        directory = KeyDirectory.FromString(directories[0].directory)
        now = int(time.time())
        directory.started_at, directory.issued_at, directory.expires_at = now - 50, now - 40, now - 20
        return [signer.sign(directory, delegated(identity, signer))]

    return _hostile(world, Hook(directories=outdated))


def forged_directory(world: World) -> AbstractContextManager[str]:
    def forged(directories: list[Any]) -> list[Any]:
        for signed in directories:
            signed.directory = flipped(signed.directory, -1)
        return directories

    return _hostile(world, Hook(directories=forged))


no_directories: Final = hostile(lambda: Hook(directories=lambda _: []))
nonsense_for_directories: Final = hostile(lambda: Hook(directories=lambda _: b"\xff nonsense"))
altered_envelope: Final = hostile(lambda: Hook(envelopes=lambda envelope: [envelope[:-1] + b"\x01"]))
altered_request: Final = hostile(lambda: Hook(up=flip(0, -1)))
altered_answer: Final = hostile(lambda: Hook(down=flip(0, -1)))
cut_answer: Final = hostile(lambda: Hook(down=cut_after(0)))
answer_in_clear: Final = hostile(lambda: Hook(down=at(0, lambda _: [b'{"choices": []}'])))


def _with_variables(names: tuple[str, ...], value: Callable[[World], str]) -> Failure:
    """With these variables in the environment."""

    @contextmanager
    def failure(world: World) -> Iterator[str]:
        with patch.dict(os.environ, dict.fromkeys(names, value(world))):
            yield world.bed.relay

    return failure


proxies_in_the_environment: Final = _with_variables(
    tuple(each for name in _PROXY_VARIABLES for each in (name, name.lower())), lambda world: world.sink.proxy
)
base_urls_in_the_environment: Final = _with_variables(
    ("OPENAI_BASE_URL", "OPENAI_API_BASE", "ANTHROPIC_BASE_URL", "GOOGLE_GEMINI_BASE_URL"),
    lambda _: f"http://{OUTSIDE}/v1",
)
