"""GET models: the table, and what its wildcards stand for, in the dialect that asks."""

from __future__ import annotations

import json
from typing import Any

from blindrelay.provider_bridge.aggregate.model_list import AGAIN_SECONDS, KEPT_SECONDS
from blindrelay.provider_bridge.aggregate.model_table import Model, Target

from ..scripted_provider import response
from .conftest import House, at


def listing(*names: str, key: str = "data", field: str = "id") -> Any:
    return response(json.dumps({key: [{field: name} for name in names]}).encode())


async def ids(house: House, path: str = "/v1/models") -> list[str]:
    answer = await house.ask(path=path, method="GET")
    assert answer.status == 200, answer
    return [entry["id"] for entry in json.loads(answer.body)["data"]]


async def test_list_of_the_table_asks_nobody(house: House) -> None:
    await house.provider("first")
    await house.provider("claude", preset="anthropic")
    await house.open(Model("m", at("first"), aliases=("smart",)), Model("opus", at("first", "claude")))
    answer = await house.ask(path="/v1/models", method="GET")
    listed = json.loads(answer.body)
    assert listed["object"] == "list"
    assert [entry["id"] for entry in listed["data"]] == ["m", "opus", "smart"]
    assert listed["data"][0] == {"id": "m", "object": "model", "created": 0, "owned_by": "first"}
    anthropic = json.loads((await house.ask(path="/anthropic/v1/models", method="GET")).body)
    assert [entry["id"] for entry in anthropic["data"]] == ["opus"], "who does not speak it is not listed"
    assert (anthropic["has_more"], anthropic["first_id"], anthropic["last_id"]) == (False, "opus", "opus")
    assert house.counts == {}


async def test_one_entry(house: House) -> None:
    await house.provider("first")
    await house.open(Model("org/*", (Target("first", "*"),)))
    for path, status in [("org/a", 200), ("org%2Fa", 200), ("other", 404)]:
        answer = await house.ask(path=f"/v1/models/{path}", method="GET")
        assert answer.status == status, path
    assert (await house.ask(path="/anthropic/v1/models/org/a", method="GET")).status == 404
    assert house.counts == {}


async def test_wildcards_are_filled_from_the_providers_and_kept(house: House) -> None:
    first = await house.provider("first", listing("gpt-1", "gpt-2", "other"))
    google = await house.provider("google", listing("models/flash"), preset="gemini")
    cohere = await house.provider("cohere", listing("command", key="models", field="name"), preset="cohere")
    claude = await house.provider("claude", listing("opus"), preset="anthropic")
    await house.open(
        Model("open/*", (Target("first", "gpt-*"),)),
        Model("g/*", (Target("google", "*"),)),
        Model("c/*", (Target("cohere", "*"), Target("first", "fixed"))),
        Model("a/*", (Target("claude", "*"),)),
        Model("*", (Target("first", "fixed"),)),
    )
    now = 1_000.0
    house.router._list._now = lambda: now
    everything = ["a/opus", "c/command", "g/flash", "open/1", "open/2"]
    assert await ids(house) == everything
    assert await ids(house, "/anthropic/v1/models") == ["a/opus"]
    lines = {each.received[0].request_line for each in (first, google, cohere, claude)}
    assert lines == {
        b"GET /v1/models HTTP/1.1",
        b"GET /v1beta/openai/models HTTP/1.1",
        b"GET /v1/models?limit=1000 HTTP/1.1",
    }
    assert claude.received[0].named[b"x-api-key"] == b"sk-claude"
    first.script = listing("gpt-3")
    now += KEPT_SECONDS - 1
    assert await ids(house) == everything
    assert set(house.counts.values()) == {1}
    now += 2
    assert await ids(house) == [*everything[:3], "open/3"]
    first.script = response(b"[]")  # not a list of models: the last one stays
    now += KEPT_SECONDS + 1
    assert await ids(house) == [*everything[:3], "open/3"]
    asked = len(first.received)
    first.script = listing("gpt-4")
    assert await ids(house) == [*everything[:3], "open/3"]
    assert len(first.received) == asked, "it is not asked again at once"
    now += AGAIN_SECONDS + 1
    assert await ids(house) == [*everything[:3], "open/4"]


async def test_get_must_not_have_a_body(house: House) -> None:
    await house.provider("first")
    await house.open(Model("m", at("first")))
    for brought in ((), (b"first k",)):
        answer = await house.ask(path="/v1/models", method="GET", body=b"{}", brought=brought)
        assert "must not have a body" in answer.message
