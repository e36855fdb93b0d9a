"""Asks one candidate after the other until one answers, never two at a time.

Nothing of a response leaves the bridge before serve() returns it, so a client sees one answer, from one
provider.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from blindrelay.provider_bridge.aggregate.choice import Candidate, Chooser
from blindrelay.provider_bridge.aggregate.health import Health, Member
from blindrelay.provider_bridge.aggregate.speed import Speeds
from blindrelay.provider_bridge.aggregate.verdict import REFUSED, Verdict, of_error, of_response
from blindrelay.provider_bridge.errors import ProviderError, RequestError, SealedError, not_allowed
from blindrelay.provider_bridge.upstream.provider_call import ProviderResponse
from blindrelay.provider_bridge.upstream.provider_tunnel import ProviderTunnel

Answer = ProviderResponse | ProviderTunnel
Make = Callable[[Candidate], Awaitable[Answer]]

_Failure = tuple[ProviderResponse, Candidate] | SealedError
"""The failure that the client gets if no candidate answers."""

_CANNOT: Final = 6
"""The rank of a request that no target can serve: after every other failure."""


class Attempts:
    """Makes the calls of pools, and remembers how their members did.

    Attributes:
        counts: attempts since the start, by how they ended.
    """

    def __init__(
        self,
        on_refused: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`on_refused` is told when one of the bridge's credentials is refused.

        `now` gives seconds that only grow, `wall` Unix seconds.
        """
        self.on_refused = on_refused
        self.counts: Counter[str] = Counter()
        self.health = Health(now)
        self.speeds = Speeds(now)
        self.chooser = Chooser(self.health, self.speeds)
        self.wall = wall

    async def serve(
        self, candidates: Iterable[Candidate], conversation: bytes, make: Make
    ) -> tuple[Answer, Candidate]:
        """The response, and who gave it. `make` makes one call.

        If none answers, the result is the most useful failure: a response, or an error that is raised
        (ProviderError, RequestError).
        """
        one = _OneAnswer(self, list(candidates), conversation, make)
        try:
            return await one.run()
        finally:
            await one.close()


class _OneAnswer:
    """The attempts for one response."""

    def __init__(
        self, attempts: Attempts, candidates: list[Candidate], conversation: bytes, make: Make
    ) -> None:
        self._attempts = attempts
        self._health = attempts.health
        self._untried = candidates
        self._conversation = conversation
        self._make = make
        self._doubted: list[Verdict] = []
        self._kept: _Failure = _nobody()
        self._rank = _CANNOT + 1
        self._asked_resting = False

    async def run(self) -> tuple[Answer, Candidate]:
        while (candidate := self._next()) is not None:
            self._untried.remove(candidate)
            if (answer := await self._try(candidate)) is not None:
                return answer, candidate
        kept, self._kept = self._kept, _nobody()
        if isinstance(kept, SealedError):
            raise kept
        return kept

    async def close(self) -> None:
        """Closes a response that is not passed on."""
        await _close(self._kept)

    def _next(self) -> Candidate | None:
        """The next candidate. One that rests is asked only if no other can be, and only one of them."""
        best = self._attempts.chooser.best(self._untried, self._conversation)
        if best is None and not self._asked_resting:
            self._asked_resting = True
            best = self._attempts.chooser.first_due(self._untried)
        return best

    async def _try(self, candidate: Candidate) -> Answer | None:
        """One attempt: the response, or None if another candidate may be asked."""
        member = candidate.member
        with self._health.trial(member), self._attempts.speeds.waiting(member) as arrived:
            try:
                answer = await self._make(candidate)
            except RequestError as error:
                self._rule_out(Member(member.provider, model=member.model))
                await self._keep(_CANNOT, error)
                return None
            except ProviderError as error:
                await self._failed(of_error(member, error), candidate, error)
                return None
            verdict = self._judged(member, answer)
            if verdict is None:
                arrived()
                self._served(member)
                return answer
        return await self._refused(verdict, candidate, answer)

    def _judged(self, member: Member, answer: Answer) -> Verdict | None:
        if isinstance(answer, ProviderTunnel):
            return None
        return of_response(member, answer.status, answer.headers, self._attempts.wall())

    def _served(self, member: Member) -> None:
        self._attempts.counts["served"] += 1
        self._health.succeeded(member)
        for verdict in self._doubted:  # another one served the same request, so the failure was about these
            self._health.failed(verdict.scope, verdict.first, verdict.most)

    async def _failed(self, verdict: Verdict, candidate: Candidate, error: ProviderError) -> None:
        self._note(verdict, candidate)
        if not verdict.nothing_ran:
            raise error
        await self._keep(verdict.rank, error)

    async def _refused(self, verdict: Verdict, candidate: Candidate, answer: Answer) -> Answer | None:
        self._note(verdict, candidate)
        if not verdict.nothing_ran or isinstance(answer, ProviderTunnel):
            return answer
        await self._keep(verdict.rank, (answer, candidate))
        return None

    def _note(self, verdict: Verdict, candidate: Candidate) -> None:
        """Counts a failure, and lets the member rest that it is about."""
        self._attempts.counts[verdict.kind] += 1
        self._rule_out(verdict.scope)
        # A failure with a client's own credential says nothing about other calls.
        if not candidate.call.injected and not verdict.scope.is_provider:
            return
        if verdict.kind == REFUSED:
            self._attempts.on_refused()
        if not verdict.surely:
            self._doubted.append(verdict)
        elif verdict.most:
            self._health.failed(verdict.scope, verdict.first, verdict.most)

    def _rule_out(self, scope: Member) -> None:
        """Skips the candidates of this exchange for which the same would happen."""
        self._untried = [each for each in self._untried if scope not in each.member.scopes]

    async def _keep(self, rank: int, failure: _Failure) -> None:
        """Keeps the more useful failure, and closes the response of the other."""
        dropped = failure
        if rank < self._rank:
            dropped, self._kept, self._rank = self._kept, failure, rank
        await _close(dropped)


def _nobody() -> SealedError:
    return not_allowed("no provider can be asked for this model")


async def _close(failure: _Failure) -> None:
    if isinstance(failure, tuple):
        await failure[0].aclose()
