"""What Envoy decides by itself, and what it leaves to its control process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from blindrelay.relay_node import accounts, contact
from blindrelay.serving.leases import beginning_of
from blindrelay.serving.tokens import revoke_token
from blindrelay.v1.envelope import routing_text
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.outer_status import OuterStatus
from tests.patience import until
from tests.relay_node.behind_envoy import eventually, loaded, outcome, published
from tests.relay_node.conftest import Billed, RunningRelay, StartBilled, StartRelay
from tests.relay_node.fake_bridge import FakeBridge
from tests.relay_node.raw_client import eventually_served, finish, refusal

pytestmark = pytest.mark.parametrize("data_plane", ["envoy"], indirect=True)


@pytest.fixture
def passed_on(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The methods of the control process that are called for exchanges."""
    calls: list[str] = []
    from blindrelay.relay_node.service import RelayService

    forward = RelayService._forward

    async def noted(self: RelayService, context: Any, tally: Any) -> None:
        calls.append("exchange")
        await forward(self, context, tally)

    monkeypatch.setattr(RelayService, "_forward", noted)
    return calls


async def test_exchange_with_a_lease_and_a_known_key_never_reaches_the_control_process(
    relay: RunningRelay, bridge: FakeBridge, passed_on: list[str]
) -> None:
    assert await relay.client.exchange(bridge.envelope()) == [b"hello"]
    assert await relay.ended(1) == {"ok": 1}
    assert passed_on == []


async def test_key_that_envoy_does_not_know_yet_is_found_by_the_control_process(
    relay: RunningRelay, bridge: FakeBridge, passed_on: list[str]
) -> None:
    bridge.new_keys()
    await eventually_served(relay.client, bridge.envelope)
    assert passed_on
    key = routing_text(Envelope.FromString(bridge.envelope()).key_id)
    await until(lambda: key in published(relay, "routes"))

    async def alone() -> bool:
        passed_on.clear()
        await relay.client.exchange(bridge.envelope())
        return not passed_on

    await eventually(alone)


async def test_control_process_that_stops_lets_envoy_start_nothing(
    relay: RunningRelay, bridge: FakeBridge, passed_on: list[str]
) -> None:
    """Nobody would read Envoy's line of it."""
    await relay.relay._drain()

    async def asked() -> bool:
        await relay.client.exchange(bridge.envelope())
        return passed_on == ["exchange"]

    await eventually(asked)
    assert await relay.client.exchange(bridge.envelope()) == [b"hello"]
    assert passed_on == ["exchange", "exchange"]


@pytest.mark.parametrize("change", ["forged", "of another process", "not a lease"])
async def test_lease_that_is_not_one_is_refused(relay: RunningRelay, bridge: FakeBridge, change: str) -> None:
    head, claims, signature = relay.client.lease.split(".")
    relay.client.lease = {
        "forged": f"{head}.{claims}.{signature[:-8]}AAAAAAAA",
        "of another process": f"{head}.{claims[:-8]}AAAAAAAA.{signature}",
        "not a lease": "brt_" + 43 * "A",
    }[change]
    assert await refusal(relay.client.exchange(bridge.envelope())) is OuterStatus.LEASE_UNKNOWN
    assert bridge.seen == []


async def test_revoked_token_is_refused_within_a_second(relay: RunningRelay, bridge: FakeBridge) -> None:
    name = relay.tokens.read_text().split()[0]
    revoke_token(relay.tokens, name)

    async def refused() -> bool:
        return await outcome(relay.client, bridge) is OuterStatus.LEASE_UNKNOWN

    await eventually(refused)


async def test_bridge_that_is_gone_is_unavailable(relay: RunningRelay, bridge: FakeBridge) -> None:
    await bridge.stop()
    assert await refusal(relay.client.exchange(bridge.envelope())) in (
        OuterStatus.BRIDGE_UNAVAILABLE,
        OuterStatus.KEY_UNKNOWN,
    )


async def test_large_metadata_is_refused(relay: RunningRelay, bridge: FakeBridge) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await relay.client.open(bridge.envelope(), extra=(("x-large", 9_000 * "a"),))
    assert bridge.seen == []


async def test_unusual_max_units_are_compared_with_the_lease(
    start_billed: StartBilled, bridge: FakeBridge
) -> None:
    billed = await start_billed()
    envelope = Envelope.FromString(bridge.envelope())
    envelope.max_units = 2_000_000
    encoded = envelope.SerializeToString(deterministic=True)
    assert await refusal(billed.leased.exchange(encoded)) is OuterStatus.NOT_IN_SCOPE
    assert bridge.seen == []


async def test_ledger_learns_of_each_start_and_end(billed: Billed, bridge: FakeBridge) -> None:
    envelope = bridge.envelope()
    call = await billed.leased.open(envelope)
    await until(lambda: [line.start.envelope for line in billed.ledger.starts()] == [envelope])
    await finish(call)
    await until(lambda: [line.end.outcome for line in billed.ledger.ends()] == ["ok"])
    (end,) = billed.ledger.ends()
    assert end.end.response_bytes >= 4


async def test_rate_of_a_lease_is_enforced(start_billed: StartBilled, bridge: FakeBridge) -> None:
    billed = await start_billed(claims={"rate": "0.01/3"})
    await loaded(billed.relay, '"0.01/3"')
    for _ in range(3):
        assert await billed.leased.exchange(bridge.envelope()) == [b"hello"]
    assert await refusal(billed.leased.exchange(bridge.envelope())) is OuterStatus.LIMIT_RATE
    assert len(bridge.seen) == 3


