"""The page at /: whose key is pinned, and what the relay could see of the last exchanges. Never content."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Final

from blindrelay.client.connection import Connection
from blindrelay.client.endpoint.journal import KEPT_EXCHANGES, Entry
from blindrelay.sealing import VerifiedDirectory, format_identity
from blindrelay.v1.inner_pb2 import Credential

_STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.5rem; }
dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .5rem; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; white-space: nowrap; }
tr { border-bottom: 1px solid #8886; }
th.number, td.number { text-align: right; }
code { font-family: ui-monospace, monospace; font-size: .92em; }
"""

_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

_COLUMNS: Final = (
    ("Began (UTC)", False),
    ("Seconds", True),
    ("Bytes up", True),
    ("Bytes down", True),
    ("Records", True),
    ("Key", False),
    ("Exchange", False),
    ("Outcome", False),
)


@dataclass(frozen=True)
class Status:
    """What the page shows.

    Attributes:
        directories: verified; of the newest fetch.
        entries: the newest first.
        now: Unix seconds.
    """

    connection: Connection
    directories: list[VerifiedDirectory]
    entries: list[Entry]
    now: float


def status_page(status: Status) -> str:
    """The page, in HTML that needs nothing else."""
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<link rel="icon" href="data:,">',
            f"<title>BlindRelay: local endpoint</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>",
            "<h1>BlindRelay: local endpoint</h1>",
            '<p>What is sent here leaves this machine sealed. <a href="/">Look again</a></p>',
            *_trust(status),
            *_exchanges(status.entries),
            "</main>\n</body>\n</html>\n",
        ]
    )


def _trust(status: Status) -> Iterator[str]:
    yield "<h2>Whom this endpoint trusts</h2>\n<dl>"
    yield _term("Pinned identity", f"<code>{escape(format_identity(status.connection.identity))}</code>")
    yield _term("Relay", escape(status.connection.target))
    yield _term("Credentials", "your own, sealed" if _brings(status.connection) else "the bridge's")
    yield _term("Bridge processes seen", str(len(status.directories)) if status.directories else "none yet")
    for directory in status.directories:
        for key in directory.keys:
            age = _duration(status.now - key.not_before)
            epoch = f"{_clock(key.not_before)} to {_clock(key.not_after)} UTC"
            text = f"<code>{_short(key.key_id)}</code>, valid {epoch}, {age} old"
            yield _term("Key", text)
    yield "</dl>"


def _exchanges(entries: list[Entry]) -> Iterator[str]:
    yield "<h2>What the relay could see</h2>"
    if not entries:
        yield "<p>Nothing was sent yet.</p>"
        return
    yield '<div class="scroll" role="region" aria-labelledby="exchanges" tabindex="0">\n<table>'
    yield (
        f'<caption id="exchanges">The last {KEPT_EXCHANGES} exchanges at most, the newest first. Sizes are '
        "those of sealed, padded records; of their content the relay, and this page, see nothing.</caption>"
    )
    yield "<thead><tr>" + "".join(_header(*column) for column in _COLUMNS) + "</tr></thead>\n<tbody>"
    yield from map(_row, entries)
    yield "</tbody>\n</table>\n</div>"


def _row(entry: Entry) -> str:
    view = entry.view
    cells = (
        _clock(view.began),
        f"{view.seconds:.1f}",
        f"{view.total('up'):,}",
        f"{view.total('down'):,}",
        f"{view.passed:,}",
        f"<code>{_short(view.envelope.key_id)}</code>",
        f"<code>{_short(view.envelope.exchange_id)}</code>",
        escape(entry.outcome),
    )
    return "<tr>" + "".join(_cells(cells)) + "</tr>"


def _cells(cells: Iterable[str]) -> Iterator[str]:
    for cell, (_, is_number) in zip(cells, _COLUMNS, strict=True):
        yield f'<td class="number">{cell}</td>' if is_number else f"<td>{cell}</td>"


def _header(text: str, is_number: bool) -> str:
    number = ' class="number"' if is_number else ""
    return f'<th scope="col"{number}>{text}</th>'


def _brings(connection: Connection) -> bool:
    return connection.credential == Credential.CREDENTIAL_BROUGHT


def _term(name: str, value: str) -> str:
    return f"<dt>{name}</dt><dd>{value}</dd>"


def _short(identifier: bytes) -> str:
    return identifier.hex()[:8]


def _clock(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"


def _duration(seconds: float) -> str:
    minutes = max(0, int(seconds)) // 60
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
