"""The page at /: whose key is pinned, and what the relay could see of the last exchanges. Never content."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from typing import Final

from blindrelay.client.connection_config import ConnectionConfig
from blindrelay.client.endpoint.journal import KEPT_EXCHANGES, OPEN, WHOLE, Entry
from blindrelay.client.endpoint.page import clock, page, short
from blindrelay.trust import VerifiedDirectory, VerifiedKey, format_identity, identity_groups
from blindrelay.v1.inner_pb2 import Credential

_COLUMNS: Final = (
    ("Began (UTC)", False),
    ("Seconds", True),
    ("Bytes up", True),
    ("Bytes down", True),
    ("Records", True),
    ("Units, at most", True),
    ("Key", False),
    ("Exchange", False),
    ("Outcome", False),
)

_CLASSES: Final = {WHOLE: "good", OPEN: ""}


@dataclass(frozen=True)
class Status:
    """What the page shows.

    Attributes:
        directories: verified; of the newest fetch.
        entries: the newest first.
        now: Unix seconds.
        keeps_content: whether there is a page with contents to lead to.
    """

    connection: ConnectionConfig
    directories: list[VerifiedDirectory]
    entries: list[Entry]
    now: float
    keeps_content: bool = False


def status_page(status: Status) -> str:
    """The page, in HTML that needs nothing else."""
    return page("BlindRelay: local endpoint", _body(status))


def _body(status: Status) -> Iterator[str]:
    yield "<header><h1>BlindRelay: local endpoint</h1>"
    yield f"<p>What is sent here leaves this machine sealed. As of {clock(status.now)} UTC."
    yield '<a href="/">Look again</a></p></header>'
    yield from _trust(status)
    yield from _exchanges(status)


def _trust(status: Status) -> Iterator[str]:
    identity = status.connection.identity
    yield "<section>\n<h2>Whom this endpoint trusts</h2>\n<dl>"
    yield _term("Pinned identity", f"<code>{escape(format_identity(identity))}</code>")
    yield _term("By voice", f'<code class="groups">{escape(identity_groups(identity))}</code>')
    yield _term("Relay", escape(status.connection.target))
    yield _term("Credentials", "your own, sealed" if _brings(status.connection) else "the bridge's")
    if not status.directories:
        yield _term("Keys", "none yet: they are fetched, and verified, with the first exchange")
    for directory in status.directories:
        keys = "<br>".join(_key(key, status.now) for key in directory.keys)
        yield _term(f"Keys of bridge process {short(directory.replica_id)}", keys)
    yield "</dl>\n</section>"


def _key(key: VerifiedKey, now: float) -> str:
    epoch = f"epoch {clock(key.not_before)} to {clock(key.not_after)} UTC"
    return f"<code>{short(key.key_id)}</code> {_age(key, now)} <small>{epoch}</small>"


def _age(key: VerifiedKey, now: float) -> str:
    if now < key.not_before:
        return f"begins in {_duration(key.not_before - now)}"
    if now > key.not_after:
        return f"ended {_duration(now - key.not_after)} ago"
    return f"{_duration(now - key.not_before)} old, ends in {_duration(key.not_after - now)}"


def _exchanges(status: Status) -> Iterator[str]:
    yield '<section>\n<h2 id="exchanges">What the relay could see</h2>'
    if status.entries:
        yield '<div class="scroll" role="region" aria-labelledby="exchanges" tabindex="0">\n<table>'
        yield "<thead><tr>" + "".join(_header(*column) for column in _COLUMNS) + "</tr></thead>\n<tbody>"
        yield from map(_row, status.entries)
        yield "</tbody>\n</table>\n</div>"
    else:
        yield "<p>Nothing was sent yet.</p>"
    yield (
        f'<p class="note">The last {KEPT_EXCHANGES} exchanges at most, the newest first, beside your access '
        "token and address. Sizes are those of sealed, padded records. How an exchange ended is what this "
        "endpoint knows, and not the relay.</p>"
    )
    yield '<p class="note">' + _about_content(status) + "</p>\n</section>"


def _about_content(status: Status) -> str:
    if status.keeps_content:
        return (
            "Contents are kept in this process's memory (<code>--show-content</code>): "
            '<a href="/content">see them</a>, with the token of this endpoint.'
        )
    return "Contents are not kept, and are nowhere to be seen: <code>--show-content</code> would change that."


def _row(entry: Entry) -> str:
    view = entry.view
    cells = (
        clock(view.began),
        f"{view.seconds:.1f}",
        f"{view.total('up'):,}",
        f"{view.total('down'):,}",
        f"{view.passed:,}",
        f"{view.envelope.max_units:,}",
        f"<code>{short(view.envelope.key_id)}</code>",
        f"<code>{short(view.envelope.exchange_id)}</code>",
        f'<span class="{_CLASSES.get(entry.outcome, "bad")}">{escape(entry.outcome)}</span>',
    )
    return "<tr>" + "".join(_cells(cells)) + "</tr>"


def _cells(cells: Iterable[str]) -> Iterator[str]:
    for cell, (name, is_number) in zip(cells, _COLUMNS, strict=True):
        number = ' class="number"' if is_number else ""
        yield f'<td data-column="{name}"{number}>{cell}</td>'


def _header(text: str, is_number: bool) -> str:
    number = ' class="number"' if is_number else ""
    return f'<th scope="col"{number}>{text}</th>'


def _brings(connection: ConnectionConfig) -> bool:
    return connection.credential == Credential.CREDENTIAL_BROUGHT


def _term(name: str, value: str) -> str:
    return f"<dt>{name}</dt><dd>{value}</dd>"


def _duration(seconds: float) -> str:
    minutes = max(0, int(seconds)) // 60
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
