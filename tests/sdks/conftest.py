"""Relay, bridge and endpoint between an unmodified SDK and aimock or a model."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Final

import httpx2
import pydantic
import pytest

from blindrelay.client import SealedTransport
from blindrelay.testbed import MappedProvider, Testbed, testable_provider
from tests.patience import PATIENCE

from ..aimock.server import Aimock
from ..client.endpoint.conftest import Endpoint, running
from .works import PROPERTY, shown_by

ORIGINS: Final = {
    "openai": "https://api.openai.com",
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com",
    "mistral": "https://api.mistral.ai",
    "cohere": "https://api.cohere.com",
}
"""Where the SDKs send what they are not told to send elsewhere."""

OWN_KEY: Final = "sk-users-own"
BROUGHT: Final = "&credentials=brought"
MODELS: Final = {"/v1": "/models/v1", "": "/models/anthropic"}
"""The endpoint's paths for all models of the bridge, by those that an SDK is given otherwise."""

MODELS_URLS: Final = {
    "/v1": "https://models.blindrelay.internal/v1",
    "": "https://models.blindrelay.internal/anthropic",
}
"""The same for the transport."""

WAYS: Final = ("transport", "endpoint")
QUESTION: Final = "What is the capital of France?"
PARIS: Final = "The capital of France is Paris."
PARAMETERS: Final = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS: Final[Any] = [
    {"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}},
]
"""In the form of chat completions. aimock answers questions about the weather with a call."""

CUT: Final = (httpx2.RemoteProtocolError, httpx2.ReadError)
"""What SDKs raise, or let pass, when a stream is cut."""


class City(pydantic.BaseModel):
    """What aimock answers when it is asked for Paris as JSON."""

    name: str
    country: str


def ask(content: Any = QUESTION) -> Any:
    """The messages of one question."""
    return [{"role": "user", "content": content}]


collect_ignore = [] if os.environ.get("BLINDRELAY_TEST_SDKS") else ["heavy"]
"""What is there needs an environment of its own: make test-sdks."""


@dataclass(frozen=True)
class Way:
    """How an SDK's calls come to be sealed: by a transport that it is given, or by the endpoint.

    Attributes:
        connection: the relay's, for the transport.
        endpoint: that and not the transport is the way, if there is one.
        models: whether it leads to the one address with all models of the bridge.
    """

    connection: str
    endpoint: Endpoint | None
    models: bool = False

    @property
    def brought(self) -> bool:
        """Whether the account at the provider is the user's own."""
        return self.connection.endswith(BROUGHT)

    @cached_property
    def sealed(self) -> SealedTransport | None:
        return SealedTransport(self.connection) if self.endpoint is None else None

    @property
    def key(self) -> str:
        """What the SDK is given for its key."""
        return OWN_KEY if self.brought or self.endpoint is None else self.endpoint.token

    def options(self, path: str, *, asynchronous: bool = False) -> dict[str, Any]:
        """What an SDK of the usual shape is given: a key, and httpx2's client or a base URL."""
        if self.sealed is None:
            return {"api_key": self.key, "base_url": self.url(MODELS[path] if self.models else path)}
        base = {"base_url": self.sealed.base_url(MODELS_URLS[path])} if self.models else {}
        make = self.sealed.async_httpx2_client if asynchronous else self.sealed.httpx2_client
        return {"api_key": self.key, "http_client": make(timeout=PATIENCE), **base}

    def url(self, path: str) -> str:
        """The endpoint's base URL for an SDK. A key of one's own takes the token's place in the header."""
        assert self.endpoint is not None
        return self.endpoint.url + (f"/{self.endpoint.token}" if self.brought else "") + path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.user_properties += [(PROPERTY, json.dumps(each)) for each in shown_by(item)]


@pytest.fixture(scope="session")
def mock_bed(aimock: Aimock) -> Iterator[Testbed]:
    """Every provider's own address is answered by aimock."""
    targets = dict.fromkeys(ORIGINS, aimock.url) | {"mistral": aimock.mistral}
    providers = [MappedProvider(name, origin, targets[name]) for name, origin in ORIGINS.items()]
    models = {"*": ["openai/*", "anthropic/*"]}
    with Testbed("scripted", providers=providers, models=models) as bed:
        yield bed


@pytest.fixture(scope="session")
def model_bed() -> Iterator[Testbed]:
    """With llama.cpp and a random model."""
    with Testbed(testable_provider(), models={"*": ["openai/*", "anthropic/*"]}) as bed:
        yield bed


Endpoints = Callable[[str], Endpoint]


@pytest.fixture(scope="session")
def endpoint_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    """The endpoint that sends by a connection; there is one of each."""
    with ExitStack() as stack:

        @cache
        def started(connection: str) -> Endpoint:
            return stack.enter_context(running(connection, tmp_path_factory.mktemp("endpoint")))

        yield started


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, mock_bed: Testbed, endpoint_of: Endpoints) -> Iterator[Way]:
    """To aimock, with the bridge's credential."""
    yield from way_of(mock_bed.relay, request.param, endpoint_of)


@pytest.fixture(params=WAYS)
def own_account(request: pytest.FixtureRequest, mock_bed: Testbed, endpoint_of: Endpoints) -> Iterator[Way]:
    """To aimock, with a credential of the user's own: what stores something needs it."""
    yield from way_of(mock_bed.relay + BROUGHT, request.param, endpoint_of)


@pytest.fixture(params=WAYS)
def model_way(request: pytest.FixtureRequest, model_bed: Testbed, endpoint_of: Endpoints) -> Iterator[Way]:
    """To a model, with the bridge's credential."""
    yield from way_of(model_bed.relay, request.param, endpoint_of)


@pytest.fixture(params=["transport"])
def transport_way(mock_bed: Testbed, endpoint_of: Endpoints) -> Iterator[Way]:
    """To aimock, for what takes a transport in another way than a base URL."""
    yield from way_of(mock_bed.relay, "transport", endpoint_of)


@pytest.fixture
def endpoint_way(mock_bed: Testbed, endpoint_of: Endpoints) -> Way:
    """To aimock, for what takes no transport."""
    return Way(mock_bed.relay, endpoint_of(mock_bed.relay))


@pytest.fixture(params=WAYS)
def models_way(request: pytest.FixtureRequest, mock_bed: Testbed, endpoint_of: Endpoints) -> Iterator[Way]:
    """To aimock, by the one address with all models of the bridge."""
    yield from way_of(mock_bed.relay, request.param, endpoint_of, models=True)


def way_of(connection: str, way: str, endpoint_of: Endpoints, *, models: bool = False) -> Iterator[Way]:
    """A way for one test."""
    made = Way(connection, endpoint_of(connection) if way == "endpoint" else None, models)
    yield made
    if made.sealed is not None:
        made.sealed.close()
