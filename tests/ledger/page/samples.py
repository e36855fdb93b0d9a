"""Answers of an admin service in use, for the pages to be looked at."""

from __future__ import annotations

import hashlib
import json
from datetime import date, timedelta
from typing import Any

from blindrelay.admin.v1.admin_pb2 import (
    Account,
    AuditEntry,
    Bridge,
    CreditLine,
    DayUnits,
    Evidence,
    EvidenceKind,
    FindAccountResponse,
    GetAccountResponse,
    GetOverviewResponse,
    GetSettlementResponse,
    GetStatementResponse,
    IssueTokenResponse,
    Limits,
    ListAccountsResponse,
    ListAuditResponse,
    ListEvidenceResponse,
    ListVouchersResponse,
    Period,
    Quota,
    QuotaUse,
    Refusals,
    Replica,
    RotateTokenResponse,
    Scope,
    Token,
    Voucher,
)
from blindrelay.v1.accounts_pb2 import LineState, StatementLine
from blindrelay.v1.receipts_pb2 import Basis, Receipt, SignedReceipt

NOW = 1_796_000_000.0
"""30 November 2026, 00:53 UTC."""

IDENTITY = "br1" + "q7c4xkz2" * 7
TOKEN = "brt_" + "Ab3-" * 10 + "xyz"
NOW_SECONDS = int(NOW)
DAY = 86_400

LIMITS = Limits(
    concurrent=20,
    rate=2.5,
    units=Quota(amount=2_000_000, per=Period.PERIOD_MONTH),
    exchanges=Quota(amount=5_000, per=Period.PERIOD_DAY),
    bytes=Quota(amount=10**12),
)

ACME = Account(
    name="acme",
    pseudonym="k3JdW0x9aaQzTn1B",
    enabled=True,
    created_at=NOW_SECONDS - 40 * DAY,
    balance=1_284_500,
    charged=715_500,
    outstanding=3,
    overdraft_bound=20_000_000,
    limits=LIMITS,
    uses=[
        QuotaUse(quota="units", used=715_500, resets_at=NOW_SECONDS + 2 * DAY),
        QuotaUse(quota="exchanges", used=4_910, resets_at=NOW_SECONDS + DAY),
        QuotaUse(quota="bytes", used=81_234_567_890),
    ],
)

BASTION = Account(
    name="bastion-of-the-northern-research-group", enabled=True, balance=-40_000, charged=540_000
)
CLOSED = Account(
    name="closed.example", enabled=False, balance=12, charged=1_000_000, expires_at=NOW_SECONDS - DAY
)

TOKENS = [
    Token(id="t7Kx", name="laptop", created_at=NOW_SECONDS - 40 * DAY, last_used=NOW_SECONDS - DAY),
    Token(
        id="q2Lm",
        name="build-server",
        created_at=NOW_SECONDS - 9 * DAY,
        expires_at=NOW_SECONDS + 80 * DAY,
        scope=Scope(bridges=[IDENTITY], addresses=["192.0.2.0/24", "2001:db8::/32"]),
    ),
    Token(id="a0Zz", name="old", created_at=NOW_SECONDS - 90 * DAY, revoked_at=NOW_SECONDS - 50 * DAY),
]


def line(
    number: int, state: LineState.ValueType, units: int = 0, basis: Basis.ValueType | None = None
) -> StatementLine:
    """A line of a statement, with a receipt if there is a basis."""
    found = StatementLine(
        envelope_hash=hashlib.sha256(bytes([number])).digest(),
        at=(NOW_SECONDS - 777 * number) // 60 * 60,
        state=state,
        units=units,
        token="laptop" if number % 3 else "build-server",
    )
    if basis is not None:
        found.receipt.CopyFrom(SignedReceipt(receipt=Receipt(version=1, basis=basis).SerializeToString()))
    return found


LINES = [
    line(1, LineState.LINE_STATE_RESERVED),
    line(2, LineState.LINE_STATE_POSTED, 2_000, Basis.BASIS_METERED),
    line(3, LineState.LINE_STATE_POSTED, 0, Basis.BASIS_NOT_STARTED),
    line(4, LineState.LINE_STATE_POSTED, 100_000, Basis.BASIS_ESTIMATED),
    line(5, LineState.LINE_STATE_VOIDED),
    line(6, LineState.LINE_STATE_LAPSED),
]

STATEMENT = GetStatementResponse(
    balance=ACME.balance,
    charged=715_500,
    lines=LINES,
    credits=[
        CreditLine(at=NOW_SECONDS - 3 * DAY, units=1_000_000, reference="order 2026-118"),
        CreditLine(at=NOW_SECONDS - 39 * DAY, units=-500, reference="=returned"),
    ],
)

