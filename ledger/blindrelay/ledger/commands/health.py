"""`settlement`, `evidence` and `audit`: for an operator when something seems wrong."""

from __future__ import annotations

import argparse
from typing import Any

from blindrelay.admin.v1.admin_pb2 import (
    AuditEntry,
    Evidence,
    EvidenceKind,
    GetSettlementRequest,
    ListAuditRequest,
    ListEvidenceRequest,
    Replica,
)
from blindrelay.ledger.admin_channel import AdminStub
from blindrelay.ledger.commands.admin_command import Shown, Subcommands, add_command
from blindrelay.ledger.commands.arguments import count, minute


def add_health_commands(commands: Subcommands) -> None:
    """Adds `settlement`, `evidence` and `audit`."""
    add_command(commands, "settlement", "print which receipts have arrived, by bridge", _settlement)
    evidence = add_command(commands, "evidence", "print receipts that were kept and not charged", _evidence)
    audit = add_command(commands, "audit", "print who changed what", _audit)
    for command in (evidence, audit):
        command.add_argument(
            "--limit", type=count, default=100, metavar="N", help="at most N, newest first (default: 100)"
        )


async def _settlement(stub: AdminStub, _: argparse.Namespace) -> Shown:
    found = await stub.GetSettlement(GetSettlementRequest())
    numbers = {
        name: getattr(found, name)
        for name in ("open", "lapsed", "waiting", "orphans", "contradictions", "rejected")
    }
    bridges = [
        {
            "address": each.address,
            "identity": each.identity,
            "connected": each.connected,
            "heard_at": each.heard_at or None,
            "problem": each.problem or None,
        }
        for each in found.bridges
    ]
    fields = {
        **numbers,
        "oldest_open_at": found.oldest_open_at or None,
        "bridges": bridges,
        "replicas": [_replica_fields(each) for each in found.replicas],
    }
    lines = [f"{name}: {number:,}" for name, number in numbers.items()]
    lines += [
        f"{each.address}: {each.problem or ('connected' if each.connected else 'not connected')}"
        for each in found.bridges
    ]
    return Shown(fields, lines)


def _replica_fields(replica: Replica) -> dict[str, Any]:
    return {
        "identity": replica.identity,
        "replica_id": replica.replica_id.hex(),
        "started_at": replica.started_at,
        "closed_before": replica.closed_before,
        "ended": replica.ended,
        "stated_count": replica.stated_count,
        "stated_units": replica.stated_units,
        "count": replica.count,
        "units": replica.units,
    }


async def _evidence(stub: AdminStub, given: argparse.Namespace) -> Shown:
    found = (await stub.ListEvidence(ListEvidenceRequest(limit=given.limit))).evidence
    lines = [
        f"{minute(each.at)}  {_kind(each)}  {each.units:,} units  {each.envelope_hash.hex()}"
        for each in found
    ]
    return Shown({"evidence": [_evidence_fields(each) for each in found]}, lines)


def _evidence_fields(evidence: Evidence) -> dict[str, Any]:
    return {
        "number": evidence.number,
        "kind": _kind(evidence),
        "at": evidence.at,
        "identity": evidence.identity,
        "exchange": evidence.envelope_hash.hex(),
        "units": evidence.units,
        "receipt": evidence.receipt.receipt.hex(),
        "signature": evidence.receipt.signature.hex(),
        "delegation": evidence.delegation.hex(),
        "delegation_signature": evidence.delegation_signature.hex(),
    }


def _kind(evidence: Evidence) -> str:
    return EvidenceKind.Name(evidence.kind).removeprefix("EVIDENCE_KIND_").lower()


async def _audit(stub: AdminStub, given: argparse.Namespace) -> Shown:
    found = (await stub.ListAudit(ListAuditRequest(limit=given.limit))).entries
    lines = [
        f"{minute(each.at)}  {each.actor}  {each.action}  {each.subject}  {each.after}" for each in found
    ]
    return Shown({"entries": [_entry_fields(each) for each in found]}, lines)


def _entry_fields(entry: AuditEntry) -> dict[str, Any]:
    return {
        "number": entry.number,
        "at": entry.at,
        "actor": entry.actor,
        "action": entry.action,
        "subject": entry.subject,
        "before": entry.before,
        "after": entry.after,
    }
