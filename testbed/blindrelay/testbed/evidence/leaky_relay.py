"""The relay with a protection taken out, so that the evidence run has something to find.

    python -m blindrelay.testbed.evidence.leaky_relay LEAK[,LEAK…] serve --config relay.toml [--json]

Nothing that ships has any of this.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, Final
from unittest.mock import patch

from blindrelay.relay_node import service
from blindrelay.relay_node.audit_log import AuditLog
from blindrelay.relay_node.cli import main as relay_main
from blindrelay.relay_node.replica import Replica
from blindrelay.relay_node.service import RelayService
from blindrelay.serving import command
from blindrelay.testing.tapped_channel import TappedCall

Hear = Callable[[bytes], object]


class _Ear:
    """Hears the messages of one call, both ways."""

    def __init__(self, hear: Hear) -> None:
        self._hear = hear

    def sent(self, message: bytes) -> None:
        self._hear(message)

    received = sent


def _overheard(hear: Hear) -> AbstractContextManager[object]:
    heard = vars(service)["forward"]  # patched already if two leaks are combined

    async def overheard(first: bytes, context: Any, call: Any, *others: Any) -> Any:
        tapped = TappedCall(call, _Ear(hear))
        return await heard(first, context, tapped, *others)

    return patch.object(service, "forward", overheard)


def logged_body() -> AbstractContextManager[object]:
    """Each message is written to the log, as a debugger would."""
    return _overheard(lambda message: sys.stderr.write(f"forwarding {message[:200].hex()}\n"))


def kept_buffer() -> AbstractContextManager[object]:
    """Each message stays in a list."""
    kept: list[bytes] = []
    return _overheard(kept.append)


@contextmanager
def debug_dump() -> Iterator[None]:
    """Each message is appended to a file."""
    with open("dump.bin", "ab") as file, _overheard(file.write):  # noqa: PTH123 (a careless programmer's)
        yield


def unblurred_size() -> AbstractContextManager[object]:
    """Sizes are counted as they are."""

    def counted(self: AuditLog, outcome: str, request_bytes: int, response_bytes: int) -> None:
        self.count(outcome)
        self._sizes[str(request_bytes + response_bytes)] += 1

    return patch.object(AuditLog, "exchange", counted)


def timely_line() -> AbstractContextManager[object]:
    """Each exchange has a line of its own when it ends: its words are blurred, and its time is not."""
    exchange = AuditLog.exchange

    def written(self: AuditLog, outcome: str, request_bytes: int, response_bytes: int) -> None:
        exchange(self, outcome, request_bytes, response_bytes)
        self.report()

    return patch.object(AuditLog, "exchange", written)


@contextmanager
def forwarded_header() -> Iterator[None]:
    """What the client's call has for metadata goes on to the bridge, as proxies do."""
    callers: ContextVar[tuple[tuple[str, Any], ...]] = ContextVar("callers", default=())
    exchange, call = RelayService._exchange, Replica.call

    async def noted(self: RelayService, iterator: object, context: Any) -> None:
        metadata = context.invocation_metadata()
        callers.set((*((f"x-forwarded-{key}", value) for key, value in metadata), ("x-for", context.peer())))
        await exchange(self, iterator, context)

    def forwarded(self: Replica, envelope: bytes, timeout: float) -> Any:
        shown = (*self.metadata(), *callers.get())
        with patch.object(self, "metadata", lambda: shown):
            return call(self, envelope, timeout)

    with patch.object(RelayService, "_exchange", noted), patch.object(Replica, "call", forwarded):
        yield


def traces() -> AbstractContextManager[object]:
    """A crash leaves a core, and memory that was freed stays as it is."""
    return patch.object(command, "leave_no_traces", lambda: None)


LEAKS: Final[dict[str, Callable[[], AbstractContextManager[object]]]] = {
    "logged-body": logged_body,
    "kept-buffer": kept_buffer,
    "debug-dump": debug_dump,
    "unblurred-size": unblurred_size,
    "timely-line": timely_line,
    "forwarded-header": forwarded_header,
    "traces": traces,
}
"""By name. They can be combined."""

NEED_TO_WRITE: Final = frozenset({"debug-dump", "traces"})
"""Of them, those that the sandbox and the read-only file systems would stop."""


def main() -> int:
    """Runs the relay's command with the named protections taken out; returns its exit code."""
    names, *arguments = sys.argv[1:]
    with ExitStack() as stack:
        for name in names.split(","):
            stack.enter_context(LEAKS[name]())
        return relay_main(arguments)


if __name__ == "__main__":
    sys.exit(main())
