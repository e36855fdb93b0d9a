"""What a JSON body may hold with the bridge's own credential, by the descriptions that come with it."""

from __future__ import annotations

from typing import Any

import pytest

from blindrelay.provider_bridge.stateless.description import api_description
from blindrelay.provider_bridge.stateless.json_check import StoredObjectError, check_json

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
SPEECH, EDITS = "/v1/audio/speech", "/v1/images/edits"
GEMINI, REALTIME = "/v1beta/models/g:generateContent", "/v1/realtime"
SELF_HOSTED, GEMINI_CHAT = f"self_hosted {CHAT}", f"gemini {CHAT}"
"""Elsewhere the path tells whose API it is."""

API = {MESSAGES: "anthropic", GEMINI: "gemini"}
MINE = {"file_id": "mine", "fileId": "mine", "container": {"id": "mine"}, "store": True}
SIGNED = {"google": {"thought_signature": "s"}}  # Gemini 3 wants it back with each tool call
FILE = {"type": "input_file", "file_id": "file-1"}
VERCEL = r'\{ store: false, include: \["reasoning.encrypted_content"\] \}'
IMAGE = {"type": "image"}
BY_ID = {"type": "reasoning", "id": "rs_1", "summary": []}


def judged(place: str, body: Any, *, message: bool = False) -> None:
    """Judges a body, or a message of a tunnel. A place is a path, with the API's name if need be."""
    api, _, path = place.rpartition(" ")
    kind = "messages" if message or path == REALTIME else "bodies"
    rule = api_description(api or API.get(path, "openai")).rule(kind, path)
    assert rule is not None
    check_json(body, rule)


def response(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "store": False, **fields}


def item(**fields: Any) -> dict[str, Any]:
    return response(input=[fields])


def tool(**fields: Any) -> dict[str, Any]:
    return response(tools=[fields])


def said(role: str = "user", **message: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, **message}]}


def block(**fields: Any) -> dict[str, Any]:
    return said(content=[fields])


def part(**fields: Any) -> dict[str, Any]:
    return {"contents": [{"parts": [fields]}]}


def session(**fields: Any) -> dict[str, Any]:
    return {"type": "session.update", "session": fields}


