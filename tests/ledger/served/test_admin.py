"""The admin service: who may call it, what its errors say, what is written down."""

from __future__ import annotations

import stat
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from blindrelay.admin.v1 import admin_pb2 as admin
from blindrelay.admin.v1.admin_pb2 import DESCRIPTOR
from blindrelay.ledger.administration.service import SERVICE
from blindrelay.ledger.administration.unit_calls import code_digest, new_code
from blindrelay.serving import authorization, read_token
from tests.ledger.served.conftest import RunningLedger
from tests.ledger.served.fake_bridge import FakeBridge
from tests.ledger.served.node import Node, digest
from tests.patience import PATIENCE

METHODS = [method.name for method in DESCRIPTOR.services_by_name["AdminService"].methods]


async def failure(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value.code(), error.value.details() or ""


@pytest.mark.parametrize("shown", [(), (authorization("brt_" + "x" * 43),), (("authorization", "Basic x"),)])
async def test_every_method_needs_the_admin_token(ledger: RunningLedger, shown: tuple[Any, ...]) -> None:
    async with grpc.aio.insecure_channel(str(ledger.config.admin)) as channel:
        for name in METHODS:
            call: Any = channel.unary_unary(f"/{SERVICE}/{name}")
            code, details = await failure(call(b"", metadata=shown, timeout=PATIENCE))
            assert (code, details) == (
                grpc.StatusCode.UNAUTHENTICATED,
                "the admin token is missing or wrong",
            )


async def test_a_relays_token_is_not_the_admins(ledger: RunningLedger) -> None:
    async with grpc.aio.insecure_channel(str(ledger.config.admin)) as channel:
        call: Any = channel.unary_unary(f"/{SERVICE}/Check")
        code, _ = await failure(call(b"", metadata=(authorization(ledger.relay_token),), timeout=PATIENCE))
        assert code is grpc.StatusCode.UNAUTHENTICATED


async def test_the_admin_token_is_private(ledger: RunningLedger) -> None:
    assert stat.S_IMODE(ledger.config.admin_token.stat().st_mode) == 0o600
    assert read_token(ledger.config.admin_token).startswith("brt_")


async def test_reflection_lists_the_service(ledger: RunningLedger) -> None:
    async with grpc.aio.insecure_channel(str(ledger.config.admin)) as channel:
        ask: Any = channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            ServerReflectionRequest.SerializeToString,
            ServerReflectionResponse.FromString,
        )
        call = ask(iter([ServerReflectionRequest(list_services="")]), timeout=PATIENCE)
        response = await call.read()
    assert SERVICE in [each.name for each in response.list_services_response.service]


