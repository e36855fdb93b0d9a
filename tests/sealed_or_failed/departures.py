"""Exchanges that change midway: a part dies, a client leaves, a provider redirects, a body is too large."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import openai

from blindrelay.client import SealedTransport

from .content import CHAT, ERRORS, ORIGIN, Canaries, chat, ending, reason
from .failures import base_urls_in_the_environment
from .ways import SHORT, endpoint
from .world import OUTSIDE, Outcomes, Scenario, World


@contextmanager
def _clients(world: World, canaries: Canaries) -> Iterator[dict[str, httpx.Client]]:
    """A client of the library and one of the endpoint, both with words in header and query."""
    with ExitStack() as stack:
        sealed = stack.enter_context(SealedTransport(world.bed.relay))
        clients = {
            "library": stack.enter_context(sealed.httpx_client(base_url=ORIGIN, timeout=20)),
            "endpoint": stack.enter_context(endpoint(world, world.bed.relay)),
        }
        for client in clients.values():
            client.headers["openai-beta"] = canaries.header
            client.params = httpx.QueryParams(after=canaries.query)
        yield clients


def _with_each(end: Callable[[httpx.Client, Canaries], str]) -> Scenario:
    def scenario(world: World, canaries: Canaries) -> Outcomes:
        with _clients(world, canaries) as clients:
            return {name: [end(client, canaries)] for name, client in clients.items()}

    return scenario


def gone_in_mid_stream(part: str) -> Scenario:
    """A part is killed after the first piece of a response."""

    def scenario(world: World, canaries: Canaries) -> Outcomes:
        body = chat(canaries, stream=True, scripted={"hold": "for ever"})
        with ExitStack() as stack:
            pieces = {}
            for name, client in stack.enter_context(_clients(world, canaries)).items():
                response = stack.enter_context(client.stream("POST", CHAT, json=body))
                pieces[name] = response.iter_raw()
                next(pieces[name])
            world.bed.kill(part)
            outcomes = {name: [_end(each)] for name, each in pieces.items()}
        world.bed.start(part)
        world.bed.wait_until_ready()
        return outcomes

    return scenario


def _end(pieces: Iterator[bytes]) -> str:
    try:
        for _piece in pieces:
            pass
    except ERRORS as error:
        return reason(error)
    return "whole"


@_with_each
def left_in_mid_stream(client: httpx.Client, canaries: Canaries) -> str:
    body = chat(canaries, stream=True, scripted={"hold": "for ever"})
    with client.stream("POST", CHAT, json=body) as response:
        next(response.iter_raw())
    return "left"


class _LeftError(Exception):
    pass


@_with_each
def left_in_mid_upload(client: httpx.Client, canaries: Canaries) -> str:
    def body() -> Iterator[bytes]:
        yield json.dumps(chat(canaries)).encode()
        raise _LeftError

    try:
        client.post(CHAT, content=body(), headers={"content-type": "application/json"})
    except _LeftError:
        return "left"
    return "answered"


@_with_each
def too_large(client: httpx.Client, canaries: Canaries) -> str:
    body = {"model": canaries.model, "input": canaries.body * 4_000}
    return ending(client.post("/v1/embeddings", json=body))


@_with_each
def redirected_into_the_open(client: httpx.Client, canaries: Canaries) -> str:
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
            api_key=canaries.key, http_client=sealed.httpx2_client(timeout=SHORT), max_retries=0
        ) as client,
    ):
        asked: Any = chat(canaries)
        try:
            client.chat.completions.create(**asked)
        except openai.APIError as error:
            return {"library": [type(error).__name__]}
    return {"library": ["answered"]}