STORED = [
    (RESPONSES, {}, 'by default: set "store" to false'),
    (RESPONSES, {"store": True}, 'set "store" to false'),
    (RESPONSES, {"store": "false"}, 'set "store" to false'),
    (RESPONSES, {"Store": False}, 'by default: set "store" to false'),
    (RESPONSES, {"store": False, "\u017ftore": True}, r"'\\u017ftore' is not known"),
    (RESPONSES, response(previous_response_id="resp_1"), "previous_response_id refers to a stored response"),
    (RESPONSES, response(conversation={"id": "conv_1"}), "conversation refers"),
    (RESPONSES, response(background=True), "background has the provider store"),
    (RESPONSES, response(prompt={"id": "pmpt_1"}), "prompt refers"),
    (RESPONSES, response(prompt_cache_retention="24h"), "retention may be in-memory or in_memory"),
    (RESPONSES, response(prompt_cache_options={"comparison_response_id": "r"}), "response_id refers"),
    (RESPONSES, item(id="msg_1"), r"input\[0\].content is missing"),
    (RESPONSES, item(type="message", id="msg_1", role="user", content=[]), "content is missing"),
    (RESPONSES, item(type="image_generation_call", id="ig_1", status="completed"), "result is missing"),
    (RESPONSES, item(**BY_ID, status="completed"), "encrypted_content is missing"),
    (RESPONSES, item(type="web_search_call", id="ws_1", status="completed"), "action is missing"),
    (RESPONSES, item(type="mcp_list_tools", id="l", server_label="s"), "tools is missing"),
    (RESPONSES, item(type="function_call", id="fc"), "name is missing"),
    (RESPONSES, item(type="compaction", id="c"), "encrypted_content is missing"),
    (RESPONSES, item(type="file_search_call", id="fs", queries=["q"]), "stored files"),
    (RESPONSES, item(type="code_interpreter_call", container_id="c"), "stored container"),
    # The Vercel SDK's second turn refers to the first one's items: it cannot know that they were not stored.
    (RESPONSES, item(type="item_reference", id="rs_1"), r"input\[0\] of type item_reference"),
    (RESPONSES, item(type="item_reference", id="rs_1"), f"providerOptions.openai to {VERCEL}"),
    (RESPONSES, item(type="time_machine", id="t"), r"input\[0\] of type time_machine is not known"),
    (RESPONSES, item(type=["message"]), "is not known to be stateless"),
    (RESPONSES, item(role="user", content=[FILE]), r"input\[0\].content\[0\].file_id refers to a stored"),
    (RESPONSES, item(role="user", content=[{"type": "input_image", "file_id": "f"}]), "as a data URL"),
    (RESPONSES, item(type="function_call_output", call_id="c", output=[FILE]), "file_id refers"),
    (RESPONSES, item(type="additional_tools", tools=[{"type": "code_interpreter"}]), "in a container"),
    (RESPONSES, item(type="additional_tools", tools=[{"type": "function", "container": {}}]), "container is"),
    (RESPONSES, item(type="tool_search_output", tools=[{"type": "mcp", "connector_id": "c"}]), "connector_"),
    (RESPONSES, tool(type="file_search", vector_store_ids=["vs_1"]), "stored files"),
    (RESPONSES, tool(type="code_interpreter", container={"type": "auto"}), "in a container"),
    (RESPONSES, tool(type="shell", environment={"type": "container_auto"}), "of type container_auto"),
    (RESPONSES, tool(type="mcp", server_label="s", tunnel_id="t"), "tunnel_id refers to a private network"),
    (RESPONSES, tool(type="mcp", server_label="s", connector_id="c"), "connector_id refers to a connector"),
    (RESPONSES, tool(type="namespace", tools=[{"type": "file_search"}]), "stored files"),
    (RESPONSES, tool(type="image_generation", input_image_mask={"file_id": "f"}), "input_image_mask.file_id"),
    (CHAT, {"store": True}, 'set "store" to false'),
    (CHAT, block(type="file", file={"file_id": "f"}), "file_id"),
    (CHAT, said("assistant", audio={"id": "audio_1"}), "audio refers"),
    (CHAT, {"messages": [{"content": "no role"}]}, "without a role"),
    (CHAT, {"audio": {"format": "mp3", "voice": {"id": "voice_1"}}}, "audio.voice.id refers to a stored"),
    (CHAT, {"data_sources": [{"type": "azure_search"}]}, "data_sources is not known"),
    (CHAT, {"model": {"id": "m"}}, "model is not known"),
    (SPEECH, {"input": "x", "voice": {"id": "voice_1"}}, "voice.id refers"),
    (EDITS, {"images": [{"file_id": "f"}]}, r"images\[0\].file_id"),
    (MESSAGES, {"container": "container_1"}, "container refers"),
    (MESSAGES, {"thread": {"type": "create"}}, "thread has the provider hold"),
    (MESSAGES, {"diagnostics": {"previous_message_id": "msg_1"}}, "previous_message_id refers"),
    (MESSAGES, {"workspace_id": "w"}, "workspace_id refers"),
    (MESSAGES, {"tools": [{"type": "code_execution_20260521", "name": "c"}]}, "in a container"),
    (MESSAGES, {"tools": [{"type": "code_execution_29990101"}]}, "is not known"),
    (MESSAGES, {"mcp_servers": [{"type": "url", "tunnel_id": "t"}]}, r"s\[0\].tunnel_id is not known"),
    (MESSAGES, block(type="document", source={"type": "file", "file_id": "f"}), "source of type file refers"),
    (MESSAGES, block(type="container_upload", file_id="f"), "of type container_upload refers"),
    (MESSAGES, block(type="tool_result", content=[{"source": {"type": "file"}, **IMAGE}]), "type file"),
    (MESSAGES, block(type="text", text="x", file_id="f"), r"content\[0\].file_id is not known"),
    (GEMINI, {"cachedContent": "cachedContents/1"}, "cachedContent refers"),
    (GEMINI, {"cached_content": "cachedContents/1"}, "cached_content refers"),
    (GEMINI, {"CachedContent": "cachedContents/1"}, "CachedContent is not known"),
    (GEMINI, part(fileData={"fileUri": "https://x"}), "fileData refers"),
    (GEMINI, part(functionResponse={"parts": [{"fileData": {"fileUri": "x"}}]}), r"parts\[0\].fileData"),
    (GEMINI, {"systemInstruction": {"parts": {"fileData": {"fileUri": "x"}}}}, "fileData refers"),
    (GEMINI, {"tools": [{"fileSearch": {"fileSearchStoreNames": ["s"]}}]}, "fileSearch searches"),
    (GEMINI, {"generationConfig": {"generationOutputConfig": {"outputUriPrefix": "g"}}}, "OutputConfig"),
    (GEMINI, {"generationConfig": {"responseFormat": {"audio": {"delivery": "URI"}}}}, "delivery may be"),
    (REALTIME, {"session": {}}, "without a type"),
    (REALTIME, session(prompt={"id": "p"}), "session.prompt refers"),
    (REALTIME, session(tracing="auto"), "tracing has the provider keep"),
    (REALTIME, session(audio={"output": {"voice": {"id": "v"}}}), "voice.id"),
    (REALTIME, {"type": "response.create", "response": {"conversation": "c"}}, "conversation may be"),
    (REALTIME, {"type": "response.create", "response": {"input": [{"type": "item_reference"}]}}, "by its id"),
    (CHAT, [], "not a JSON object"),
    (CHAT, {"min_p": 1}, "min_p is not known"),
    (GEMINI_CHAT, {"extra_body": {"google": {"cached_content": "cachedContents/c"}}}, "refers to stored"),
    (GEMINI_CHAT, {"extra_body": {"other": {}}}, "extra_body.other is not known"),
    (SELF_HOSTED, {"vllm_xargs": {"kv_transfer_params": {"remote_engine_id": "e"}}}, "is not known"),
    (SELF_HOSTED, block(type="video_url", uuid="u"), "uuid is not known"),
]

