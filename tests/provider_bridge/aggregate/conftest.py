"""A bridge with an aggregated address, between a bare client and scripted providers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from blindrelay.provider_bridge import Provider, presets
from blindrelay.provider_bridge.aggregate.config import DEFAULT_ORIGIN, Aggregate
from blindrelay.provider_bridge.aggregate.model_table import Model, ModelTable, Target
from blindrelay.provider_bridge.aggregate.router import Router
from blindrelay.provider_bridge.credentials import Credential, PooledCredential, Secret
from blindrelay.provider_bridge.policy.urls import parse_origin
from blindrelay.provider_bridge.providers import BEARER
from blindrelay.v1 import inner_pb2 as inner
from blindrelay.v1.inner_pb2 import Header

from ..conftest import Serve
from ..scripted_provider import Received, Script, ScriptedProvider, response
from ..sealed_caller import Response, SealedCaller, request_head

CHAT = b'{"messages": [{"role": "user", "content": "Hello"}], "model": "%b", "temperature": 0}'


def pooled(style: Any, *secrets: str, weights: tuple[int, ...] = ()) -> tuple[PooledCredential, ...]:
    """A pool of credentials, each named as its secret without "sk-"."""
    made = []
    for index, secret in enumerate(secrets):
        held = Secret(lambda secret=secret: secret.encode())  # type: ignore[misc]
        weight = weights[index] if weights else 1
        name = secret.removeprefix("sk-")
        made.append(PooledCredential(name, Credential(style, held), Credential(BEARER, held), weight))
    return tuple(made)


def provider_named(name: str, target: str, preset: str, pool: tuple[PooledCredential, ...]) -> Provider:
    known = presets()[preset]
    return Provider(
        name=name,
        origin=parse_origin(f"https://{name}.example"),
        target=parse_origin(target),
        credential=pool[0].own if pool else None,
        injected=known.injected,
        brought=known.brought,
        stateless=known.stateless,
        compatible=known.compatible,
        anthropic=known.anthropic,
        style=known.credential,
        pool=pool,
    )


def by_secret(**scripts: Script) -> Script:
    """What happens to a request depends on its credential: sk-a does as `a` says."""

    async def script(connection: Any) -> None:
        named = connection.request.named
        shown = named.get(b"authorization", named.get(b"x-api-key", b"")).decode()
        await scripts[shown.rpartition("sk-")[2].replace("-", "_")](connection)

    return script


@dataclass
class House:
    """Providers by name, and the bridge in front of them. Rests end when `now` is set forward."""

    serve: Serve
    stack: AsyncExitStack
    scripted: dict[str, ScriptedProvider] = field(default_factory=dict)
    providers: list[Provider] = field(default_factory=list)
    now: float = 1_000.0
    caller: SealedCaller = field(init=False)

    async def provider(
        self,
        name: str,
        script: Script | None = None,
        *,
        preset: str = "openai",
        secrets: tuple[str, ...] | None = None,
        target: str | None = None,
        **fields: Any,
    ) -> ScriptedProvider:
        """Starts a provider; with `target` nothing is started, and the bridge connects there."""
        scripted = ScriptedProvider(script or response())
        if target is None:
            await self.stack.enter_async_context(scripted.serving())
        pool = pooled(presets()[preset].credential, *((f"sk-{name}",) if secrets is None else secrets))
        made = provider_named(name, target or scripted.origin, preset, pool)
        self.providers.append(replace(made, **fields))
        self.scripted[name] = scripted
        return scripted

    async def open(self, *models: Model, **fields: Any) -> SealedCaller:
        """Starts the bridge."""
        aggregate = Aggregate(parse_origin(DEFAULT_ORIGIN), ModelTable(models))
        self.caller = await self.stack.enter_async_context(
            self.serve(providers=tuple(self.providers), aggregate=aggregate, **fields)
        )
        self.router.attempts.health._now = lambda: self.now
        return self.caller

    async def ask(
        self, model: str = "m", path: str = "/v1/chat/completions", body: bytes | None = None, **fields: Any
    ) -> Response:
        """A request to the aggregated address."""
        method = fields.pop("method", "POST")
        brought = fields.pop("brought", ())
        if brought or fields.pop("bring", False):
            fields["credential"] = inner.CREDENTIAL_BROUGHT
        head = request_head(DEFAULT_ORIGIN + path, method, **fields)
        head.headers.extend(Header(name=b"blindrelay-credential", value=each) for each in brought)
        if body is None:
            body = CHAT.replace(b"%b", model.encode()) if method == "POST" else b""
        return await self.caller.exchange(head, body)

    def received(self, name: str) -> list[Received]:
        return self.scripted[name].received

    @property
    def counts(self) -> dict[str, int]:
        """How many requests each provider had."""
        return {name: len(each.received) for name, each in self.scripted.items() if each.received}

    @property
    def router(self) -> Router:
        router: Router = self.caller.served._runtime.router
        return router

    @property
    def attempts(self) -> dict[str, int]:
        """Attempts by how they ended."""
        return dict(self.router.attempts.counts)


@pytest.fixture
async def house(serve: Serve) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        yield House(serve, stack)


def at(*providers: str, **fields: Any) -> tuple[Target, ...]:
    """Targets in the order of their priority."""
    return tuple(Target(name, "m", priority=index, **fields) for index, name in enumerate(providers))


def error_of(answer: Response) -> Any:
    return json.loads(answer.body)["error"]
