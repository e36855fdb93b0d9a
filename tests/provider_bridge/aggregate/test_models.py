"""One address for many models: who is asked, with what, and what is refused before anybody is."""

from __future__ import annotations

import json

import pytest

from blindrelay.provider_bridge.aggregate.model_table import Model, Target

from ..scripted_provider import EVENT_STREAM, LAST_CHUNK, chunk, raw, response
from ..sealed_caller import request_head
from .conftest import CHAT, House, at, error_of

FORM = (
    b'--B\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\nmodel=x\r\n'
    b'--B\r\ncontent-disposition: form-data; name="model"\r\n\r\n%b\r\n'
    b'--B\r\ncontent-disposition: form-data; name="language"\r\n\r\nen\r\n--B--\r\n'
)


async def test_name_decides_who_is_asked(house: House) -> None:
    await house.provider("first")
    await house.provider("claude", preset="anthropic")
    await house.provider("google", preset="gemini")
    await house.open(
        Model("m", (Target("first", "m-2026"),), aliases=("smart",)),
        Model("claude/*", (Target("claude", "*"),)),
        Model("fast-*", (Target("google", "models/*-flash"),)),
    )
    for name, provider, path, asked in [
        ("m", "first", b"/v1/chat/completions", "m-2026"),
        ("smart", "first", b"/v1/chat/completions", "m-2026"),
        ("claude/opus", "claude", b"/v1/chat/completions", "opus"),
        ("fast-x", "google", b"/v1beta/openai/chat/completions", "models/x-flash"),
    ]:
        answer = await house.ask(name)
        received = house.received(provider)[-1]
        assert (answer.status, answer.headers["blindrelay-served-by"]) == (200, f"{provider}/{asked}")
        assert received.request_line == b"POST " + path + b" HTTP/1.1"
        assert received.named[b"authorization"] == f"Bearer sk-{provider}".encode()
        assert received.body == CHAT.replace(b"%b", asked.encode()), "no other byte of the body changes"
    assert house.counts == {"first": 2, "claude": 1, "google": 1}


async def test_streams_pass_as_on_a_direct_path(house: House) -> None:
    events = [b'data: {"n": %d}\n\n' % n for n in range(3)]
    await house.provider("first", raw(EVENT_STREAM + b"".join(map(chunk, events)) + LAST_CHUNK))
    await house.open(Model("m", at("first")))
    answer = await house.ask(body=b'{"model":"m","stream":true,"messages":[]}')
    assert (answer.status, answer.body) == (200, b"".join(events))


async def test_model_in_a_form(house: House) -> None:
    await house.provider("first")
    await house.open(Model("hear", (Target("first", "whisper-1"),)))
    headers = {b"content-type": b"multipart/form-data; boundary=B"}
    for name, expected in (("hear", 200), ("other", 404)):
        body = FORM.replace(b"%b", name.encode())
        answer = await house.ask(path="/v1/audio/transcriptions", headers=headers, body=body)
        assert answer.status == expected, answer
    (received,) = house.received("first")
    assert received.body == FORM.replace(b"%b", b"whisper-1")


async def test_anthropics_dialect(house: House) -> None:
    await house.provider("claude", preset="anthropic")
    await house.provider("router", preset="openrouter")
    await house.open(Model("opus", at("claude")), Model("sonnet", (Target("router", "anthropic/sonnet"),)))
    headers = {b"content-type": b"application/json", b"anthropic-version": b"2023-06-01"}
    body = b'{"model":"%b","max_tokens":1,"messages":[]}'
    for name, provider, line, credential in [
        ("opus", "claude", b"POST /v1/messages HTTP/1.1", (b"x-api-key", b"sk-claude")),
        ("sonnet", "router", b"POST /api/v1/messages HTTP/1.1", (b"authorization", b"Bearer sk-router")),
    ]:
        sent = body.replace(b"%b", name.encode())
        answer = await house.ask(path="/anthropic/v1/messages", headers=headers, body=sent)
        assert answer.status == 200, answer
        (received,) = house.received(provider)
        assert received.request_line == line
        assert credential in received.headers
        assert (b"anthropic-version", b"2023-06-01") in received.headers


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/v1/chat/completions", "invalid_request_error"), ("/anthropic/v1/messages", "not_found_error")],
)
async def test_unknown_model_is_a_404_of_the_dialect(house: House, path: str, kind: str) -> None:
    await house.provider("first", preset="anthropic")
    await house.open(Model("m", at("first")))
    for name in ("M", "m2", "m*", "", "two words", "\\u006d\\u0021"):
        answer = await house.ask(name, path)
        if not name:
            assert answer.failure == ("NOT_ALLOWED", "NOT_STARTED")
            continue
        assert (answer.status, error_of(answer)["type"]) == (404, kind), name
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-should-retry"] == "false"
        assert error_of(answer).get("code", "model_not_found") == "model_not_found"
    assert house.counts == {}, "it is decided before anything runs"


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/v1/chat/completions", b'{"messages":[]}', "the body names no model"),
        ("/v1/chat/completions", b'{"model":null}', "the body names no model"),
        ("/v1/chat/completions", b'{"model":["m"]}', "the body names no model"),
        ("/v1/chat/completions", b'{"mod\\u0065l":"m"}', "the body names no model"),
        ("/v1/chat/completions", b'{"model":"m","model":"n"}', "one key twice"),
        ("/v1/chat/completions", b'{"model":"m","mod\\u0065l":"n"}', "one key twice"),
        ("/v1/chat/completions", b'["model"]', "it is not an object"),
        ("/v1/chat/completions", b'{"model":"m"', "it is not JSON"),
        ("/v1/chat/completions", b'{"model":"m","messages":[}', "it is not JSON"),
        ("/v1/chat/completions", b'{"model":"m","x_stored":1}', "x_stored is not known to be stateless"),
        ("/v1/responses", b'{"model":"m","input":"x"}', "store is missing"),
        ("/v1/images/generations", b'{"model":"small","prompt":"x"}', "groq, which has no POST /images/gen"),
        ("/anthropic/v1/messages", b'{"model":"m","messages":[]}', "does not speak this dialect"),
        ("/v1/files", b"{}", "does not allow POST /v1/files"),
    ],
)
async def test_refused_in_one_sentence(house: House, path: str, body: bytes, message: str) -> None:
    await house.provider("first")
    await house.provider("groq", preset="groq")
    await house.open(Model("m", at("first")), Model("small", at("groq")))
    answer = await house.ask(path=path, body=body)
    assert answer.execution == "NOT_STARTED", answer
    assert message in answer.message
    assert house.counts == {}


