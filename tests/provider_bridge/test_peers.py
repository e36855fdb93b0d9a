"""The bridge serves relays that show a token or a certificate, and each has its share."""

from __future__ import annotations

import asyncio
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

from .conftest import Serve
from .scripted_provider import ScriptedProvider, raw, response
from .sealed_caller import SealedCaller

UNKNOWN = "brt_" + "A" * 43
UNAUTHENTICATED = OuterStatus.UNAUTHENTICATED.value


async def refusal(caller: SealedCaller) -> tuple[grpc.StatusCode, str | None]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await caller.directory()
    return error.value.code(), error.value.details()


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    return tmp_path / "relay-tokens"


Metadata = tuple[tuple[str, str]]


@pytest.fixture
def relays(tokens: Path) -> list[Metadata]:
    """What a greedy relay shows, and what a modest one does."""
    return [(authorization(issue_token(tokens, name, datetime.now(UTC))),) for name in ("greedy", "modest")]


async def test_relay_needs_its_token(
    serve: Serve, config: BridgeConfig, identity: IdentityKey, tokens: Path
) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        Bridge(replace(config, tokens=tokens), identity)
    token = issue_token(tokens, "relay", datetime.now(UTC))
    async with serve(tokens=tokens) as caller:
        for metadata in ((), (authorization(UNKNOWN),), (("authorization", token),)):
            caller.metadata = metadata
            assert await refusal(caller) == UNAUTHENTICATED
        caller.metadata = (authorization(token),)
        assert (await caller.exchange()).status == 200
        request = await caller.seal()
        caller.metadata = ()
        call = caller.start(request)  # and nothing sent: the refusal does not wait for it
        assert (await call.code(), await call.details()) == UNAUTHENTICATED
        caller.metadata = (authorization(token),)
        revoke_token(tokens, "relay")
        assert await refusal(caller) == UNAUTHENTICATED


async def test_plaintext_off_loopback_does_not_start(config: BridgeConfig, identity: IdentityKey) -> None:
    bridge = Bridge(replace(config, listen=Address("0.0.0.0", 0)), identity)
    with pytest.raises(ConfigError, match="open to other machines"):
        async with bridge.running():
            pass


def credentials(authority: trustme.CA, name: str) -> tuple[bytes, bytes]:
    own = authority.issue_cert(name)
    return own.private_key_pem.bytes(), b"".join(pem.bytes() for pem in own.cert_chain_pems)


async def test_relay_needs_a_certificate_whose_names_tell_it_apart(
    config: BridgeConfig, identity: IdentityKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers: list[bytes] = []
    monkeypatch.setattr(ClaimMemory, "claim", lambda _, exchange_id, issued_at, peer: peers.append(peer))
    authority = trustme.CA()
    pem, ca = tmp_path / "bridge.pem", tmp_path / "ca.pem"
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(pem)
    pem.chmod(0o600)
    authority.cert_pem.write_to_path(ca)
    async with Bridge(replace(config, tls=ServerTls(pem, pem, ca)), identity).running() as address:
        for shown, served in (
            (credentials(authority, "one.example"), True),
            (credentials(authority, "other.example"), True),
            (credentials(authority, "one.example"), True),
            (credentials(trustme.CA(), "one.example"), False),
            ((), False),
        ):
            own = grpc.ssl_channel_credentials(ca.read_bytes(), *shown)
            async with SealedCaller(str(address), identity.public_key, credentials=own) as caller:
                if served:
                    assert (await caller.exchange()).status == 200
                else:
                    assert (await refusal(caller))[0] is grpc.StatusCode.UNAVAILABLE
    assert peers[0] == peers[2] != peers[1], "a renewed certificate belongs to the same relay"
    assert {len(peer) for peer in peers} == {PEER_SIZE}


async def test_relay_leaves_others_their_share_of_exchanges(
    serve: Serve, tokens: Path, relays: list[Metadata]
) -> None:
    async with serve(tokens=tokens, max_exchanges=4) as caller:
        caller.metadata = relays[0]
        held = [caller.start(await caller.seal()) for _ in range(6)]
        running = {asyncio.create_task(call.code()) for call in held}
        while len(running) > 2:  # which wait for their first message
            ended, running = await asyncio.wait(running, timeout=20, return_when=asyncio.FIRST_COMPLETED)
            assert {task.result() for task in ended} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        caller.metadata = relays[1]
        assert (await caller.exchange()).status == 200
        caller.metadata = relays[0]
        assert await (await caller.send(await caller.seal())).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        for call in held:
            call.cancel()
        await asyncio.wait(running)


async def test_relay_leaves_others_their_share_of_the_budget(
    serve: Serve, provider: ScriptedProvider, tokens: Path, relays: list[Metadata]
) -> None:
    """Its requests hold room until the provider responds."""
    provider.script = raw(b"")
    body = b'{"user":"' + b"a" * 131_000 + b'"}'
    async with serve(tokens=tokens, max_request=131_072, max_buffered=262_144) as caller:
        caller.metadata = relays[0]
        held = [await caller.send(await caller.seal(body=body)) for _ in range(2)]
        while len(provider.received) < 2:  # noqa: ASYNC110 (there is no event)
            await asyncio.sleep(0.01)
        assert (await caller.exchange(body=body)).failure == ("OVERLOADED", "NOT_STARTED")
        provider.script = response()
        assert (await caller.exchange()).status == 200, "a small one always finds room"
        caller.metadata = relays[1]
        assert (await caller.exchange(body=body)).status == 200
        for call in held:
            call.cancel()


def test_peers_are_counted(tokens: Path) -> None:
    """By the configuration, by the tokens, or as two, so that one relay leaves room for another."""
    tokens.touch()
    callers = Callers(TokenFile(tokens))
    assert [Peers(None).count(), Peers(None, by_certificate=True).count()] == [1, 2]
    assert Peers(callers, 5, by_certificate=True).count() == 5
    counts = [Peers(callers).count()]
    for name in ("one", "two", "three"):
        issue_token(tokens, name, datetime.now(UTC))
        counts.append(Peers(Callers(TokenFile(tokens))).count())
    assert counts == [1, 1, 2, 3]


async def test_revoked_relay_is_cut_off(serve: Serve, tokens: Path, relays: list[Metadata]) -> None:
    """In the middle of a request; what another relay has begun goes on."""
    async with serve(tokens=tokens) as caller:
        calls = []
        for caller.metadata in relays:
            calls.append(await caller.begin(await caller.seal(body=bytes(200_000))))
            await calls[-1].initial_metadata()  # it is claimed
        revoke_token(tokens, "greedy")
        assert (await calls[0].code(), await calls[0].details()) == UNAUTHENTICATED
        assert not calls[1].done()
        calls[1].cancel()
