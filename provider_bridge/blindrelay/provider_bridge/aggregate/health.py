"""Which members of a pool rest after a failure, and when one of them may be tried again.

A rest never refuses a request: if all members rest, the one that is due first is asked.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

MAX_KEPT: Final = 4_096
"""Failures that are remembered. Clients choose names of models, so their number must be bounded."""

ANY: Final = ""


@dataclass(frozen=True)
class Member:
    """A member of a pool. With ANY instead of a name, all members that share the other names.

    Attributes:
        provider, credential: their names in the configuration.
        model: the provider's own name of it.
    """

    provider: str
    credential: str = ANY
    model: str = ANY

    @property
    def is_provider(self) -> bool:
        """Whether it is all members of a provider."""
        return self.credential == self.model == ANY

    @property
    def scopes(self) -> tuple[Member, ...]:
        """What a failure can be about: the provider, one model there, a credential, or a model with it."""
        return (
            Member(self.provider),
            Member(self.provider, model=self.model),
            Member(self.provider, self.credential),
            self,
        )


@dataclass
class _Rest:
    until: float = 0.0
    failures: int = 0
    trials: int = 0


class Health:
    """The rests of one bridge process. `now` gives seconds that only grow."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._rests: OrderedDict[Member, _Rest] = OrderedDict()

    def due(self, member: Member) -> float:
        """Seconds until the member may be asked; 0 if it may be now.

        After its rest a member is tried by one call at a time, until one succeeds.
        """
        rests = self._rests_of(member)
        left = max((rest.until - self._now() for rest in rests), default=0.0)
        if left > 0:
            return left
        # The bridge tries a lost provider by itself, with a connection and no call.
        return float(any(rest.trials for rest in rests) or Member(member.provider) in self._rests)

    @property
    def unreached(self) -> list[Member]:
        """Providers that could not be reached, and should be tried now."""
        now = self._now()
        return [scope for scope, rest in self._rests.items() if scope.is_provider and rest.until <= now]

    def reached(self, provider: Member) -> None:
        """A connection was made."""
        self._rests.pop(provider, None)

    @property
    def resting(self) -> int:
        """How many scopes rest, or have not been tried successfully since."""
        return len(self._rests)

    @contextmanager
    def trial(self, member: Member) -> Iterator[None]:
        """Marks the member as tried while the block makes a call."""
        tried = self._rests_of(member)
        for rest in tried:
            rest.trials += 1
        try:
            yield
        finally:
            for rest in tried:
                rest.trials -= 1

    def failed(self, scope: Member, first: float, most: float) -> None:
        """Lets a scope rest: `first` seconds, twice as long after each further failure, at most `most`."""
        rest = self._rests.setdefault(scope, _Rest())
        self._rests.move_to_end(scope)
        rest.until = max(rest.until, self._now() + min(most, first * 2.0 ** min(rest.failures, 32)))
        rest.failures += 1
        if len(self._rests) > MAX_KEPT:
            self._rests.popitem(last=False)

    def succeeded(self, member: Member) -> None:
        """Forgets the failures that this member has had."""
        for scope in member.scopes:
            self._rests.pop(scope, None)

    def _rests_of(self, member: Member) -> list[_Rest]:
        return [rest for scope in member.scopes if (rest := self._rests.get(scope)) is not None]
