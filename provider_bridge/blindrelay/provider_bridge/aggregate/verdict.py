"""What a failure means: which member rests, for how long, and whether another one may be asked.

Another member is asked only if nothing ran: no connection was made, or the provider refused at once. 500, 502
and 504 may come after the work was done, or while it is still being done. They go to the client, as on a
direct path; its SDK may ask again, and then finds another member, since this one rests.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

from blindrelay.provider_bridge.aggregate.health import Member
from blindrelay.provider_bridge.errors import ProviderError
from blindrelay.provider_bridge.policy.headers import RETRY_AFTER
from blindrelay.provider_bridge.upstream.failures import Failure
from blindrelay.v1.http_headers import Header
from blindrelay.v1.inner_pb2 import EXECUTION_NOT_STARTED

BUSY_SECONDS: Final = 5.0
"""The first rest after 429 without a retry-after."""

FAILED_SECONDS: Final = 2.0
"""The first rest after a failure of the server or the connection to it."""

REFUSED_SECONDS: Final = 60.0
"""The first rest of a credential that was refused: somebody has to repair it."""

MOST_SECONDS: Final = 300.0
MOST_REFUSED_SECONDS: Final = 3_600.0

REFUSED: Final = "refused"
"""The kind of a failure that is about a credential itself."""

_REFUSED: Final = frozenset({401, 402})
"""The credential is wrong, or its account has no money."""

_NOT_HERE: Final = frozenset({403, 404})
"""The credential may not do this, or there is no such model; or the request itself is the cause."""

_OVERLOADED: Final = frozenset({503, 529})


@dataclass(frozen=True)
class Verdict:
    """A failure.

    Attributes:
        kind: its name in the metrics.
        scope: whom it is about.
        first, most: seconds of rest, after the first failure and at most.
        nothing_ran: whether another member may be asked.
        surely: whether it is about the scope even if everybody fails alike.
        rank: of several failures, the client gets the one with the lowest.
    """

    kind: str
    scope: Member
    first: float = FAILED_SECONDS
    most: float = MOST_SECONDS
    nothing_ran: bool = True
    surely: bool = True
    rank: int = 0


def of_response(member: Member, status: int, headers: list[Header], now: float) -> Verdict | None:
    """What a response's status says, or None if it is the answer. `now` is in Unix seconds."""
    whole = Member(member.provider, model=member.model)
    if status == 429:
        return _resting("busy", member, BUSY_SECONDS, retry_after(headers, now), rank=0)
    if status in _OVERLOADED:
        return _resting("overloaded", whole, FAILED_SECONDS, retry_after(headers, now), rank=1)
    if status in _REFUSED:
        scope = Member(member.provider, member.credential)
        return Verdict(REFUSED, scope, REFUSED_SECONDS, MOST_REFUSED_SECONDS, rank=5)
    if status in _NOT_HERE:
        return Verdict("not_here", member, REFUSED_SECONDS, MOST_SECONDS, surely=False, rank=3)
    if status >= 500:
        return Verdict("failed", whole, nothing_ran=False)
    return None


def of_error(member: Member, error: ProviderError) -> Verdict:
    """What it says that no response came."""
    if error.failure is Failure.NO_CONNECTION_FREE:  # the bridge's own fault
        return Verdict("no_connection", member, first=0.0, most=0.0, rank=2)
    if error.execution == EXECUTION_NOT_STARTED:
        return Verdict("unreachable", Member(member.provider), rank=2)
    return Verdict("failed", Member(member.provider, model=member.model), nothing_ran=False)


def retry_after(headers: list[Header], now: float) -> float | None:
    """Seconds, from 1 to MOST_SECONDS, or None if there is no such header (RFC 9110, section 10.2.3)."""
    text = next((value for name, value in headers if name == RETRY_AFTER), b"").decode("latin-1")
    try:
        seconds = float(text) if text.isdecimal() else parsedate_to_datetime(text).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 1.0), MOST_SECONDS)


def _resting(kind: str, scope: Member, default: float, given: float | None, rank: int) -> Verdict:
    if given is None:
        return Verdict(kind, scope, default, rank=rank)
    return Verdict(kind, scope, given, given, rank=rank)
