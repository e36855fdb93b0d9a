"""What is held to which rule: a JSON body, a form, or a message of a WebSocket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from blindrelay.provider_bridge.cache_rules import CacheError, check_cache_rules
from blindrelay.provider_bridge.errors import RequestError
from blindrelay.provider_bridge.json_body import JsonError, parse_json
from blindrelay.provider_bridge.providers import CacheRules
from blindrelay.provider_bridge.stateless.description import Description
from blindrelay.provider_bridge.stateless.form_data import FormError, judge_form
from blindrelay.provider_bridge.stateless.judging import StoredObjectError, judge
from blindrelay.v1.inner_pb2 import ERROR_CODE_NOT_ALLOWED, ERROR_CODE_STORED_OBJECT


@dataclass(frozen=True)
class BodyCheck:
    """How one call's bodies are judged. It says so in plain values: another process may be the one to judge.

    Attributes:
        provider: the name of the provider whose description holds.
        kind: "bodies", "forms" or "messages".
        path: of the request.
        boundary: of a form; empty otherwise.
    """

    provider: str
    kind: str
    path: str
    boundary: bytes = b""

    def judge(self, description: Description, cache: CacheRules, body: bytes | bytearray) -> None:
        """Judges a whole body or message. Raises RequestError."""
        what = "message" if self.kind == "messages" else "body"
        with _refusals(what):
            rule = description.rule(self.kind, self.path)
            if rule is None:
                raise StoredObjectError(f"this bridge has no description of the {self.kind} of {self.path}")
            if self.kind == "forms":
                judge_form(body, self.boundary, rule)
            else:
                content = parse_json(body)
                judge(content, rule, what)
                self._judge_cache(cache, content)

    def _judge_cache(self, cache: CacheRules, content: Any) -> None:
        asks = self.kind == "bodies" or content.get("type") == "response.create"
        check_cache_rules(cache, self.path if asks else "", content)


@contextmanager
def _refusals(what: str) -> Iterator[None]:
    try:
        yield
    except (JsonError, FormError) as error:
        raise RequestError(ERROR_CODE_NOT_ALLOWED, f"the {what} cannot be checked: {error}") from None
    except CacheError as error:
        raise RequestError(ERROR_CODE_NOT_ALLOWED, str(error)) from None
    except StoredObjectError as error:
        raise RequestError(ERROR_CODE_STORED_OBJECT, str(error)) from None
