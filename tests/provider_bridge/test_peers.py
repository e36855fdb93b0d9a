"""The bridge serves relays that show a token or a certificate, and shares evenly among them what it has."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import grpc
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from blindrelay.provider_bridge import Bridge, BridgeConfig
from blindrelay.provider_bridge.claims import ClaimMemory
from blindrelay.provider_bridge.errors import RequestError
from blindrelay.provider_bridge.peers import PEER_SIZE, Peers
from blindrelay.provider_bridge.quota import Quota
from blindrelay.provider_bridge.request_budget import SMALL_REQUEST, RequestBudget
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
from blindrelay.v1.inner_pb2 import ERROR_CODE_OVERLOADED, EXECUTION_NOT_STARTED
from blindrelay.v1.outer_status import OuterStatus
from tests.patience import PATIENCE

from .conftest import Serve
from .scripted_provider import ScriptedProvider, raw, response
from .sealed_caller import SealedCaller


def take_all(quota: Quota, peer: bytes) -> int:
    """How much a peer gets, one by one."""
    count = 0
    while quota.take(peer):
        count += 1
    return count


def test_greedy_peers_leave_each_other_their_shares() -> None:
    for peers in (1, 2, 3, 7, 1_000):
        quota = Quota(1_000, partial(int, peers))
        assert {take_all(quota, b"%d" % number) for number in range(peers)} == {1_000 // peers}
    quota = Quota(100, lambda: 50, least=40)
    takes = [(b"one", 40, True), (b"one", 1, False), (b"other", 40, True), (b"third", 40, False)]
    assert [quota.take(peer, amount) for peer, amount, _ in takes] == [taken for *_, taken in takes]
    assert quota.take(b"third", 20), "there is no more than the capacity"


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40), st.booleans(), st.integers(1, 4))))
def test_room_depends_on_what_the_peer_holds_alone(history: list[tuple[int, int, bool, int]]) -> None:
    peers = 1
    quota = Quota(100, lambda: peers, least=10)
    held = dict.fromkeys(range(4), 0)
    for peer, amount, more, count in history:
        peers = count
        if more:
            fits = held[peer] + amount <= quota.share and sum(held.values()) + amount <= quota.capacity
            assert quota.take(bytes([peer]), amount) is fits
            held[peer] += amount if fits else 0
        elif amount := min(amount, held[peer]):
            quota.give_back(bytes([peer]), amount)
            held[peer] -= amount
        assert quota.held == sum(held.values()) <= quota.capacity


@pytest.fixture
def budget() -> Iterator[RequestBudget]:
    """Of 200 bytes, for two peers."""
    budget = RequestBudget(Quota(200, lambda: 2))
    yield budget
    assert budget.held == 0


def test_requests_of_a_peer_are_bounded_together(budget: RequestBudget) -> None:
    with budget.share(b"peer") as one, budget.share(b"peer") as other, budget.share(b"modest") as modest:
        one.add(SMALL_REQUEST + 60)
        other.add(SMALL_REQUEST)
        other.add(40)
        with pytest.raises(RequestError) as refused:
            other.add(1)
        assert (refused.value.code, refused.value.execution) == (ERROR_CODE_OVERLOADED, EXECUTION_NOT_STARTED)
        modest.add(SMALL_REQUEST + 100)
        for _ in range(100):
            with budget.share(b"peer") as small:
                small.add(SMALL_REQUEST // 2)
                small.add(SMALL_REQUEST // 2)
        one.release()
        other.add(60)
        assert budget.held == 200


def test_room_is_given_back(budget: RequestBudget) -> None:
    """After an error, and after each message of a tunnel."""
    with suppress(KeyError), budget.share(b"peer") as share:
        share.add(SMALL_REQUEST + 100)
        raise KeyError
    with budget.share(b"peer") as share:
        for _ in range(10):
            share.add(SMALL_REQUEST)
            share.add(80)
            share.release()


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
            ended, running = await asyncio.wait(
                running, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED
            )
            assert {task.result() for task in ended} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        caller.metadata = relays[1]
        assert (await caller.exchange()).status == 200
        caller.metadata = relays[0]
        refused = caller.start(await caller.seal())  # sends nothing: a write after the refusal would fail
        assert await refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
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
        await provider.asked(2)
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
