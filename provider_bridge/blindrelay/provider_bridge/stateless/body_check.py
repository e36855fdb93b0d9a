"""Checks a JSON body, a form, or a message of a WebSocket against the rule for its path."""

from __future__ import annotations

from dataclasses import dataclass

from blindrelay.provider_bridge.errors import RequestError, not_allowed
from blindrelay.provider_bridge.stateless.description import Description
from blindrelay.provider_bridge.stateless.form_data import FormError, check_form
from blindrelay.provider_bridge.stateless.json_body import JsonError, parse_json
from blindrelay.provider_bridge.stateless.json_check import StoredObjectError, check_json
from blindrelay.v1.inner_pb2 import ERROR_CODE_STORED_OBJECT


@dataclass(frozen=True)
class BodyCheck:
    """How one call's bodies are checked, in plain values that another process can be sent.

    Attributes:
        provider: the name of the provider whose description applies.
        kind: "bodies", "forms" or "messages".
        path: of the request.
        boundary: of a form; empty otherwise.
    """

    provider: str
    kind: str
    path: str
    boundary: bytes = b""

    def apply(self, description: Description, body: bytes | bytearray) -> None:
        """Checks a complete body or message. Raises RequestError."""
        what = "message" if self.kind == "messages" else "body"
        try:
            rule = description.rule(self.kind, self.path)
            if rule is None:
                raise StoredObjectError(f"this bridge has no description of the {self.kind} of {self.path}")
            if self.kind == "forms":
                check_form(body, self.boundary, rule)
            else:
                check_json(parse_json(body), rule, what)
        except (JsonError, FormError) as error:
            raise not_allowed(f"the {what} cannot be checked: {error}") from None
        except StoredObjectError as error:
            raise RequestError(ERROR_CODE_STORED_OBJECT, str(error)) from None