@pytest.mark.parametrize(
    ("method", "request_", "code"),
    [
        ("GetAccount", admin.GetAccountRequest(account="nobody"), grpc.StatusCode.NOT_FOUND),
        ("AddAccount", admin.AddAccountRequest(name="ann"), grpc.StatusCode.ALREADY_EXISTS),
        ("AddAccount", admin.AddAccountRequest(name="no/slash"), grpc.StatusCode.INVALID_ARGUMENT),
        ("RevokeToken", admin.RevokeTokenRequest(id="nothing"), grpc.StatusCode.NOT_FOUND),
        ("AddVouchers", admin.AddVouchersRequest(units=1, count=1_001), grpc.StatusCode.INVALID_ARGUMENT),
        (
            "SetLimits",
            admin.SetLimitsRequest(account="ann", mask=FieldMask(paths=["colour"])),
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
        ("AddPageLink", admin.AddPageLinkRequest(), grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_an_error_says_what_is_wrong(
    ledger: RunningLedger, method: str, request_: Any, code: grpc.StatusCode
) -> None:
    await ledger.account()
    found, details = await failure(getattr(ledger.admin, method)(request_))
    assert found is code
    assert details


async def test_a_mask_sets_and_removes_limits_and_leaves_the_others(ledger: RunningLedger) -> None:
    await ledger.account()
    quota = admin.Quota(amount=10, per=admin.PERIOD_DAY)
    await ledger.limit(rate=2, concurrent=3, units=quota)
    limits = (await ledger.limit("rate", "units")).limits
    assert not limits.HasField("rate")
    assert not limits.HasField("units")
    assert (limits.concurrent, limits.max_units) == (3, 1_000_000)


async def test_a_credit_counts_once_for_each_reference(ledger: RunningLedger) -> None:
    await ledger.account()
    request = admin.AddCreditRequest(account="ann", units=5, reference="invoice 7")
    assert not (await ledger.admin.AddCredit(request)).repeated_reference
    again = await ledger.admin.AddCredit(request)
    assert again.repeated_reference
    assert again.account.balance == 5
    other = admin.AddCreditRequest(account="ann", units=6, reference="invoice 7")
    code, _ = await failure(ledger.admin.AddCredit(other))
    assert code is grpc.StatusCode.ALREADY_EXISTS


async def test_a_voucher_works_once(ledger: RunningLedger) -> None:
    await ledger.account()
    made = await ledger.admin.AddVouchers(admin.AddVouchersRequest(units=9, count=2))
    typed = made.codes[0].lower().replace("-", " ")
    request = admin.RedeemVoucherRequest(account="ann", code=typed)
    redeemed = await ledger.admin.RedeemVoucher(request)
    assert (redeemed.units, redeemed.account.balance) == (9, 9)
    assert (await failure(ledger.admin.RedeemVoucher(request)))[0] is grpc.StatusCode.NOT_FOUND
    await ledger.admin.RevokeVoucher(admin.RevokeVoucherRequest(id=made.vouchers[1].id))
    revoked = admin.RedeemVoucherRequest(account="ann", code=made.codes[1])
    assert (await failure(ledger.admin.RedeemVoucher(revoked)))[0] is grpc.StatusCode.NOT_FOUND
    states = (await ledger.admin.ListVouchers(admin.ListVouchersRequest())).vouchers
    assert sorted((bool(each.redeemed_at), bool(each.revoked_at)) for each in states) == [
        (False, True),
        (True, False),
    ]


def test_a_code_is_hard_to_guess_and_easy_to_type() -> None:
    codes = {new_code() for _ in range(100)}
    assert len(codes) == 100
    assert {len(code) for code in codes} == {29}
    assert code_digest("ab-cd EF") == code_digest("ABCDEF") != code_digest("ABCDEG")


async def test_a_token_leads_to_its_account(ledger: RunningLedger) -> None:
    token = await ledger.account()
    found = await ledger.admin.FindAccount(admin.FindAccountRequest(token_digest=digest(token)))
    assert found.account == "ann"
    unknown = admin.FindAccountRequest(token_digest=bytes(32))
    assert (await failure(ledger.admin.FindAccount(unknown)))[0] is grpc.StatusCode.NOT_FOUND


async def test_every_change_is_written_down_with_who_made_it(ledger: RunningLedger) -> None:
    token = await ledger.account(units=5)
    await ledger.admin.UpdateAccount(admin.UpdateAccountRequest(account="ann", enabled=False))
    entries = (await ledger.admin.ListAudit(admin.ListAuditRequest())).entries
    assert len(entries) == 4
    assert {entry.actor.partition(":")[0] for entry in entries} == {"cli"}
    assert "ann" in entries[0].subject
    assert [entry.number for entry in entries] == sorted((each.number for each in entries), reverse=True)
    earlier = await ledger.admin.ListAudit(admin.ListAuditRequest(before=entries[0].number, limit=1))
    assert [each.number for each in earlier.entries] == [entries[1].number]
    assert token not in str(entries)


async def test_the_newest_lines_of_a_statement(ledger: RunningLedger, node: Node, bridge: FakeBridge) -> None:
    token = await ledger.account(units=5)
    await ledger.credit(6, reference="order 2")
    lease = await node.good_lease(token)
    for units in (1, 2, 3):
        envelope = bridge.envelope()
        await node.start(lease, envelope)
        await bridge.settle(envelope, units)
    request = admin.GetStatementRequest(account="ann", newest=2)
    (page,) = [page async for page in ledger.admin.GetStatement(request)]
    assert [line.units for line in page.lines] == [3, 2]
    assert [line.units for line in page.credits] == [6, 5]
    assert (page.balance, page.charged) == (5, 6)


async def test_the_overview_adds_up(ledger: RunningLedger, node: Node, bridge: FakeBridge) -> None:
    token = await ledger.account(units=100)
    await ledger.account("bob")
    await node.lease((await ledger.admin.IssueToken(admin.IssueTokenRequest(account="bob"))).token)
    lease, envelope = await node.good_lease(token), bridge.envelope()
    await node.start(lease, envelope)
    await bridge.settle(envelope, 30)
    found = await ledger.admin.GetOverview(admin.GetOverviewRequest())
    assert (found.accounts, found.enabled_accounts, found.balance) == (2, 2, 70)
    assert (found.charged_today, found.open, found.nodes) == (found.days[-1].units, 0, 1)
    assert {each.status: each.count for each in found.refusals} == {"limit_units": 1}
    # Of two days, in case that midnight has just passed.
    assert sum(day.units for day in found.days[-2:]) == 30
    assert sum(day.exchanges for day in found.days[-2:]) == 1
