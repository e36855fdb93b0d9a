"""Exchanges that change midway: a part dies, a client leaves, a provider redirects, a body is too large."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai

from blindrelay.client import SealedTransport
from tests.patience import PATIENCE

from .content import CHAT, ERRORS, ORIGIN, Canaries, chat, ending, reason
from .failures import base_urls_in_the_environment
from .ways import endpoint
from .world import OUTSIDE, Outcomes, Scenario, World


def _with_each(end: Callable[[World, httpx.Client, Canaries], str]) -> Scenario:
    """With a client of the library and one of the endpoint, both with words in header and query."""

    def scenario(world: World, canaries: Canaries) -> Outcomes:
        with (
            SealedTransport(world.bed.relay) as sealed,
            sealed.httpx_client(base_url=ORIGIN, timeout=PATIENCE) as library,
            endpoint(world, world.bed.relay) as program,
        ):
            for client in (library, program):
                client.headers["openai-beta"] = canaries.header
                client.params = httpx.QueryParams(after=canaries.query)
            return {
                "library": [end(world, library, canaries)],
                "endpoint": [end(world, program, canaries)],
            }

    return scenario


def gone_in_mid_stream(part: str) -> Scenario:
    """A part is killed after the first piece of a response."""

    @_with_each
    def scenario(world: World, client: httpx.Client, canaries: Canaries) -> str:
        body = chat(canaries, stream=True, scripted={"hold": "for ever"})
        with client.stream("POST", CHAT, json=body) as response:
            pieces = response.iter_raw()
            next(pieces)
            world.bed.kill(part)
            try:
                return str(list(pieces))
            except ERRORS as error:
                return reason(error)
            finally:
                world.bed.start(part)
                world.bed.wait_until_ready()

    return scenario


@_with_each
def left_in_mid_stream(_: World, client: httpx.Client, canaries: Canaries) -> str:
    body = chat(canaries, stream=True, scripted={"hold": "for ever"})
    with client.stream("POST", CHAT, json=body) as response:
        next(response.iter_raw())
    return "left"


class _LeftError(Exception):
    pass


@_with_each
def left_in_mid_upload(_: World, client: httpx.Client, canaries: Canaries) -> str:
    def body() -> Iterator[bytes]:
        yield json.dumps(chat(canaries)).encode()
        raise _LeftError

    try:
        client.post(CHAT, content=body(), headers={"content-type": "application/json"})
    except _LeftError:
        return "left"
    return "answered"


@_with_each
def too_large(_: World, client: httpx.Client, canaries: Canaries) -> str:
    body = {"model": canaries.model, "input": canaries.body * 4_000}
    return ending(client.post("/v1/embeddings", json=body))


@_with_each
def redirected_into_the_open(_: World, client: httpx.Client, canaries: Canaries) -> str:
    """The provider redirects the client to a host outside that accepts plain text, and the client follows."""
    script = {"status": 307, "headers": {"location": f"http://{OUTSIDE}{CHAT}"}}
    client.follow_redirects = True
    return ending(client.post(CHAT, json=chat(canaries, scripted=script)))


def an_sdk_that_believes_its_environment(world: World, canaries: Canaries) -> Outcomes:
    """With our client and another base URL: the request is sealed, and the bridge refuses it."""
    with (
        base_urls_in_the_environment(world) as connection,
        SealedTransport(connection) as sealed,
        openai.OpenAI(
            api_key=canaries.key, http_client=sealed.httpx2_client(timeout=PATIENCE), max_retries=0
        ) as client,
    ):
        asked: Any = chat(canaries)
        try:
            client.chat.completions.create(**asked)
        except openai.APIError as error:
            return {"library": [type(error).__name__]}
    return {"library": ["answered"]}
