"""The URL of a request, parsed once and refused rather than normalised (spec/protocol.md, section 11.2).

Parsers that normalise disagree with each other. So a URL with more than one reading is refused, and one that
passes reaches the provider byte for byte.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_plus

from blindrelay.serving import Address

MAX_URL_SIZE: Final = 8_192
"""Bytes. Common servers accept this much for a request line (RFC 9110, section 4.1, recommends 8,000)."""

DEFAULT_PORTS: Final = {"http": 80, "https": 443}

PASSED_PARAMETERS: Final = frozenset(
    {
        "after",
        "after_id",
        "alt",
        "api-version",
        "before_id",
        "beta",
        "client_version",
        "default_only",
        "endpoint",
        "fields",
        "include",
        "include[]",
        "intent",
        "limit",
        "model",
        "offset",
        "order",
        "page",
        "pageSize",
        "pageToken",
        "page_size",
        "page_token",
        "prettyPrint",
        "sort",
        "supported_parameters",
        "$alt",
        "$fields",
        "$prettyPrint",
    }
)
"""Query parameters that pass with an INJECTED credential: paging, versions, formats. Others may carry a
credential (key, access_token), change the call ($httpMethod), or refer to another customer's data
(call_id)."""

_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+")
_URL: Final = re.compile(r"([^:/?#]+)://([^/?#]*)([^?#]*)(\?.*)?")
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
_HOST: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")
_ESCAPE: Final = r"%[0-9A-Fa-f]{2}"
# RFC 3986, sections 3.3 and 3.4; brackets are in common use in queries.
_PATH: Final = re.compile(rf"(?:/|[A-Za-z0-9\-._~!$&'()*+,;=:@]|{_ESCAPE})*")
_QUERY: Final = re.compile(rf"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]]|{_ESCAPE})*")
_AMBIGUOUS_ESCAPE: Final = re.compile(r"%(2e|5c|00)", re.IGNORECASE)
# A model's name may have a slash, escaped or not (org/name). Some servers undo the escape before they route.
_SLASH: Final = re.compile(r"/|%2f", re.IGNORECASE)
_DOT_SEGMENT: Final = re.compile(r"\.{1,2}(;.*)?")


class UrlError(ValueError):
    """The URL is refused. The text says why."""


@dataclass(frozen=True)
class Origin:
    """Scheme, host and port, the port always given (RFC 6454). A host is lower-case, IPv6 in brackets."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """host, or host:port if the port is not the scheme's own: the Host header."""
        return self.host if self.port == DEFAULT_PORTS[self.scheme] else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether it names this machine: localhost, 127.0.0.0/8, [::1]."""
        return Address(self.host.strip("[]"), self.port).is_loopback

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


@dataclass(frozen=True)
class RequestUrl:
    """A URL that has one reading.

    Attributes:
        path: with its leading slash and its escapes, as given.
        query: with its question mark, as given; empty if there is none.
    """

    origin: Origin
    path: str
    query: str

    @property
    def target(self) -> bytes:
        """Path and query for the request line, as given."""
        return (self.path + self.query).encode("ascii")

    def unlisted_parameter(self) -> str | None:
        """The first query parameter that is not in PASSED_PARAMETERS; they are compared exactly."""
        if not self.query:
            return None
        for pair in re.split("[&;]", self.query[1:]):
            name = unquote_plus(pair.partition("=")[0])
            if name not in PASSED_PARAMETERS:
                return name
        return None


def parse_url(text: str) -> RequestUrl:
    """Reads an absolute http or https URL. Raises UrlError if it could be read in two ways."""
    _check_characters(text)
    match = _URL.fullmatch(text)
    if match is None:
        raise UrlError("it is not absolute, such as https://api.openai.com/v1/models")
    scheme, authority, path, query = match.groups(default="")
    origin = _origin(scheme, authority)
    _check_path(path)
    _check_query(query)
    return RequestUrl(origin, path, query)


def parse_origin(text: str) -> Origin:
    """Reads "scheme://host[:port]", as configurations give it. Raises UrlError."""
    _check_characters(text)
    match = _URL.fullmatch(text)
    if match is None or match[3] or match[4]:
        raise UrlError("it is not an origin, such as https://api.openai.com, without a path")
    return _origin(match[1], match[2])


def _check_characters(text: str) -> None:
    if len(text) > MAX_URL_SIZE:
        raise UrlError(f"it is longer than {MAX_URL_SIZE} bytes")
    if not text.isascii():
        raise UrlError("it has a character that is not ASCII")
    if not _PRINTABLE.fullmatch(text):
        raise UrlError("it is empty, or has a space or a control character")
    if "\\" in text:
        raise UrlError("it has a backslash")
    if "#" in text:
        raise UrlError("it has a fragment")


def _origin(scheme: str, authority: str) -> Origin:
    if scheme not in DEFAULT_PORTS:
        raise UrlError("its scheme is not http or https, in lower case")
    if "@" in authority:
        raise UrlError("it has user information before its host")
    host, port = _split_port(authority)
    if host.endswith("."):
        raise UrlError("its host ends in a dot")
    if not (_HOST.fullmatch(host) or _is_ipv6(host)):
        raise UrlError("its host is not a lower-case name or an IP address")
    if port is None:
        return Origin(scheme, host, DEFAULT_PORTS[scheme])
    if not _PORT.fullmatch(port) or int(port) > 65_535:
        raise UrlError("its port is not a number from 1 to 65535")
    return Origin(scheme, host, int(port))


def _split_port(authority: str) -> tuple[str, str | None]:
    host, separator, port = authority.rpartition(":")
    if not separator or port.endswith("]"):
        return authority, None
    return host, port


def _is_ipv6(host: str) -> bool:
    # A zone, after a percent sign, is for this machine's own interfaces.
    if not (host.startswith("[") and host.endswith("]")) or "%" in host:
        return False
    try:
        return str(ipaddress.IPv6Address(host[1:-1])) == host[1:-1]
    except ValueError:
        return False


def _check_path(path: str) -> None:
    if not path:
        raise UrlError("it has no path")
    if _AMBIGUOUS_ESCAPE.search(path):
        raise UrlError("its path has an escaped dot, backslash or NUL")
    if not _PATH.fullmatch(path):
        raise UrlError("its path has a character or an escape that RFC 3986 does not allow")
    for segment in _SLASH.split(path[1:]):
        if not segment:
            raise UrlError("its path has an empty segment")
        if _DOT_SEGMENT.fullmatch(segment):
            raise UrlError("its path has a dot segment")


def _check_query(query: str) -> None:
    if not _QUERY.fullmatch(query[1:]):
        raise UrlError("its query has a character or an escape that RFC 3986 does not allow")
    if "%00" in query:
        raise UrlError("its query has an escaped NUL")
