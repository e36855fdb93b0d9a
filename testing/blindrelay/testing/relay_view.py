"""What the relay had of each exchange: an envelope, and sealed messages."""

from __future__ import annotations

from dataclasses import dataclass, field

from blindrelay.testing.tapped_channel import Metadata
from blindrelay.v1.envelope import envelope_from_metadata
from blindrelay.v1.envelope_pb2 import Envelope


@dataclass
class RelayedExchange:
    """All that the relay passed on of one exchange. Nothing of it is readable but the envelope.

    Attributes:
        metadata: of the call to the bridge.
        request_messages: sealed messages from the client, in order.
        response_messages: sealed messages from the bridge, in order.
    """

    metadata: dict[str, str | bytes]
    request_messages: list[bytes] = field(default_factory=list)
    response_messages: list[bytes] = field(default_factory=list)

    @property
    def envelope(self) -> Envelope:
        """The envelope, which the relay reads to find the bridge (spec/protocol.md, section 6)."""
        return envelope_from_metadata(self.metadata.items())[1]

    @property
    def request_bytes(self) -> int:
        """Bytes of all sealed messages to the bridge."""
        return sum(map(len, self.request_messages))

    @property
    def response_bytes(self) -> int:
        """Bytes of all sealed messages from the bridge."""
        return sum(map(len, self.response_messages))

    def __repr__(self) -> str:
        """Sizes only: a failing test would otherwise print kilobytes of ciphertext."""
        return f"<RelayedExchange: {self.request_bytes} bytes up, {self.response_bytes} bytes down>"

    def __contains__(self, text: str | bytes) -> bool:
        """Whether the text is in what the relay passed on, as it is."""
        wanted = text.encode() if isinstance(text, str) else text
        metadata = [value.encode() if isinstance(value, str) else value for value in self.metadata.values()]
        passed = (b"".join(self.request_messages), b"".join(self.response_messages), *metadata)
        return any(wanted in each for each in passed)

    def sent(self, message: bytes) -> None:
        """Notes a message to the bridge."""
        self.request_messages.append(message)

    def received(self, message: bytes) -> None:
        """Notes a message from the bridge."""
        self.response_messages.append(message)


class RelayView(list[RelayedExchange]):
    """The exchanges that a relay has forwarded, in order."""

    def observe(self, metadata: Metadata) -> RelayedExchange:
        """Begins an exchange."""
        self.append(RelayedExchange(dict(metadata)))
        return self[-1]