STATELESS = [
    (RESPONSES, response(input="hello", previous_response_id="", prompt=None, background=False, x=None)),
    (RESPONSES, response(prompt_cache_retention="in_memory", metadata=MINE, text={"format": MINE})),
    (RESPONSES, item(**BY_ID, encrypted_content="x", content=None)),
    (RESPONSES, item(type="function_call", id="fc", call_id="c", name="f", arguments='{"file_id":"mine"}')),
    (CHAT, block(type="text", text="file_id") | {"store": None}),
    (CHAT, {"store": False, "audio": {"voice": "alloy"}, "tools": [{"function": {"parameters": MINE}}]}),
    (MESSAGES, block(type="tool_use", id="t", name="f", input=MINE)),
    (MESSAGES, {"tools": [{"name": "f", "input_schema": {"properties": MINE}}], "container": None}),
    (GEMINI, {"generation_config": {"responseSchema": MINE}, "tools": [{"functionDeclarations": []}]}),
    (REALTIME, session(tracing=None, voice="alloy", tools=[])),
    (SELF_HOSTED, {"top_k": 1, "min_p": 1, "cache_prompt": True, "chat_template_kwargs": {}}),
    (SELF_HOSTED, {"vllm_xargs": {"seed": 1, "names": ["a"]}, "thinking_token_budget": 9}),
    (GEMINI_CHAT, {"extra_body": {"google": {"thinking_config": {"include_thoughts": True}}}}),
    (GEMINI_CHAT, said("assistant", extra_content=SIGNED, tool_calls=[{"extra_content": SIGNED}])),
]


@pytest.mark.parametrize(("place", "body", "reason"), STORED)
def test_stored_or_unknown_field_is_refused(place: str, body: Any, reason: str) -> None:
    with pytest.raises(StoredObjectError, match=reason):
        judged(place, body)


@pytest.mark.parametrize(("place", "body"), STATELESS)
def test_stateless_body_passes(place: str, body: Any) -> None:
    judged(place, body)


CREATE = {"type": "response.create", "store": False}


def test_message_of_a_responses_tunnel_is_refused() -> None:
    judged(RESPONSES, CREATE | {"input": "x"}, message=True)
    for refused in (
        {"type": "response.create", "input": "x"},
        *(CREATE | {"store": True}, CREATE | {"response": {}}, CREATE | {"previous_response_id": "r"}),
        {"type": "response.steer", "previous_response_id": "r"},
        {"type": "session.update", "store": False},
        {"input": "x", "store": False},
    ):
        with pytest.raises(StoredObjectError):
            judged(RESPONSES, refused, message=True)


def test_deep_body_is_walked_without_recursion() -> None:
    content: Any = {"type": "container_upload"}
    for _ in range(5_000):
        content = {"type": "tool_result", "content": [content]}
    with pytest.raises(StoredObjectError):
        judged(MESSAGES, said(content=[content]))


def test_unknown_name_is_cut_and_escaped_in_the_error() -> None:
    with pytest.raises(StoredObjectError) as refused:
        judged(CHAT, {"\n" + "é" * 1_000: 1})
    assert len(str(refused.value)) < 300
    assert str(refused.value).isascii()