async def test_rate_of_a_lease_is_enforced_after_its_renewal(
    start_billed: StartBilled, bridge: FakeBridge
) -> None:
    """A client may still show the earlier one, whose rate no other lease has."""
    billed = await start_billed(claims={"jti": "renewed", "rate": "0.01/3"})
    billed.ledger.leases["renewed"] = billed.account
    billed.account.claims["rate"] = "0.02/5"
    await billed.client.leased()
    await loaded(billed.relay, '"0.02/5"')
    for _ in range(3):
        assert await billed.leased.exchange(bridge.envelope()) == [b"hello"]
    assert await refusal(billed.leased.exchange(bridge.envelope())) is OuterStatus.LIMIT_RATE


async def test_account_without_an_allowance_is_left_to_the_control_process(
    start_billed: StartBilled, bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "ALLOWANCE_SECONDS", 0.1)
    billed = await start_billed(free=1, settles=False)
    await loaded(billed.relay, beginning_of(billed.account.name))
    assert await billed.leased.exchange(bridge.envelope()) == [b"hello"]
    assert await refusal(billed.leased.exchange(bridge.envelope())) is OuterStatus.LIMIT_UNITS
    assert len(bridge.seen) == 1


async def test_unusual_exchange_is_counted_once(start_billed: StartBilled, bridge: FakeBridge) -> None:
    """The control process decides about it, and Envoy writes lines of it, too."""
    billed = await start_billed(claims={"units": 3_000_000})
    envelope = bridge.envelope(max_units=2_000_000)
    assert await billed.leased.exchange(envelope) == [b"hello"]
    usual = bridge.envelope()
    assert await billed.leased.exchange(usual) == [b"hello"]
    await until(lambda: len(billed.ledger.ends()) == 2)
    assert [line.start.envelope for line in billed.ledger.starts()] == [envelope, usual]


async def test_account_runs_no_more_at_once_than_it_may(
    start_billed: StartBilled, bridge: FakeBridge
) -> None:
    """Once Envoy knows that it runs as many. As soon as one ends, another may start."""
    billed = await start_billed(claims={"concurrent": 2})
    calls = [await billed.leased.open(bridge.envelope()) for _ in range(2)]
    await loaded(billed.relay, beginning_of(billed.account.name))
    assert await outcome(billed.leased, bridge) is OuterStatus.LIMIT_CONCURRENT
    assert await outcome(await billed.another(), bridge) is None
    for call in calls:
        await finish(call)
    await eventually_served(billed.leased, bridge.envelope)


async def test_silent_ledger_stops_new_exchanges(
    billed: Billed, bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have given the allowance to another process. Running exchanges go on."""
    call = await billed.leased.open(bridge.envelope())
    monkeypatch.setattr(contact, "SILENCE_SECONDS", -1.0)

    async def refused() -> bool:
        return await outcome(billed.leased, bridge) is OuterStatus.LEDGER_UNAVAILABLE

    await eventually(refused)
    await finish(call)
    monkeypatch.setattr(contact, "SILENCE_SECONDS", 60.0)
    await eventually_served(billed.leased, bridge.envelope)


async def test_revoked_lease_is_refused(billed: Billed, bridge: FakeBridge) -> None:
    """Another lease of the account is not."""
    (lease_id,) = billed.ledger.leases
    await billed.ledger.revoke(lease_id)

    async def refused() -> bool:
        return await outcome(billed.leased, bridge) is OuterStatus.LEASE_UNKNOWN

    await eventually(refused)
    assert await outcome(await billed.client.leased(), bridge) is None


async def test_bridge_gets_the_relays_newest_token(
    bridge: FakeBridge, start_relay: StartRelay, tmp_path: Path
) -> None:
    """A file that cannot be read changes nothing."""
    file = tmp_path / "ours"
    file.touch(0o600)
    file.write_text(old := "brt_" + "o" * 43)
    relay = await start_relay(replace(bridge.config, token_file=file))

    async def shown() -> list[str | bytes]:
        await relay.client.exchange(bridge.envelope())
        return [value for key, value in bridge.seen[-1].metadata if key == "authorization"]

    assert await shown() == [f"Bearer {old}"]
    file.write_text("broken")
    await until(lambda: "token_unusable" in relay.events())
    assert await shown() == [f"Bearer {old}"]
    file.write_text(new := "brt_" + "n" * 43)

    async def newest() -> bool:
        return await shown() == [f"Bearer {new}"]

    await eventually(newest)
    assert relay.events().count("token_unusable") == 1


async def test_bridge_learns_nothing_of_the_clients_deadline(relay: RunningRelay, bridge: FakeBridge) -> None:
    for timeout in (73.1, 630, None):
        (await relay.client.open(bridge.envelope(), timeout=timeout)).cancel()
    for seen in bridge.seen:
        assert seen.time_remaining is None or seen.time_remaining > 600
        assert not [key for key, _ in seen.metadata if "timeout" in key]
    assert len({seen.time_remaining is None for seen in bridge.seen}) == 1


async def test_line_that_comes_before_the_routes_is_made_up_for(
    billed: Billed, bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Envoy forwards an exchange of an account that is at its limit by now: it may not know so yet."""
    monkeypatch.setattr(accounts.Accounts, "at_limit", lambda _: {billed.account.name})
    envelope = bridge.envelope()
    await billed.leased.exchange(envelope)
    await until(lambda: len(billed.ledger.ends()) == 1)
    assert [line.start.envelope for line in billed.ledger.starts()] == [envelope]
