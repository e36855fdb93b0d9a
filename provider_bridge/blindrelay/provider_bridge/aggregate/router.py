"""Makes the calls of exchanges: to a provider, to a pool of its credentials, or to a target of a model."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from blindrelay.provider_bridge.aggregate.addresses import dialect_of
from blindrelay.provider_bridge.aggregate.agreement import Agreement
from blindrelay.provider_bridge.aggregate.attempts import Answer, Attempts, Make
from blindrelay.provider_bridge.aggregate.choice import Candidate
from blindrelay.provider_bridge.aggregate.config import Aggregate
from blindrelay.provider_bridge.aggregate.health import Member
from blindrelay.provider_bridge.aggregate.local_response import model_not_found
from blindrelay.provider_bridge.aggregate.model_body import ModelBody, read_model
from blindrelay.provider_bridge.aggregate.model_list import ModelList
from blindrelay.provider_bridge.aggregate.planning import accepted, aggregated_address, candidates
from blindrelay.provider_bridge.aggregate.served import name_server
from blindrelay.provider_bridge.aggregate.verdict import FAILED_SECONDS, MOST_SECONDS
from blindrelay.provider_bridge.errors import ProviderError, RequestError, not_allowed
from blindrelay.provider_bridge.policy.request_policy import PlannedCall, plan_call
from blindrelay.provider_bridge.providers import Provider
from blindrelay.provider_bridge.stateless.checker import Checker
from blindrelay.provider_bridge.stateless.rules import SALT_FORM, SALT_REASON
from blindrelay.provider_bridge.upstream.provider_call import ProviderResponse, ProviderTransport
from blindrelay.provider_bridge.upstream.provider_tunnel import ProviderTunnel
from blindrelay.v1.http_headers import CACHE_SALT
from blindrelay.v1.inner_pb2 import RequestHead

TRY_SECONDS: Final = 1.0
"""Seconds between two checks of which providers should be tried."""

_CONVERSING: Final = ("/completions", "/responses", "/messages")


class Router:
    """Decides, for one bridge process, which provider and credential serve an exchange."""

    def __init__(
        self,
        providers: Iterable[Provider],
        aggregate: Aggregate | None,
        transport: ProviderTransport,
        checker: Checker,
        on_refused: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_refused` is told when a provider refuses one of the bridge's credentials."""
        self.attempts = Attempts(on_refused)
        self._providers = {provider.name: provider for provider in providers}
        self._addressed = list(self._providers.values())
        self._transport = transport
        self._checker = checker
        self._aggregate = aggregate
        self._address: Provider | None = None
        if aggregate is not None:
            self._address = aggregated_address(aggregate.origin, self._addressed)
            self._addressed.append(self._address)
            self._list = ModelList(aggregate.table, self._providers, transport)

    async def keep_trying(self) -> None:
        """Tries providers that could not be reached, until cancelled. No request has to wait for them."""
        while True:
            await asyncio.sleep(TRY_SECONDS)
            await self.try_unreached()

    async def try_unreached(self) -> None:
        """Connects to those whose rest has ended. Nothing is sent."""
        await asyncio.gather(*(self._try(provider) for provider in self.attempts.health.unreached))

    async def _try(self, provider: Member) -> None:
        try:
            await self._transport.reach(provider.provider)
        except ProviderError:
            self.attempts.health.failed(provider, FAILED_SECONDS, MOST_SECONDS)
        else:
            self.attempts.health.reached(provider)

    def plan(self, head: RequestHead) -> PlannedCall:
        """Checks a request's head. Raises RequestError."""
        call = plan_call(head, self._addressed)
        return accepted(call) if call.provider is self._address else call

    async def call(self, call: PlannedCall, body: bytearray, agreement: Agreement) -> ProviderResponse:
        """Gets a request served, and waits for the response's head. Raises RequestError, ProviderError.

        A call of the aggregated address is agreed on here, for each target. Others have been agreed on.
        """
        if call.provider is self._address and self._aggregate is not None:
            return await self._to_model(self._aggregate, call, body, agreement)
        if not _has_pool(call):
            return await self._transport.call(call, body)
        conversation, model = b"", call.url.path
        if call.method == "POST":
            with suppress(RequestError):
                named = await ModelBody.of_json(body)
                conversation, model = _conversation(call, named), named.model

        async def make(candidate: Candidate) -> Answer:
            return await self._transport.call(candidate.call, body)

        response, _ = await self.attempts.serve(_pool(call, model), conversation, make)
        return _not_a_tunnel(response)

    async def dial(self, call: PlannedCall) -> ProviderTunnel | ProviderResponse:
        """Opens a tunnel, unless the provider gives an ordinary response. Raises ProviderError."""
        if not _has_pool(call):
            return await self._transport.dial(call)

        async def make(candidate: Candidate) -> Answer:
            return await self._transport.dial(candidate.call)

        answer, _ = await self.attempts.serve(_pool(call, call.url.path), b"", make)
        return answer

    async def _to_model(
        self, aggregate: Aggregate, call: PlannedCall, body: bytearray, agreement: Agreement
    ) -> ProviderResponse:
        dialect, rest = dialect_of(call.url.path)
        if call.method == "GET":
            if body:
                raise not_allowed("a GET request must not have a body here")
            return await self._list.response(dialect, rest)
        named = await read_model(call.headers, body)
        targets = aggregate.table.targets(named.model)
        if not targets:
            return model_not_found(dialect, named.model)
        found = candidates(call, named.model, targets, self._providers)
        made = self._making(call, named, body, agreement)
        answer, candidate = await self.attempts.serve(found, _conversation(call, named), made)
        response = _not_a_tunnel(answer)
        try:
            await name_server(response, candidate.member)
        except BaseException:
            await response.aclose()
            raise
        return response

    def _making(self, call: PlannedCall, named: ModelBody, body: bytearray, agreement: Agreement) -> Make:
        """Makes one call of a candidate: its model is put into the body, which is checked by its rules."""
        salt = _salt(call)
        written: Member | None = None

        async def make(candidate: Candidate) -> Answer:
            nonlocal written
            member = replace(candidate.member, credential="")
            if member != written:
                field = candidate.call.provider.stateless.salt_field(candidate.call.url.path)
                wanted = field is not None and candidate.call.injected and not named.has_field(field)
                agreement.withdraw(body)
                named.write(member.model, {str(field): salt} if wanted else {})
                written = member
                if candidate.call.check is not None:
                    await self._checker.check(candidate.call.check, body)
                await agreement.agree(candidate.call, body)
            return await self._transport.call(candidate.call, body)

        return make


def _has_pool(call: PlannedCall) -> bool:
    return call.injected and len(call.provider.members) > 1


def _pool(call: PlannedCall, model: str) -> Iterable[Candidate]:
    """The credentials of a provider that is called at its own address."""
    for each in call.provider.members:
        member = Member(call.provider.name, each.name, model)
        yield Candidate(member, replace(call, credential=each.own), each.weight)


def _conversation(call: PlannedCall, named: ModelBody) -> bytes:
    """What keeps a conversation with one credential, whose prompt cache has its beginning."""
    return named.conversation if call.url.path.endswith(_CONVERSING) else b""


def _salt(call: PlannedCall) -> str:
    """The client's salt for a prompt cache. Without one, nothing is found in the cache."""
    given = next((value.decode("latin-1") for name, value in call.headers if name == CACHE_SALT), None)
    if given is None:
        return os.urandom(32).hex()
    if not SALT_FORM.fullmatch(given):
        raise not_allowed(f"the header {CACHE_SALT.decode()} is not a salt: {SALT_REASON}")
    return given


def _not_a_tunnel(answer: Answer) -> ProviderResponse:
    if isinstance(answer, ProviderTunnel):
        raise TypeError("a call was answered with a tunnel")
    return answer
