"""Rows of the books as messages of the admin service, and back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from blindrelay.admin.v1 import admin_pb2 as admin
from blindrelay.ledger.books import (
    Account,
    AuditEntry,
    Credit,
    Evidence,
    InvalidError,
    Limits,
    Outcome,
    Period,
    Quota,
    Replica,
    Scope,
    Token,
    Voucher,
)
from blindrelay.v1.identity_text import format_identity
from blindrelay.v1.receipts_pb2 import SignedReceipt

QUOTAS: Final = ("units", "exchanges", "bytes")

_NUMBERS: Final = ("max_units", "concurrent", "overdraft", "rate", "burst")
_PERIODS: Final = {Period.DAY: admin.PERIOD_DAY, Period.MONTH: admin.PERIOD_MONTH}
_KINDS: Final = {
    Outcome.ORPHAN: admin.EVIDENCE_KIND_ORPHAN,
    Outcome.CONTRADICTION: admin.EVIDENCE_KIND_CONTRADICTION,
    Outcome.LATE: admin.EVIDENCE_KIND_LATE,
    Outcome.EXCESS: admin.EVIDENCE_KIND_EXCESS,
}


def limits_message(limits: Limits) -> admin.Limits:
    """The limits that are set."""
    message = admin.Limits()
    for name in _NUMBERS:
        if (number := getattr(limits, name)) is not None:
            setattr(message, name, number)
    for name in QUOTAS:
        quota: Quota | None = getattr(limits, name)
        if quota is not None:
            per = admin.PERIOD_UNSPECIFIED if quota.per is None else _PERIODS[quota.per]
            getattr(message, name).CopyFrom(admin.Quota(amount=quota.amount, per=per))
    return message


def new_limits(limits: Limits, message: admin.Limits, names: tuple[str, ...]) -> Limits:
    """The limits with those of these names from the message. Raises InvalidError for an unknown name."""
    unknown = set(names) - {*_NUMBERS, *QUOTAS}
    if unknown:
        raise InvalidError(f"there is no limit named {min(unknown)!r}")
    return replace(limits, **{name: _limit(message, name) for name in names})


def all_limits(message: admin.Limits) -> Limits:
    """The limits of a new account."""
    return new_limits(Limits(), message, (*_NUMBERS, *QUOTAS))


def _limit(message: admin.Limits, name: str) -> Any:
    """The value for a field of books.Limits: its default if the message does not have it."""
    if not message.HasField(name):  # type: ignore[arg-type]  # the name was checked
        return getattr(Limits(), name)
    value = getattr(message, name)
    if name not in QUOTAS:
        return value
    periods = {number: period for period, number in _PERIODS.items()}
    return Quota(value.amount, periods.get(value.per))


def account_message(account: Account) -> admin.Account:
    """An account, with what it has used of its quotas."""
    return admin.Account(
        name=account.name,
        pseudonym=account.pseudonym,
        enabled=account.enabled,
        created_at=account.created_at,
        expires_at=account.expires_at or 0,
        balance=account.balance,
        charged=account.charged,
        outstanding=account.outstanding,
        overdraft_bound=account.overdraft_bound,
        limits=limits_message(account.limits),
        uses=[
            admin.QuotaUse(quota=use.quota, used=use.used, resets_at=use.resets_at or 0)
            for use in account.uses
        ],
    )


def token_message(token: Token) -> admin.Token:
    """A token, without the token."""
    return admin.Token(
        id=token.id,
        name=token.name,
        created_at=token.created_at,
        expires_at=token.expires_at or 0,
        revoked_at=token.revoked_at or 0,
        last_used=token.last_used or 0,
        scope=admin.Scope(
            bridges=token.scope.bridges, classes=token.scope.classes, addresses=token.scope.addresses
        ),
    )


def scope_of(message: admin.Scope) -> Scope:
    """The scope of a new token."""
    return Scope(tuple(message.bridges), tuple(message.classes), tuple(message.addresses))


def voucher_message(voucher: Voucher) -> admin.Voucher:
    """A voucher, without its code."""
    return admin.Voucher(
        id=voucher.id,
        units=voucher.units,
        reference=voucher.reference,
        created_at=voucher.created_at,
        expires_at=voucher.expires_at or 0,
        redeemed_at=voucher.redeemed_at or 0,
        revoked_at=voucher.revoked_at or 0,
        account=voucher.account or "",
    )


def credit_message(credit: Credit) -> admin.CreditLine:
    """Units that were added to an account, or taken back."""
    return admin.CreditLine(at=credit.at, units=credit.units, reference=credit.reference)


def replica_message(replica: Replica) -> admin.Replica:
    """What a replica has said."""
    return admin.Replica(
        identity=format_identity(replica.identity),
        replica_id=replica.replica_id,
        started_at=replica.started_at,
        closed_before=replica.closed_before,
        ended=replica.ended,
        stated_count=replica.stated_count,
        stated_units=replica.stated_units,
        count=replica.count,
        units=replica.units,
    )


def evidence_message(evidence: Evidence) -> admin.Evidence:
    """A receipt that was not charged."""
    receipt = evidence.receipt
    return admin.Evidence(
        number=evidence.number,
        kind=_KINDS[evidence.kind],
        at=evidence.at,
        identity=format_identity(receipt.identity),
        envelope_hash=receipt.envelope_hash,
        units=receipt.units,
        receipt=SignedReceipt(receipt=receipt.receipt, signature=receipt.signature),
        delegation=receipt.delegation,
        delegation_signature=receipt.delegation_signature,
    )


def audit_message(entry: AuditEntry) -> admin.AuditEntry:
    """Who changed what."""
    return admin.AuditEntry(
        number=entry.number,
        at=entry.at,
        actor=entry.actor,
        action=entry.action,
        subject=entry.subject,
        before=entry.before,
        after=entry.after,
    )
