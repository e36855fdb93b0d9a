"""What the scripted provider received."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

Outcome = Literal["open", "answered", "broken off", "abandoned"]


@dataclass
class ReceivedRequest:
    """One request, as the bridge sent it to the provider.

    Attributes:
        method: in capitals.
        target: the path with its query.
        headers: names in lower case, in the order of their arrival.
        body: the whole body.
        outcome: "open" until the response has ended; then "answered", "broken off" (by `cut_after`), or
            "abandoned" (the peer closed the connection first).
    """

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    outcome: Outcome = "open"

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def json(self) -> Any:
        """The body as JSON. Raises ValueError if it is something else."""
        return json.loads(self.body)

    def json_object(self) -> dict[str, Any]:
        """The body as a JSON object, or {} if it is something else."""
        try:
            value = self.json
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}
