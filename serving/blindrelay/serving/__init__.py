"""What relay and bridge share as gRPC servers: options, listener, tokens, configuration, commands.

Its only cryptography is the hash of access tokens. It knows nothing about sealed content.
"""

from __future__ import annotations

import blindrelay.v1.grpc_env  # noqa: F401 - before the first import of grpc

# isort: split
from blindrelay.serving.address import Address, parse_address
from blindrelay.serving.admission import Admission, Share, Shares
from blindrelay.serving.callers import Callers
from blindrelay.serving.command import (
    Announce,
    CommandParser,
    add_health_check,
    add_serving,
    command_parser,
    run_command,
)
from blindrelay.serving.config import Table, read_config
from blindrelay.serving.errors import CallRefusedError, ConfigError, ServingError, StartError
from blindrelay.serving.files import read_bytes, read_secret
from blindrelay.serving.handlers import UNREAD_SECONDS, Context, first_message, guarded, write_in_time
from blindrelay.serving.lifecycle import ORDER_BY_SIGNAL, Order, Orders, orders_by_signal, serve_until_stopped
from blindrelay.serving.listener import listen, require_tls_off_loopback, reserved_port
from blindrelay.serving.options import (
    CLIENT_IDLE_SECONDS,
    STREAMS_PER_CLIENT,
    STREAMS_PER_RELAY,
    server_options,
)
from blindrelay.serving.sandbox import Needs, enter_sandbox, leave_terminal
from blindrelay.serving.seccomp import forbid_processes
from blindrelay.serving.tls import ChannelTls, ServerTls
from blindrelay.serving.tokens import (
    TokenEntry,
    TokenFile,
    issue_token,
    list_tokens,
    read_token,
    revoke_token,
)
from blindrelay.v1.grpc_profile import authorization

__all__ = [
    "CLIENT_IDLE_SECONDS",
    "ORDER_BY_SIGNAL",
    "STREAMS_PER_CLIENT",
    "STREAMS_PER_RELAY",
    "UNREAD_SECONDS",
    "Address",
    "Admission",
    "Announce",
    "CallRefusedError",
    "Callers",
    "ChannelTls",
    "CommandParser",
    "ConfigError",
    "Context",
    "Needs",
    "Order",
    "Orders",
    "ServerTls",
    "ServingError",
    "Share",
    "Shares",
    "StartError",
    "Table",
    "TokenEntry",
    "TokenFile",
    "add_health_check",
    "add_serving",
    "authorization",
    "command_parser",
    "enter_sandbox",
    "first_message",
    "forbid_processes",
    "guarded",
    "issue_token",
    "leave_terminal",
    "list_tokens",
    "listen",
    "orders_by_signal",
    "parse_address",
    "read_bytes",
    "read_config",
    "read_secret",
    "read_token",
    "require_tls_off_loopback",
    "reserved_port",
    "revoke_token",
    "run_command",
    "serve_until_stopped",
    "server_options",
    "write_in_time",
]
