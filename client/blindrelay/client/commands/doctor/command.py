"""`blindrelay doctor`: checks each hop to the provider, and suggests a remedy for the first failure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any, Final

import click

from blindrelay.client.commands.doctor.checks import Examination
from blindrelay.client.commands.doctor.findings import Finding, Status
from blindrelay.client.commands.exit_codes import ExitCode
from blindrelay.client.commands.options import (
    connection_of,
    json_option,
    origin_option,
    provider_option,
    relay_option,
)
from blindrelay.client.commands.terminal import one_line, waiting

_MARKS: Final = {"ok": "ok     ", "failed": "FAILED ", "skipped": "skipped"}


@click.command()
@provider_option
@origin_option
@relay_option
@json_option
def doctor(provider: str | None, origin: str | None, relay: str | None, as_json: bool) -> int:
    """Check each hop from here to the provider, in order.

    The checks: configuration, key history, name, TCP, TLS, token, key directory, identity, clock, a sealed
    round trip to the bridge, the provider. No model is asked: the round trip is a call that the bridge
    refuses, and the provider lists its models.

    \b
    Examples:
      blindrelay doctor
      blindrelay doctor --json | jq -r '.checks[] | select(.status == "failed") | .remedy'

    Exit codes: 0 all checks passed, 1 a check failed, 2 wrong input or configuration, 130 interrupted.
    """
    findings = Examination(lambda: connection_of(relay), provider, origin).findings()
    return report(findings, as_json)


def report(findings: Iterable[Finding], as_json: bool = False) -> int:
    """Prints the findings as they come, or all as JSON; returns the exit code."""
    found = examined(findings, quiet=as_json)
    if as_json:
        click.echo(json.dumps(findings_json(found), indent=2))
    failed = failed_of(found)
    if failed is None:
        return ExitCode.DONE
    return ExitCode.WRONG_INPUT if failed.check == "configuration" else ExitCode.NO


def examined(findings: Iterable[Finding], *, quiet: bool) -> list[Finding]:
    """All findings, printed as they come unless `quiet`."""
    found = []
    for finding in _awaited(findings):
        found.append(finding)
        if not quiet:
            click.echo("\n".join(_lines(finding)))
    return found


def failed_of(findings: Iterable[Finding]) -> Finding | None:
    """The finding that failed, if any; those after it are skipped."""
    return next((each for each in findings if each.status is Status.FAILED), None)


def findings_json(findings: list[Finding]) -> dict[str, Any]:
    """All findings, for programs."""
    return {"ok": failed_of(findings) is None, "checks": [asdict(each) for each in findings]}


def _awaited(findings: Iterable[Finding]) -> Iterator[Finding]:
    iterator = iter(findings)
    while True:
        with waiting("checking"):
            finding = next(iterator, None)
        if finding is None:
            return
        yield finding


def _lines(finding: Finding) -> Iterator[str]:
    yield f"{_MARKS[finding.status]}  {finding.check:<13}  {one_line(finding.detail)}".rstrip()
    if finding.remedy:
        yield f"{'':<24}→ {finding.remedy}"