VOUCHERS = [
    Voucher(id="v9Qa", units=50_000, reference="fair", created_at=NOW_SECONDS - DAY),
    Voucher(
        id="v8Pb",
        units=50_000,
        created_at=NOW_SECONDS - 2 * DAY,
        redeemed_at=NOW_SECONDS - DAY,
        account="acme",
    ),
    Voucher(id="v7Rc", units=9_000, created_at=NOW_SECONDS - 3 * DAY, revoked_at=NOW_SECONDS - DAY),
    Voucher(id="v6Sd", units=9_000, created_at=NOW_SECONDS - 30 * DAY, expires_at=NOW_SECONDS - DAY),
]

WEEK = (31_000, 44_500, 47_000, 52_200, 39_800, 12_100, 9_400)

DAYS = [
    DayUnits(day=f"{date(2026, 11, 1) + timedelta(day)}", units=units, exchanges=units // 90)
    for day, units in enumerate(WEEK[day % 7] * (20 + day) // 40 for day in range(30))
]

OVERVIEW = GetOverviewResponse(
    accounts=3,
    enabled_accounts=2,
    balance=1_244_512,
    charged_today=DAYS[-1].units,
    charged_this_month=715_500,
    open=4,
    nodes=2,
    started_at=NOW_SECONDS - 6 * DAY,
    refusals=[Refusals(status="limit_rate", count=12), Refusals(status="limit_units", count=1_204)],
    days=DAYS,
)

SETTLEMENT = GetSettlementResponse(
    bridges=[
        Bridge(address="bridge-a.example:8490", identity=IDENTITY, connected=True, heard_at=NOW_SECONDS - 8),
        Bridge(address="bridge-b.example:8490", identity=IDENTITY, problem="the certificate has expired"),
    ],
    replicas=[
        Replica(
            identity=IDENTITY,
            replica_id=bytes(range(16)),
            started_at=NOW_SECONDS - DAY,
            closed_before=NOW_SECONDS - 20,
            stated_count=4_100,
            stated_units=612_000,
            count=4_100,
            units=612_000,
        ),
        Replica(
            identity=IDENTITY,
            replica_id=bytes(16),
            started_at=NOW_SECONDS - 3 * DAY,
            closed_before=NOW_SECONDS - DAY,
            ended=True,
            stated_count=810,
            stated_units=103_500,
            count=809,
            units=103_000,
        ),
    ],
    open=4,
    oldest_open_at=NOW_SECONDS - 4_000,
    orphans=1,
    contradictions=1,
    lapsed=2,
)

EVIDENCE = [
    Evidence(
        number=2,
        kind=EvidenceKind.EVIDENCE_KIND_CONTRADICTION,
        at=NOW_SECONDS - 500,
        identity=IDENTITY,
        envelope_hash=bytes(32),
        units=5_000,
    ),
    Evidence(
        number=1,
        kind=EvidenceKind.EVIDENCE_KIND_ORPHAN,
        at=NOW_SECONDS - 900,
        identity=IDENTITY,
        envelope_hash=bytes(32),
        units=20,
    ),
]

AUDIT = [
    AuditEntry(
        number=3,
        at=NOW_SECONDS - 60,
        actor="page",
        action="limit set",
        subject="acme",
        before=json.dumps({"limits": {"rate": None, "concurrent": 20}}),
        after=json.dumps({"limits": {"rate": 2.5, "concurrent": 20}}),
    ),
    AuditEntry(
        number=2,
        at=NOW_SECONDS - 90,
        actor="cli",
        action="credit",
        subject="acme",
        after=json.dumps({"units": 1_000_000, "reference": "order 2026-118"}),
    ),
    AuditEntry(
        number=1, at=NOW_SECONDS - 99, actor="cli", action="account add", subject="acme", after="not JSON"
    ),
]

ANSWERS: dict[str, Any] = {
    "GetOverview": OVERVIEW,
    "GetSettlement": SETTLEMENT,
    "ListAccounts": ListAccountsResponse(accounts=[ACME, BASTION, CLOSED]),
    "GetAccount": GetAccountResponse(account=ACME, tokens=TOKENS),
    "FindAccount": FindAccountResponse(account="acme", token="t7Kx"),
    "GetStatement": [STATEMENT],
    "ListVouchers": ListVouchersResponse(vouchers=VOUCHERS),
    "ListEvidence": ListEvidenceResponse(evidence=EVIDENCE),
    "ListAudit": ListAuditResponse(entries=AUDIT),
    "IssueToken": IssueTokenResponse(token=TOKEN, issued=TOKENS[0]),
    "RotateToken": RotateTokenResponse(token=TOKEN, issued=TOKENS[0]),
}

PATHS = ["/", "/accounts", "/accounts/acme", "/vouchers", "/settlement", "/audit"]
"""The operator's pages."""
