"""The list of models, in the client's dialect. For a wildcard it has what the provider lists."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import unquote

from blindrelay.provider_bridge.aggregate.addresses import Dialect
from blindrelay.provider_bridge.aggregate.attempts import Answer, Attempts
from blindrelay.provider_bridge.aggregate.choice import Candidate
from blindrelay.provider_bridge.aggregate.health import Member
from blindrelay.provider_bridge.aggregate.local_response import json_response, model_not_found
from blindrelay.provider_bridge.aggregate.model_table import STAR, Model, ModelTable, Target
from blindrelay.provider_bridge.errors import SealedError
from blindrelay.provider_bridge.policy.request_policy import plan_at
from blindrelay.provider_bridge.policy.urls import RequestUrl
from blindrelay.provider_bridge.providers import Provider
from blindrelay.provider_bridge.upstream.provider_call import ProviderResponse, ProviderTransport
from blindrelay.v1.limits import MAX_BODY_PIECE

KEPT_SECONDS: Final = 600.0
"""How long a provider's list is kept. Models come and go by the week."""

AGAIN_SECONDS: Final = 30.0
"""Seconds until a list is asked for again after a failure."""

LIST_SECONDS: Final = 10.0
"""Seconds for a provider to send its list. After them, the last list counts."""

MAX_LIST: Final = 4_194_304
"""Bytes of a provider's list. The longest known has about a megabyte."""

_PATH: Final = "/models"
_VERSION: Final = (b"anthropic-version", b"2023-06-01")
_PREFIX: Final = "models/"
"""The prefix of names in Gemini's list. Its API accepts names with and without it."""


@dataclass
class _Known:
    """What a provider listed last."""

    names: tuple[str, ...] = ()
    until: float = -math.inf
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)


class ModelList:
    """The models that the table serves. `now` gives seconds that only grow."""

    def __init__(
        self,
        table: ModelTable,
        providers: Mapping[str, Provider],
        transport: ProviderTransport,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._table = table
        self._providers = providers
        # Separate, since a credential that may chat need not be allowed to list.
        self._attempts = Attempts()
        self._transport = transport
        self._now = now
        starred = (target for model in table.models for target in model.targets if STAR in target.model)
        self._known = {target.provider: _Known() for target in starred}

    async def response(self, dialect: Dialect, path: str) -> ProviderResponse:
        """The list for "/models", or one entry for "/models/NAME"."""
        if path != _PATH:
            return self._one(dialect, unquote(path.removeprefix(_PATH + "/")))
        await asyncio.gather(*(self._refresh(self._providers[name]) for name in self._known))
        entries = [_entry(dialect, *each) for each in sorted(self._names(dialect).items())]
        return json_response(200, _listed(dialect, entries))

    def _one(self, dialect: Dialect, name: str) -> ProviderResponse:
        for target in self._table.targets(name):
            if dialect.at(self._providers[target.provider]) is not None:
                return json_response(200, _entry(dialect, name, target.provider))
        return model_not_found(dialect, name)

    def _names(self, dialect: Dialect) -> dict[str, str]:
        """Every name in this dialect, with the provider that is asked first."""
        found: dict[str, str] = {}
        for model in self._table.models:
            for target in sorted(model.targets, key=lambda target: target.priority):
                if dialect.at(self._providers[target.provider]) is not None:
                    for name in self._public_names(model, target):
                        found.setdefault(name, target.provider)
        return found

    def _public_names(self, model: Model, target: Target) -> Iterable[str]:
        """The names of an entry: its own and its aliases, or what its * stands for at a target's provider."""
        if not model.is_wildcard:
            return (model.name, *model.aliases)
        if STAR not in target.model:
            return ()
        pattern = Model(target.model, ())
        matched = (pattern.matched(name) for name in self._known[target.provider].names)
        return [model.name.replace(STAR, each) for each in matched if each is not None]

    async def _refresh(self, provider: Provider) -> None:
        """Asks for the provider's list if the known one is too old. If that fails, the known one stays."""
        known = self._known[provider.name]
        async with known.asking:
            if self._now() < known.until:
                return
            try:
                async with asyncio.timeout(LIST_SECONDS):
                    known.names = await self._ask(provider)
                known.until = self._now() + KEPT_SECONDS
            except (SealedError, TimeoutError, ValueError):
                known.until = self._now() + AGAIN_SECONDS

    async def _ask(self, provider: Provider) -> tuple[str, ...]:
        """Raises SealedError, and ValueError for what is not a list of models."""

        async def make(candidate: Candidate) -> Answer:
            return await self._transport.call(candidate.call, bytearray())

        answer, _ = await self._attempts.serve(_list_calls(provider), b"", make)
        async with aclosing(answer):
            if not isinstance(answer, ProviderResponse) or answer.status != 200:
                raise ValueError("the provider does not list its models")
            return _names_in(await _whole(answer))


def _list_calls(provider: Provider) -> Iterable[Candidate]:
    """A call of the provider's list with each of its credentials, as its own API takes them."""
    beginnings = (provider.anthropic, provider.compatible, "/v1", "")
    paths = [beginning + _PATH for beginning in beginnings if beginning is not None]
    path = next((path for path in paths if provider.find_call("GET", path, brought=False)), paths[0])
    query = "?limit=1000" if provider.anthropic is not None else ""
    headers = [_VERSION] if provider.anthropic is not None else []
    call = plan_at(provider, "GET", RequestUrl(provider.origin, path, query), headers, brought=False)
    compatible = provider.anthropic is None and path == f"{provider.compatible}{_PATH}"
    if not provider.members:
        yield Candidate(Member(provider.name, "", _PATH), call)
    for each in provider.members:
        credential = each.compatible if compatible else each.own
        yield Candidate(Member(provider.name, each.name, _PATH), replace(call, credential=credential))


async def _whole(response: ProviderResponse) -> bytes:
    body = b""
    while not response.ended:
        await response.arrival(None)
        body += response.take(MAX_BODY_PIECE)
        if len(body) > MAX_LIST:
            raise ValueError("the list is too long")
    return body


def _names_in(body: bytes) -> tuple[str, ...]:
    """The names in a list: `data` with an `id` each, or `models` with a `name`. Raises ValueError."""
    value = json.loads(body)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    entries = value.get("data") or value.get("models") or []
    names = (entry.get("id") or entry.get("name") for entry in entries if isinstance(entry, dict))
    return tuple(name.removeprefix(_PREFIX) for name in names if isinstance(name, str))


def _entry(dialect: Dialect, name: str, provider: str) -> dict[str, Any]:
    if dialect is Dialect.ANTHROPIC:
        return {"type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z"}
    return {"id": name, "object": "model", "created": 0, "owned_by": provider}


def _listed(dialect: Dialect, entries: list[dict[str, Any]]) -> dict[str, Any]:
    if dialect is Dialect.OPENAI:
        return {"object": "list", "data": entries}
    ends = {"first_id": entries[0]["id"], "last_id": entries[-1]["id"]} if entries else {}
    return {"data": entries, "has_more": False, "first_id": None, "last_id": None, **ends}