async def test_form_without_a_model_is_refused(house: House) -> None:
    await house.provider("first")
    await house.open(Model("m", at("first")))
    headers = {b"content-type": b"multipart/form-data; boundary=B"}
    twice = FORM.replace(b"%b", b"m").replace(b'"language"', b'"model"')
    for body, message in [
        (FORM.replace(b'"model"', b'"other"'), "names no model"),
        (FORM.replace(b"%b", b""), "names no model"),
        (twice, "the field model twice"),
    ]:
        answer = await house.ask(path="/v1/audio/transcriptions", headers=headers, body=body)
        assert message in answer.message, answer
    assert house.counts == {}


async def test_target_that_cannot_is_passed_over(house: House) -> None:
    """One that lacks the call, and one whose description does not have a field of the body."""
    await house.provider("groq", preset="groq")
    await house.provider("mistral", preset="mistral")
    await house.provider("first")
    await house.open(Model("m", at("groq", "first")), Model("n", at("mistral", "first")))
    embedding = await house.ask(path="/v1/embeddings", body=b'{"model":"m","input":"x"}')
    strict = await house.ask(body=b'{"model":"n","messages":[],"verbosity":"low"}')
    served = [answer.headers["blindrelay-served-by"] for answer in (embedding, strict)]
    assert served == ["first/m", "first/m"], strict
    assert house.counts == {"first": 2}


async def test_salt_for_a_cache_that_takes_one(house: House) -> None:
    """The field depends on the provider, which the client does not know, so the bridge inserts it."""
    await house.provider("vllm", preset="vllm")
    await house.provider("first")
    await house.open(Model("m", at("vllm")), Model("n", at("first")))
    salt = b"s" * 32
    headers = {b"content-type": b"application/json", b"blindrelay-cache-salt": salt}
    await house.ask(headers=headers)
    await house.ask()
    await house.ask()
    own = b'{"cache_salt":"' + b"o" * 32 + b'","model":"m","messages":[]}'
    await house.ask(headers=headers, body=own)
    given, drawn, again, kept = [json.loads(each.body)["cache_salt"] for each in house.received("vllm")]
    assert given == salt.decode()
    assert len(drawn) == len(again) == 64
    assert drawn != again, "without the client's secret nobody finds anything in the cache"
    assert kept == "o" * 32
    assert house.received("vllm")[0].body == b'{"cache_salt":"' + salt + b'",' + CHAT.replace(b"%b", b"m")[1:]
    refused = await house.ask(headers=headers | {b"blindrelay-cache-salt": b"short"})
    assert "is not a salt" in refused.message
    await house.ask("n", headers=headers)
    (plain,) = house.received("first")
    assert b"salt" not in plain.body
    assert not any(name.startswith(b"blindrelay-") for name, _ in plain.headers)


async def test_response_that_names_another_model(house: House) -> None:
    def named(model: bytes) -> bytes:
        return b'{"id":"1","model":"' + model + b'","choices":[{"text":"\\"model\\": \\"fake\\""}]}'

    script = response(named(b"m-2026-08"), headers=b"blindrelay-served-by: liar\r\n")
    first = await house.provider("first", script)
    await house.open(Model("m", at("first")))
    answer = await house.ask()
    assert answer.headers["blindrelay-served-by"] == "first/m"
    assert answer.headers["blindrelay-served-model"] == "m-2026-08"
    assert answer.body == named(b"m-2026-08")
    for body in (named(b"m"), b'{"text":"\\"model\\": \\"fake\\""}', b""):
        first.script = response(body)
        answer = await house.ask()
        assert "blindrelay-served-model" not in answer.headers
        assert answer.body == body
    first.script = raw(
        EVENT_STREAM + chunk(b'data: {"type":"message_start","message":{"model":"other"}}\n\n') + LAST_CHUNK
    )
    assert (await house.ask()).headers["blindrelay-served-model"] == "other"


async def test_websocket_has_no_aggregated_address(house: House) -> None:
    await house.provider("first")
    caller = await house.open(Model("m", at("first")))
    from blindrelay.v1 import inner_pb2 as inner

    head = request_head(
        "https://models.blindrelay.internal/v1/realtime?model=m", "GET", kind=inner.EXCHANGE_KIND_TUNNEL
    )
    answer = await caller.exchange(head, b"")
    assert answer.failure[0] in ("NOT_ALLOWED", "MALFORMED")
    assert house.counts == {}
