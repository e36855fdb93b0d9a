"""What the endpoint's own pages have in common: HTML that needs nothing else, and that may do nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

_STYLE: Final = """
:root {
  color-scheme: light dark;
  --text: light-dark(#1b1f24, #e6e8eb); --soft: light-dark(#59636e, #9aa4af);
  --ground: light-dark(#f6f7f9, #14171b); --card: light-dark(#fff, #1c2026);
  --line: light-dark(#d8dde3, #323942); --link: light-dark(#0a58ca, #7db4ff);
  --good: light-dark(#136c37, #5fd48a); --bad: light-dark(#b3261e, #ff8f85);
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 72rem;
  background: var(--ground); color: var(--text); font: 1rem/1.5 system-ui, sans-serif;
}
a { color: var(--link); }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 0 0 .75rem; }
header p { margin: .25rem 0 1.5rem; color: var(--soft); }
section {
  margin: 0 0 1.25rem; padding: 1.25rem; background: var(--card);
  border: 1px solid var(--line); border-radius: .6rem;
}
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .5rem 1.5rem; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
dd small, summary small, .note { color: var(--soft); font-size: .88rem; }
.note { margin: .75rem 0 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .94rem; }
th { color: var(--soft); font-weight: 500; }
th, td { text-align: left; padding: .4rem 1rem .4rem 0; white-space: nowrap; }
tbody tr { border-top: 1px solid var(--line); }
th.number, td.number { text-align: right; }
.number + :not(.number) { padding-left: .75rem; }
.good { color: var(--good); } .bad { color: var(--bad); }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
.groups { display: block; white-space: pre; overflow-x: auto; }
pre {
  margin: .25rem 0 0; padding: .75rem; max-height: 24rem; overflow: auto; white-space: pre-wrap;
  overflow-wrap: anywhere; background: var(--ground); border: 1px solid var(--line); border-radius: .4rem;
}
h3 { font-size: .95rem; font-weight: 500; color: var(--soft); margin: 1rem 0 0; }
summary { cursor: pointer; overflow-wrap: anywhere; } summary small, dd small { margin-left: .5rem; }
details + details { border-top: 1px solid var(--line); margin-top: .75rem; padding-top: .75rem; }
label { display: block; margin-bottom: .35rem; }
input, button { font: inherit; padding: .45rem .7rem; border: 1px solid var(--soft); border-radius: .4rem; }
input { width: min(32rem, 100%); background: var(--ground); color: var(--text); }
button { background: var(--card); color: var(--text); cursor: pointer; margin-top: .5rem; }
@media (max-width: 40rem) {
  dl { grid-template-columns: minmax(0, 1fr); gap: 0; } dd { margin-bottom: .75rem; }
  .groups { white-space: pre-line; }
  /* A row is a card: to the right of a phone's edge nobody looks. */
  thead { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
  table, tbody, tr { display: block; } tr { padding: .5rem 0; }
  td, td.number { display: flex; justify-content: space-between; gap: 1rem; padding: .1rem 0; }
  td { white-space: normal; }
  td::before { content: attr(data-column); color: var(--soft); }
}
"""

_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # Not no-referrer: a form's Origin would be null then, and the endpoint wants its own.
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}
"""Of every page: no script runs on it, and nothing is fetched for it."""


def page(title: str, body: Iterable[str]) -> str:
    """A whole page, from pieces of HTML that are escaped already."""
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<link rel="icon" href="data:,">',
            f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>",
            *body,
            "</main>\n</body>\n</html>\n",
        ]
    )


def clock(seconds: float) -> str:
    """Unix seconds as a date and a time of day, in UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"


def short(identifier: bytes) -> str:
    """Enough of an identifier to tell it from its neighbours."""
    return identifier.hex()[:8]
