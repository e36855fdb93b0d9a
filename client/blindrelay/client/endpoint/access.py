"""Who may use the endpoint: programs that show its token, but no web page.

Any web page can make a browser send requests to loopback, even under its own name (DNS rebinding). It cannot
set Host to our name, leave Origin out, or know the token.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable
from typing import Final

from blindrelay.client.endpoint.refusal import RefusedError
from blindrelay.client.endpoint.token_file import TOKEN_PREFIX
from blindrelay.v1.http_headers import Header

_TOKEN_HEADERS: Final = frozenset(
    {b"x-blindrelay-token", b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key"}
)
SUBPROTOCOL: Final = b"sec-websocket-protocol"
_KEY_SUBPROTOCOL: Final = b"openai-insecure-api-key."
_HTTP_PORT: Final = 80


class Access:
    """The rules for requests.

    Args:
        token: the endpoint's token.
        port: the port that it listens on.
        open_to_others: whether it listens on other interfaces than loopback. Then any address is accepted in
            Host; a name must be localhost or one of `allowed_hosts`.
        allowed_hosts: more names for the endpoint, without a port, in any case: "host.docker.internal".
    """

    def __init__(
        self, token: str, port: int, *, open_to_others: bool = False, allowed_hosts: Iterable[str] = ()
    ) -> None:
        self._token = token.encode()
        self._port = port
        self._open_to_others = open_to_others
        self._names = {"localhost", *(name.lower() for name in allowed_hosts)}

    def check_names(self, headers: Iterable[Header]) -> None:
        """Raises RefusedError if Host is not ours, or if Origin differs from Host."""
        found = list(headers)
        hosts = [value for name, value in found if name == b"host"]
        if len(hosts) != 1 or not self.is_ours(hosts[0].decode("latin-1")):
            raise RefusedError(
                403,
                "host",
                f"the Host header is not 127.0.0.1:{self._port} or localhost:{self._port}: "
                "if programs use another name, start the endpoint with --allow-host NAME",
            )
        if any(name == b"origin" and value != b"http://" + hosts[0] for name, value in found):
            raise RefusedError(
                403, "origin", "the endpoint is for programs, not for web pages of other sites"
            )

    def is_ours(self, host: str) -> bool:
        """Whether this is the endpoint's own authority: a host, with a port unless it is 80."""
        name, colon, port = host.rpartition(":")
        if not colon or port.endswith("]"):
            name, port = host, str(_HTTP_PORT)
        if port != str(self._port):
            return False
        if name.lower() in self._names:
            return True
        try:
            address = ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return False
        return address.is_loopback or self._open_to_others

    def shows_token(self, headers: Iterable[Header]) -> bool:
        """Whether one of the headers carries the token."""
        return any(self._carries_token(name, value) for name, value in headers)

    def is_token(self, text: bytes) -> bool:
        """Whether this is the token. The comparison takes constant time."""
        return hmac.compare_digest(text, self._token)

    def admitted(self, path: str, headers: list[Header]) -> tuple[str, list[Header], str]:
        """The request without the token: its path, its headers, and the token's part of the path, if any.

        The token may be in any header for keys, or be the first segment of the path. Headers that carry it
        are removed; other credentials stay. Raises RefusedError if the token is missing.
        """
        first = path.removeprefix("/").partition("/")[0]
        if first.startswith(TOKEN_PREFIX):
            if self.is_token(first.encode("latin-1")):
                return path.removeprefix(f"/{first}"), self.without_token(headers), f"/{first}"
        elif (kept := self.without_token(headers)) != headers:
            return path, kept, ""
        raise RefusedError(
            401,
            "local_token",
            "the request does not carry the endpoint's token: see `blindrelay proxy --show-token`",
        )

    def without_token(self, headers: Iterable[Header]) -> list[Header]:
        """The headers that do not carry the token."""
        kept = [(name, value) for name, value in headers if not self._carries_token(name, value)]
        return [each for each in map(self._without_subprotocol, kept) if each[1] or each[0] != SUBPROTOCOL]

    def _without_subprotocol(self, header: Header) -> Header:
        """OpenAI's SDK sends its key as a subprotocol, because web pages cannot set a WebSocket's headers."""
        name, value = header
        if name != SUBPROTOCOL or _KEY_SUBPROTOCOL not in value:
            return header
        offered = [each.strip() for each in value.split(b",")]
        return name, b", ".join(
            each for each in offered if not self.is_token(each.removeprefix(_KEY_SUBPROTOCOL))
        )

    def _carries_token(self, name: bytes, value: bytes) -> bool:
        if name not in _TOKEN_HEADERS:
            return False
        scheme, _, credential = value.strip().partition(b" ")
        return self.is_token(credential.strip() if scheme.lower() == b"bearer" else value.strip())
