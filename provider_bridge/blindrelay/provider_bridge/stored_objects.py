"""What an INJECTED exchange may not say: that something is stored, or that something stored is meant.

With an injected credential all customers are one account at the provider; what one stores, another could
read (spec/protocol.md, section 11.5). Keys are compared without case and underscores, since providers
take several spellings for one: file_uri and fileUri are the same to Gemini, and Go servers ignore case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

_REMEDY: Final = "; leave it out, or bring your own credential (credentials=brought)"

_TOP_LEVEL: Final = {
    "background": "background has the provider store the answer",
    "cachedcontent": "cachedContent refers to stored content",
    "container": "container refers to a stored container",
    "conversation": "conversation refers to a stored conversation",
    "previousresponseid": "previous_response_id refers to a stored answer",
    "thread": "thread has the provider hold the conversation",
}
"""Keys of the body itself that may only be absent, null or false."""

_REFERENCES: Final = {
    "cachedcontent": "cachedContent refers to stored content",
    "containerid": "container_id refers to a stored container",
    "fileid": "file_id refers to a stored file",
    "fileuri": "fileUri refers to a stored file",
    "fileids": "file_ids refers to stored files",
    "filesearchstorenames": "fileSearchStoreNames refers to stored files",
    "libraryids": "library_ids refers to stored documents",
    "skillid": "skill_id refers to a stored skill",
    "vectorstoreids": "vector_store_ids refers to stored files",
}
"""Keys that refer to something stored, wherever they stand, unless they hold an object: as in a schema."""

_ASKED_UNDER: Final = frozenset({"response", "session"})
"""Where a message of a tunnel says what it asks for, beside its top."""

_NO_PAYLOAD: Final = frozenset({"id", "status", "type"})
"""All that an input item has that is but a reference to a stored one."""


_FORM_REFERENCE: Final = re.compile(
    rb"""(?<![a-z])name[^\x21-\x7e]*+(?:\*|=[^\x21-\x7e]*+"?[^"\r\n;=]*(?:file_?id|[\\%]|=\?))""",
    re.IGNORECASE,
)
"""RFC 7578 has no name*; a parser that reads one would see a field that is not seen here. So would one that
undoes escapes: a backslash, a percent sign, RFC 2047's =?. Around the =, parsers skip white space of many
kinds: folded lines, control bytes, Latin-1's. The time grows with the body, whatever is in it: that skipping
is possessive, and no attempt reads further than a byte past the next =."""


class StoredObjectError(ValueError):
    """The body stores something or refers to something stored; the text says what to set instead."""


def check_form_data(body: bytes | bytearray) -> None:
    """Judges a multipart/form-data body by the names of its fields. Raises StoredObjectError."""
    if _FORM_REFERENCE.search(body):
        raise StoredObjectError(
            "a form field refers to a stored file, or has a name that cannot be read" + _REMEDY
        )


def check_stored_objects(path: str, body: Any) -> None:
    """Judges a parsed JSON body on its way to `path`. Raises StoredObjectError."""
    if not isinstance(body, dict):
        raise StoredObjectError("the body is not a JSON object")
    _check_store(path, body)
    _check_top_level(body)
    _check_items(body)
    for node in _objects(body, skip=_opaque(body)):
        _check_references(node)


def check_tunnel_message(path: str, message: Any) -> None:
    """Judges a parsed message of the client's in a tunnel to `path` (spec/protocol.md, section 11.5).

    What it asks for stands at its top, or under `response` or `session`. Raises StoredObjectError.
    """
    if not isinstance(message, dict):
        raise StoredObjectError("the message is not a JSON object")
    stores = path if message.get("type") == "response.create" else ""
    nested = [value for key, value in message.items() if _plain(key) in _ASKED_UNDER]
    for body in [message, *_dicts(nested)]:
        _check_store(stores, body)
        _check_top_level({key: value for key, value in body.items() if not _own(path, key, value)})
        _check_items(body)
        if any(_plain(key) == "tracing" and value is not None for key, value in body.items()):
            raise StoredObjectError("tracing has the provider keep a trace" + _REMEDY)
    for node in _objects(message, skip=_opaque(message)):
        _check_references(node)
        _check_voice(node)


def _own(path: str, key: str, value: Any) -> bool:
    """Whether a conversation is meant that begins and ends with the tunnel."""
    return path.endswith("/realtime") and key == "conversation" and value in ("auto", "none")


def _check_store(path: str, body: dict[str, Any]) -> None:
    values = [value for key, value in body.items() if _plain(key) == "store"]
    if any(value is not False for value in values):
        raise StoredObjectError('the provider is asked to store the answer: set "store" to false')
    # The one API that stores unless it is told not to.
    if path.endswith("/responses") and "store" not in body:
        raise StoredObjectError('the Responses API stores answers by default: set "store" to false')


def _check_top_level(body: dict[str, Any]) -> None:
    for key, value in body.items():
        if value is not None and value is not False and (reason := _TOP_LEVEL.get(_plain(key))):
            raise StoredObjectError(reason + _REMEDY)
        if isinstance(value, dict) and _plain(key) == "prompt":
            raise StoredObjectError("prompt refers to a stored prompt" + _REMEDY)


def _check_items(body: dict[str, Any]) -> None:
    """The references that stand in one place only."""
    for tool in _dicts(body.get("tools")):
        if tool.get("container") is not None:
            raise StoredObjectError("a tool's container is stored by the provider" + _REMEDY)
    given = body.get("input")
    for item in _dicts([given] if isinstance(given, dict) else given):
        if "id" in item and not _payload(item):
            raise StoredObjectError("an input item refers to a stored one" + _REMEDY)
    _check_voice(body)
    for message in _dicts(body.get("messages")):
        audio = message.get("audio")
        if isinstance(audio, dict) and "id" in audio:
            raise StoredObjectError("a message's audio refers to a stored answer" + _REMEDY)


def _check_voice(node: dict[str, Any]) -> None:
    voice = node.get("voice")
    if isinstance(voice, dict) and "id" in voice:
        raise StoredObjectError("voice refers to a stored voice" + _REMEDY)


def _payload(item: dict[str, Any]) -> bool:
    return any(value not in (None, []) for key, value in item.items() if key not in _NO_PAYLOAD)


def _check_references(node: dict[str, Any]) -> None:
    if node.get("type") == "item_reference":
        raise StoredObjectError("an item refers to a stored one" + _REMEDY)
    for key, value in node.items():
        if value and not isinstance(value, dict) and (reason := _REFERENCES.get(_plain(key))):
            raise StoredObjectError(reason + _REMEDY)
        if key == "source" and isinstance(value, dict) and value.get("type") == "file":
            raise StoredObjectError("a source of type file refers to a stored file" + _REMEDY)


def _opaque(body: dict[str, Any]) -> set[int]:
    """The ids of objects that are the application's own: what a model called a tool with, and got back."""
    opaque = [
        block.get("input")
        for message in _dicts(body.get("messages"))
        for block in _dicts(message.get("content"))
        if block.get("type") == "tool_use"
    ]
    for content in _dicts(body.get("contents")):
        for part in _dicts(content.get("parts")):
            opaque += [call.get("args") for call in _dicts([part.get("functionCall")])]
            opaque += [answer.get("response") for answer in _dicts([part.get("functionResponse")])]
    return {id(value) for value in opaque if isinstance(value, dict)}


def _objects(value: Any, *, skip: set[int]) -> Iterator[dict[str, Any]]:
    """Every JSON object in a value, without recursion: the depth is the client's to choose."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict) and id(value) not in skip:
            yield value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _plain(key: str) -> str:
    return key.replace("_", "").casefold()
