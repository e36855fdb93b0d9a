"""What `blindrelay.testbed up` prints when everything is up."""

from __future__ import annotations

from blindrelay.testbed.topology import Testbed


def described(bed: Testbed) -> dict[str, object]:
    """For programs, as JSON."""
    provider = "https://api.openai.com" if bed.provider_kind == "openai" else bed.provider
    return {
        "relay": bed.relay,
        "provider": provider,
        "provider_kind": bed.provider_kind,
        "identity": bed.identity,
        "pids": bed.pids,
        **({} if bed.ledger is None else {"ledger": bed.ledger.described, "commands": bed.commands}),
    }


def for_people(bed: Testbed) -> str:
    """For a terminal."""
    parts = [f"  {name:9} {part.listening:15}  pid {part.pid}" for name, part in bed.parts.items()]
    lines = [
        *parts,
        "",
        f"  the provider is: {bed.provider_kind}",
        "",
        "  In another shell, for the scripts in examples/ and your own:",
        "",
        f"    export BLINDRELAY_CONNECTION='{bed.relay}'",
        "",
        *_ledger_for_people(bed),
        "  Ctrl-C stops it.",
    ]
    return "\n".join(lines)


def _ledger_for_people(bed: Testbed) -> list[str]:
    if bed.ledger is None:
        return []
    config = bed.ledger.config
    return [
        f"  The ledger's page is {bed.ledger.described['page']}",
        "",
        f"    blindrelay-ledger page link --config {config}",
        f"    blindrelay-ledger statement testbed --config {config}",
        "    blindrelay bill verify",
        "",
    ]
