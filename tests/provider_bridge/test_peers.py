"""Whom the bridge serves: relays with a token or a certificate of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
import trustme

from blindrelay.provider_bridge import Bridge, BridgeConfig
from blindrelay.provider_bridge.claims import ClaimMemory
from blindrelay.provider_bridge.peers import PEER_SIZE, Peers
from blindrelay.serving import (
    Address,
    Callers,
    ConfigError,
    ServerTls,
    TokenFile,
    authorization,
    issue_token,
    revoke_token,
)
from blindrelay.trust import IdentityKey
from blindrelay.v1.outer_status import OuterStatus

from .fake_provider import Connection, FakeProvider, Received
from .sealed_caller import SealedCaller

UNKNOWN = "brt_" + "A" * 43


@asynccontextmanager
async def serving(
    config: BridgeConfig, identity: IdentityKey, credentials: grpc.ChannelCredentials | None = None
) -> AsyncIterator[SealedCaller]:
    async with (
        Bridge(config, identity).running() as address,
        SealedCaller(str(address), identity.public_key, credentials=credentials) as caller,
    ):
        yield caller


async def refused(caller: SealedCaller) -> tuple[grpc.StatusCode, str | None]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await caller.directory()
    return error.value.code(), error.value.details()


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    return tmp_path / "relay-tokens"


async def test_a_relay_shows_its_token(config: BridgeConfig, identity: IdentityKey, tokens: Path) -> None:
    token = issue_token(tokens, "relay", datetime.now(UTC))
    async with serving(replace(config, tokens=tokens), identity) as caller:
        for metadata in ((), (authorization(UNKNOWN),), (("authorization", token),)):
            caller.metadata = metadata
            assert await refused(caller) == OuterStatus.UNAUTHENTICATED.value
        caller.metadata = (authorization(token),)
        assert (await caller.exchange()).status == 200
        request = await caller.seal()
        caller.metadata = ()
        call = caller.start(request)  # and nothing sent: the refusal does not wait for it
        assert (await call.code(), await call.details()) == OuterStatus.UNAUTHENTICATED.value
        caller.metadata = (authorization(token),)
        revoke_token(tokens, "relay")
        assert await refused(caller) == OuterStatus.UNAUTHENTICATED.value


async def test_a_missing_tokens_file_is_an_error_at_start(
    config: BridgeConfig, identity: IdentityKey, tokens: Path
) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        Bridge(replace(config, tokens=tokens), identity)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA, tmp_path: Path) -> ServerTls:
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "bridge.pem")
    (tmp_path / "bridge.pem").chmod(0o600)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return ServerTls(tmp_path / "bridge.pem", tmp_path / "bridge.pem", tmp_path / "ca.pem")


def credentials(
    authority: trustme.CA, relay: trustme.CA | None, name: str = "relay.example"
) -> grpc.ChannelCredentials:
    roots = authority.cert_pem.bytes()
    if relay is None:
        return grpc.ssl_channel_credentials(roots)
    own = relay.issue_cert(name)
    return grpc.ssl_channel_credentials(
        roots, own.private_key_pem.bytes(), b"".join(pem.bytes() for pem in own.cert_chain_pems)
    )


async def test_a_relay_shows_its_certificate(
    config: BridgeConfig, identity: IdentityKey, authority: trustme.CA, tls: ServerTls
) -> None:
    config = replace(config, tls=tls)
    async with serving(config, identity, credentials(authority, authority)) as caller:
        assert (await caller.exchange()).status == 200


async def test_claims_are_on_the_account_of_the_certificates_names(
    config: BridgeConfig,
    identity: IdentityKey,
    authority: trustme.CA,
    tls: ServerTls,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peers = []
    claim = ClaimMemory.claim

    def watched(memory: ClaimMemory, exchange_id: bytes, issued_at: int, peer: bytes = b"") -> None:
        peers.append(peer)
        claim(memory, exchange_id, issued_at, peer)

    monkeypatch.setattr(ClaimMemory, "claim", watched)
    async with Bridge(replace(config, tls=tls), identity).running() as address:
        for name in ("one.example", "other.example", "one.example"):
            own = credentials(authority, authority, name)
            async with SealedCaller(str(address), identity.public_key, credentials=own) as caller:
                assert (await caller.exchange()).status == 200
    assert peers[0] == peers[2] != peers[1], "a renewed certificate is the same relay's"
    assert {len(peer) for peer in peers} == {PEER_SIZE}


@pytest.mark.parametrize("foreign", [True, False])
async def test_a_peer_without_the_right_certificate_is_not_served(
    config: BridgeConfig, identity: IdentityKey, authority: trustme.CA, tls: ServerTls, foreign: bool
) -> None:
    relay = trustme.CA() if foreign else None
    async with serving(replace(config, tls=tls), identity, credentials(authority, relay)) as caller:
        assert (await refused(caller))[0] is grpc.StatusCode.UNAVAILABLE


async def test_plaintext_off_loopback_does_not_start(config: BridgeConfig, identity: IdentityKey) -> None:
    bridge = Bridge(replace(config, listen=Address("0.0.0.0", 0)), identity)
    with pytest.raises(ConfigError, match="open to other machines"):
        async with bridge.running():
            pass


async def test_a_relay_leaves_another_its_share_of_exchanges(
    config: BridgeConfig, identity: IdentityKey, tokens: Path
) -> None:
    greedy, modest = (issue_token(tokens, name, datetime.now(UTC)) for name in ("greedy", "modest"))
    async with serving(replace(config, tokens=tokens, max_exchanges=4), identity) as caller:
        caller.metadata = (authorization(greedy),)
        held = [caller.start(await caller.seal()) for _ in range(6)]
        running = {asyncio.create_task(call.code()) for call in held}
        while len(running) > 2:  # which wait for their first message
            ended, running = await asyncio.wait(running, timeout=20, return_when=asyncio.FIRST_COMPLETED)
            assert {task.result() for task in ended} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        caller.metadata = (authorization(modest),)
        assert (await caller.exchange()).status == 200
        caller.metadata = (authorization(greedy),)
        assert await (await caller.send(await caller.seal())).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        for call in held:
            call.cancel()
        await asyncio.wait(running)


async def test_a_relay_whose_requests_wait_for_a_provider_holds_its_own_share(
    config: BridgeConfig, identity: IdentityKey, provider: FakeProvider, tokens: Path
) -> None:
    arrived = asyncio.Semaphore(0)

    async def silent(connection: Connection, _: Received) -> None:
        arrived.release()
        await connection.gone()

    provider.script = silent
    greedy, modest = (issue_token(tokens, name, datetime.now(UTC)) for name in ("greedy", "modest"))
    config = replace(config, tokens=tokens, max_request=131_072, max_buffered=262_144)
    body = b'{"user":"' + b"a" * 131_000 + b'"}'
    async with serving(config, identity) as caller:
        caller.metadata = (authorization(greedy),)
        held = [await caller.send(await caller.seal(body=body)) for _ in range(2)]
        for _ in held:
            await arrived.acquire()
        assert (await caller.exchange(body=body)).code == "OVERLOADED"
        caller.metadata = (authorization(modest),)
        held.append(await caller.send(await caller.seal(body=body)))
        await arrived.acquire()
        for call in held:
            call.cancel()


@pytest.mark.parametrize(
    ("issued", "said", "by_certificate", "count"),
    [
        (None, None, False, 1),
        (None, None, True, 2),
        (None, 5, True, 5),
        (0, None, False, 1),
        (1, None, False, 1),
        (3, None, False, 3),
        (3, 2, False, 2),
    ],
)
def test_peers_are_counted(
    tokens: Path, issued: int | None, said: int | None, by_certificate: bool, count: int
) -> None:
    tokens.touch()
    for number in range(issued or 0):
        issue_token(tokens, f"relay-{number}", datetime.now(UTC))
    callers = None if issued is None else Callers(TokenFile(tokens))
    peers = Peers(callers, said, by_certificate=by_certificate)
    assert peers.count() == count


async def test_a_revoked_relay_is_cut_off(config: BridgeConfig, identity: IdentityKey, tokens: Path) -> None:
    """In the middle of a request; what another relay has begun goes on."""
    ours, others = (issue_token(tokens, name, datetime.now(UTC)) for name in ("ours", "others"))
    async with serving(replace(config, tokens=tokens), identity) as caller:
        caller.metadata = (authorization(ours),)
        calls = []
        for token in (ours, others):
            caller.metadata = (authorization(token),)
            request = await caller.seal(body=bytes(200_000))
            calls.append(caller.start(request))
            await calls[-1].write(request.messages[0])
            await calls[-1].initial_metadata()  # it is claimed
        revoke_token(tokens, "ours")
        async with asyncio.timeout(20):
            assert (await calls[0].code(), await calls[0].details()) == OuterStatus.UNAUTHENTICATED.value
        assert not calls[1].done()
        calls[1].cancel()


async def test_exchanges_at_once_are_bounded(config: BridgeConfig, identity: IdentityKey) -> None:
    async with serving(replace(config, max_exchanges=1), identity) as caller:
        first, second = await caller.seal(), await caller.seal()
        waiting = caller.start(first)
        await waiting.wait_for_connection()
        status = await (await caller.send(second)).code()
        while status is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            status = await (await caller.send(second)).code()
        waiting.cancel()
