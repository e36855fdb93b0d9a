"""An evidence run's result as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Final

from blindrelay.testbed.evidence.canaries import KINDS
from blindrelay.testbed.evidence.report import verdict
from blindrelay.testbed.evidence.result import PARTIES, RELAY, Evidence

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --good: #1a7f37; --bad: #cf222e; --lit: #bf8700; }
@media (prefers-color-scheme: dark) { :root { --good: #3fb950; --bad: #ff7b72; --lit: #e3b341; } }
body { font: 1rem/1.55 system-ui, sans-serif; max-width: 60rem; margin: 2.5rem auto; }
body { padding: 0 1.2rem; }
h1 { font-size: 1.6rem; margin-bottom: .3rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; }
.verdict { border-left: .35rem solid var(--good); padding: .6rem 1rem; background: #8881; }
.verdict.bad { border-color: var(--bad); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .32rem .9rem .32rem 0; border-bottom: 1px solid var(--line); }
th.number, td.number { text-align: right; }
td.lit { color: var(--lit); font-weight: 600; } td.nothing { color: var(--good); font-weight: 600; }
td.leak { color: var(--bad); font-weight: 700; }
code { font-family: ui-monospace, monospace; font-size: .92em; }
footer { margin: 3rem 0 1rem; color: #888; font-size: .9rem; }
"""

_COLUMNS: Final = {
    "client": "client",
    "relay": "BlindRelay's relay",
    "plain relay": "a relay that reads",
    "bridge": "bridge",
}


def page(evidence: Evidence) -> str:
    """The page."""
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<link rel="icon" href="data:,">',
            f"<title>Evidence: what a relay holds</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>",
            "<h1>What a relay holds</h1>",
            f"<p>{evidence.exchanges} exchanges went through BlindRelay&#8217;s relay, and as many through "
            "one that reads, with a word that nobody else says in every place where there can be content. "
            "Then each process was searched for every word, in every form.</p>",
            f'<p class="verdict{"" if evidence.is_good else " bad"}">{escape(verdict(evidence))}</p>',
            *(f"<p>{escape(each)}</p>" for each in (*evidence.leaks(), *evidence.weaknesses())),
            *_canaries(evidence),
            *_places(evidence),
            *_retention(evidence),
            *_asker(evidence),
            *_facts(evidence),
            *_method(evidence),
            "</main>\n</body>\n</html>\n",
        ]
    )


def _canaries(evidence: Evidence) -> Iterator[str]:
    yield "<h2>Words found, by what they were</h2>"
    head = [("planted as", False), *((_COLUMNS[party], True) for party in PARTIES)]
    rows = [[(kind, "")] + [_count(evidence, party, kind) for party in PARTIES] for kind in KINDS]
    yield from _table(head, rows)
    yield (
        "<p>The largest number in any one place. Client and bridge have to see them; the relay that reads "
        "shows what people accept today. Had nothing been found with these, the run would have failed.</p>"
    )


def _count(evidence: Evidence, party: str, kind: str) -> tuple[str, str]:
    count = evidence.most_found(party, kind)
    if party == RELAY:
        return (str(count), "leak") if count else ("0", "nothing")
    return str(count), "lit" if count else ""


def _places(evidence: Evidence) -> Iterator[str]:
    yield "<h2>Where the relay was looked at</h2>"
    head = [("place", False), ("bytes", True), ("found", False)]
    rows = [
        [
            (look.place, ""),
            (f"{look.looked_at:,}", ""),
            (", ".join(look.found), "leak") if look.found else ("nothing", "nothing"),
        ]
        for look in evidence.looks
        if look.party == RELAY
    ]
    yield from _table(head, rows)


def _retention(evidence: Evidence) -> Iterator[str]:
    yield "<h2>Sealed bytes that the relay still held</h2>"
    head = [
        ("after the last exchange", False),
        ("samples of 16 bytes", True),
        ("found", True),
        ("share", True),
    ]
    rows = [
        [
            (rest.place, ""),
            (f"{rest.samples:,}", ""),
            (f"{rest.left:,}", ""),
            (f"{rest.share:.1%}", ""),
        ]
        for rest in evidence.rests
    ]
    yield from _table(head, rows)
    yield (
        "<p>Nobody but the bridge can open them, and its keys are gone after an hour. The relay has freed "
        "the memory; it is written over when it is given back, but for pieces of less than a kilobyte.</p>"
    )


def _asker(evidence: Evidence) -> Iterator[str]:
    yield "<h2>Who asks: what the bridge does not learn</h2>"
    head = [("what", False), ("with those who know it", False), ("with the bridge", False)]
    rows = [
        [
            (trait.name, ""),
            (
                f"{trait.known_to}: {'found' if trait.found_there else 'not found'}",
                "lit" if trait.found_there else "leak",
            ),
            ("found", "leak") if trait.found_at_bridge else ("nothing", "nothing"),
        ]
        for trait in evidence.traits
    ]
    yield from _table(head, rows)


def _facts(evidence: Evidence) -> Iterator[str]:
    yield "<h2>And</h2>\n<ul>"
    listed = (f"all {evidence.records} lines of its log are of the closed list", not evidence.strange_records)
    timely = ("they came on the minute, or say what no caller can bring about", not evidence.untimely_records)
    for fact, holds in (*evidence.facts, listed, timely):
        yield f"<li>{escape(fact)}: {'yes' if holds else '<strong>no</strong>'}</li>"
    yield "</ul>"


def _method(evidence: Evidence) -> Iterator[str]:
    yield (
        "<h2>How to repeat it</h2>\n<p><code>make evidence</code>, or "
        "<code>python -m blindrelay.testbed evidence</code>. Forms: UTF-8, UTF-16, JSON escapes, "
        "percent-encoding, base64 at all three alignments, hexadecimal, reversed, and the Huffman code of "
        "HTTP/2&#8217;s headers; any 12 bytes in a row count. "
        "docs/evidence.md has the method and its limits.</p>"
    )
    ends = ", ".join(f"{count} of {escape(end)}" for end, count in sorted(evidence.ends.items()))
    machine = ", ".join(f"{name} {escape(value)}" for name, value in evidence.machine.items())
    yield f"<footer>How the exchanges ended: {ends}. {machine}.</footer>"


def _table(head: list[tuple[str, bool]], rows: list[list[tuple[str, str]]]) -> Iterator[str]:
    yield '<div class="scroll" tabindex="0">\n<table>\n<thead><tr>'
    for text, is_number in head:
        yield f'<th scope="col"{_class("number" if is_number else "")}>{escape(text)}</th>'
    yield "</tr></thead>\n<tbody>"
    for row in rows:
        cells = (
            f"<td{_class(' '.join(filter(None, ['number' if is_number else '', mark])))}>{escape(text)}</td>"
            for (text, mark), (_, is_number) in zip(row, head, strict=True)
        )
        yield "<tr>" + "".join(cells) + "</tr>"
    yield "</tbody>\n</table>\n</div>"


def _class(names: str) -> str:
    return f' class="{names}"' if names else ""
