"""The result of a check, and what to do about a failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from blindrelay.client.commands.sealed_api import ProviderError
from blindrelay.client.errors import BlindRelayError, ConfigurationError
from blindrelay.v1.picklable_error import PicklableError


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """One check's result; `remedy` says what to do about a failure."""

    check: str
    status: Status
    detail: str = ""
    remedy: str = ""


class HopError(PicklableError):
    """A hop does not work."""

    def __init__(self, detail: str, remedy: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.remedy = remedy


def finding_of(name: str, check: Callable[[], str]) -> Finding:
    """Runs a check, which returns what it saw or raises HopError or BlindRelayError."""
    try:
        return Finding(name, Status.OK, check())
    except HopError as failure:
        return Finding(name, Status.FAILED, failure.detail, failure.remedy)
    except BlindRelayError as error:
        return Finding(name, Status.FAILED, str(error), _remedy(error))


def _remedy(error: BlindRelayError) -> str:
    """What to do about an error that is not specific to a check."""
    if isinstance(error, ConfigurationError):
        return "run `blindrelay init`, or correct the configuration: `blindrelay config path` names its file"
    if isinstance(error, ProviderError) and error.status in (401, 403):
        return (
            "the provider refuses the key: ask the bridge's operator; with credentials=brought, check yours"
        )
    return _REMEDIES.get(error.kind) or _BY_ORIGIN[error.origin]


_REMEDIES: Final = {
    "not_allowed": "the bridge does not serve it: give --provider or --origin, or ask its operator",
    "provider_unreachable": "the bridge cannot reach its provider: ask the bridge's operator",
    "bridge_unavailable": "no bridge is up behind this relay: ask the bridge's operator, then the relay's",
    "identity_unknown": "the relay does not serve the pinned bridge: ask both operators",
    "ledger_unavailable": "wait, and try again; if it fails again, ask the relay's operator",
    "overloaded": "wait, and try again",
    "not_in_scope": "ask the relay's operator which bridge, network and max_units the token is for",
    "limit_units": "ask the relay's operator for more units, or wait for the next period",
    "limit_exchanges": "wait for the next period, or ask the relay's operator",
    "limit_bytes": "wait for the next period, or ask the relay's operator",
    "limit_concurrent": "wait, and try again",
    "limit_rate": "wait, and try again",
    "draining": "wait a minute, and try again",
    "relay_unreachable": "check that a BlindRelay relay listens on that port, with TLS unless tls=off",
    "refused": "check this machine's clock; if it is right, the relay alters or repeats what it carries",
}

_BY_ORIGIN: Final = {
    "client": "try again; if it fails again, see the line above",
    "relay": "ask the relay's operator",
    "bridge": "ask the bridge's operator",
    "provider": "connected; the provider reported this error: ask the bridge's operator",
}
