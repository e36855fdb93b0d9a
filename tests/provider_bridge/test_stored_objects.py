"""With an injected credential nothing is stored, and nothing stored is meant."""

from __future__ import annotations

from typing import Any

import pytest

from blindrelay.provider_bridge.stored_objects import StoredObjectError, check_form_data, check_stored_objects

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
GEMINI = "/v1beta/models/g:generateContent"
FILE = {"type": "input_file", "file_id": "file-1"}


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        (RESPONSES, {}, 'by default: set "store" to false'),
        (RESPONSES, {"store": True}, 'set "store" to false'),
        (RESPONSES, {"store": None}, 'set "store" to false'),
        (RESPONSES, {"store": 0}, 'set "store" to false'),
        (RESPONSES, {"store": "false"}, 'set "store" to false'),
        (RESPONSES, {"Store": False}, 'by default: set "store" to false'),
        (RESPONSES, {"store": False, "Store": True}, 'set "store" to false'),
        (RESPONSES, {"store": False, "\u017ftore": True}, 'set "store" to false'),
        (CHAT, {"store": True}, 'set "store" to false'),
        (CHAT, {"store": None}, 'set "store" to false'),
        (RESPONSES, {"store": False, "previous_response_id": "resp_1"}, "previous_response_id"),
        (RESPONSES, {"store": False, "conversation": "conv_1"}, "conversation"),
        (RESPONSES, {"store": False, "conversation": {"id": "conv_1"}}, "conversation"),
        (RESPONSES, {"store": False, "background": True}, "background"),
        (RESPONSES, {"store": False, "prompt": {"id": "pmpt_1"}}, "prompt"),
        (RESPONSES, {"store": False, "input": [{"type": "item_reference", "id": "msg_1"}]}, "input item"),
        (RESPONSES, {"store": False, "input": [{"id": "msg_1"}]}, "input item"),
        (RESPONSES, {"store": False, "input": [{"role": "user", "content": [FILE]}]}, "file_id"),
        (
            RESPONSES,
            {"store": False, "tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]},
            "vector_store_ids",
        ),
        (
            RESPONSES,
            {"store": False, "tools": [{"type": "code_interpreter", "container": "cntr_1"}]},
            "container",
        ),
        (
            RESPONSES,
            {"store": False, "tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]},
            "container",
        ),
        (CHAT, {"messages": [{"content": [{"type": "file", "file": {"file_id": "file-1"}}]}]}, "file_id"),
        (CHAT, {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}, "audio"),
        (CHAT, {"deep": [[[{"x": {"FILE_ID": "file-1"}}]]]}, "file_id"),
        (CHAT, {"attachments": {"file_ids": ["file-1"]}}, "file_ids"),
        (CHAT, {"tools": [{"type": "document_library", "library_ids": ["l"]}]}, "library_ids"),
        (MESSAGES, {"container": "container_1"}, "container"),
        (MESSAGES, {"thread": {"type": "create"}}, "thread"),
        (MESSAGES, {"thread": {"type": "continue", "previous_message_id": "msg_1"}}, "thread"),
        (MESSAGES, {"container": {"skills": []}}, "container"),
        (
            MESSAGES,
            {"messages": [{"content": [{"type": "document", "source": {"type": "file", "id": "f"}}]}]},
            "source of type file",
        ),
        (
            MESSAGES,
            {"messages": [{"content": [{"type": "container_upload", "file_id": "file_1"}]}]},
            "file_id",
        ),
        (GEMINI, {"cachedContent": "cachedContents/1"}, "cachedContent"),
        (GEMINI, {"cached_content": "cachedContents/1"}, "cachedContent"),
        (GEMINI, {"contents": [{"parts": [{"fileData": {"fileUri": "https://x"}}]}]}, "fileUri"),
        (GEMINI, {"contents": [{"parts": [{"file_data": {"file_uri": "https://x"}}]}]}, "fileUri"),
        (GEMINI, {"tools": [{"fileSearch": {"fileSearchStoreNames": ["s"]}}]}, "fileSearchStoreNames"),
        # The application's own objects are opaque in their one place and in no other.
        (MESSAGES, {"messages": [{"content": [{"type": "text", "input": FILE}]}]}, "file_id"),
        (MESSAGES, {"messages": [{"type": "tool_use", "input": FILE}]}, "file_id"),
        (RESPONSES, {"store": False, "type": "tool_use", "input": [FILE | {"role": "user"}]}, "file_id"),
        (GEMINI, {"generateContentRequest": {"cachedContent": "cachedContents/1"}}, "cachedContent"),
        (RESPONSES, {"store": False, "input": [{"type": "image_generation_call", "id": "ig"}]}, "stored one"),
        (RESPONSES, {"store": False, "input": [{"type": "reasoning", "id": "rs", "summary": []}]}, "stored"),
        (RESPONSES, {"store": False, "input": {"type": "item_reference", "id": "msg"}}, "stored one"),
        (RESPONSES, {"store": False, "input": [{"content": [{"type": "item_reference"}]}]}, "stored one"),
        (RESPONSES, {"store": False, "tools": [{"skill_id": "sk"}]}, "skill_id"),
        (CHAT, {"tools": [{"vector_store_ids": "vs_1"}]}, "vector_store_ids"),
        ("/v1/audio/speech", {"voice": {"id": "voice_1"}}, "stored voice"),
        (CHAT, [], "not a JSON object"),
        (CHAT, None, "not a JSON object"),
        (CHAT, "store", "not a JSON object"),
    ],
)
def test_refused(path: str, body: Any, reason: str) -> None:
    with pytest.raises(StoredObjectError, match=reason):
        check_stored_objects(path, body)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (RESPONSES, {"store": False, "input": "hello"}),
        (RESPONSES, {"store": False, "input": [{"role": "user", "content": "hello"}]}),
        (RESPONSES, {"store": False, "input": [{"type": "function_call_output", "id": "fc", "output": ""}]}),
        (RESPONSES, {"store": False, "previous_response_id": None, "conversation": None}),
        (RESPONSES, {"store": False, "background": False}),
        (CHAT, {"messages": [{"role": "user", "content": "store my file_id"}]}),
        (CHAT, {"store": False, "audio": {"voice": "alloy", "format": "mp3"}}),
        ("/v1/completions", {"prompt": "hello"}),
        ("/v1/completions", {"prompt": ["hello", "you"]}),
        (
            CHAT,
            {"tools": [{"function": {"parameters": {"properties": {"file_id": {"type": "string"}}}}}]},
        ),
        (
            MESSAGES,
            {"messages": [{"content": [{"type": "tool_use", "input": {"file_id": "mine"}}]}]},
        ),
        (
            MESSAGES,
            {"tools": [{"input_schema": {"properties": {"container": {"type": "string"}}}}]},
        ),
        (
            GEMINI,
            {
                "contents": [
                    {
                        "parts": [
                            {"functionCall": {"name": "f", "args": {"file_id": "mine"}}},
                            {"functionResponse": {"name": "f", "response": {"file_id": "mine"}}},
                        ]
                    }
                ]
            },
        ),
        (MESSAGES, {"messages": [{"content": [{"source": {"type": "base64", "data": "AA=="}}]}]}),
    ],
)
def test_not_refused(path: str, body: Any) -> None:
    check_stored_objects(path, body)


def test_depth_is_walked_without_recursion() -> None:
    body: Any = {"file_id": "file-1"}
    for _ in range(50_000):
        body = [body]
    with pytest.raises(StoredObjectError):
        check_stored_objects(CHAT, {"messages": body})


FORM = b"--b\r\nContent-Disposition: form-data; %s\r\n\r\nvalue\r\n--b--\r\n"


@pytest.mark.parametrize(
    "field",
    [
        b'name="image[0][file_id]"',
        b"name=fileid",
        b'NAME = "x_FILE_ID"',
        b"name*=utf-8''file%5fid",
        b'name="fi\\le_id"',
        b'name="file\\_id"',
        b'name="file%5Fid"',
        b"name=%66ile_id",
        b'name="=?utf-8?q?file=5Fid?="',
    ],
)
def test_a_form_field_that_refers_to_a_file_is_refused(field: bytes) -> None:
    with pytest.raises(StoredObjectError, match="form field"):
        check_form_data(FORM % field)


def test_other_form_fields_pass() -> None:
    check_form_data(FORM % b'name="file"; filename="file_id.png"')
    check_form_data(FORM % b'name="image[]"; filename="C:\\100%.png"')
