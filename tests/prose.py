"""Finds prose in Python code, and what in it reads as translated or is too long.

python -m tests.prose FOLDER…     prints each finding
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

LONGEST: Final = 30
"""A sentence has fewer words than this."""

_OTHERS: Final = "gRPC|asyncio|httpx|TCP|Python|libsodium|protobuf|click|uvicorn|Linux|nginx|Envoy"

TURNS: Final = {
    r"(?<!\bthere )\b(is|are|was|were) (?-i:none)\b": "say what it is",
    r"(?<!\bthere )\b(is|are|was|were) no (file|folder|path|URL|key|token|number|way)\b": "is not a …",
    r"\bstands? (there|in(?! for)|twice|at|apart|on|over|beside)\b": "is in",
    rf"\b({_OTHERS})'s(?= *[.,;:)]|$)": "name the thing that belongs to it",
    rf"\bof ({_OTHERS})'s\b": "name the thing that belongs to it",
    r"\banew\b": "again",
    r"\bspoil(t|s|ed)?\b": "corrupt",
    r"\bof no use\b": "useless",
    r"\bin the place of\b": "instead of",
    r"\bhas no room for\b": "is full",
    r"\bwhat (becomes|became|comes|came) of\b": "the outcome, what happens to",
    r"\bhears? (nothing|of)\b": "learns, is told",
    r"\b(takes?|took) the place of\b": "replaces",
    r"\bthe way is\b": "connected",
    r"\bgo(es)? (the|its) (same )?way\b": "is handled in the same way",
    r"\bhas to be said\b|\bis said to\b|\bas was said\b": "say it directly",
    r"\b(may not|cannot|can|could) be had\b|\bto be had\b": "is available",
    r"\bthat is to say\b": "say it once",
    r"\bby (itself|themselves) alone\b": "alone",
    r"\b(nor|neither) (is|are|does|do|has|have|may|can) (it|they|there|he|anybody)\b": "subject first",
    r"\bbut for (?!\d)|\bsave for\b": "except for",
    r"\bever after\b": "from then on",
    r"\b(whence|thereof|therein|thereby|hitherto|wherein|whereof|herewith|lest)\b": "a common word",
    r"\bfor want of\b": "without",
    r"\bat times\b(?! \d)": "sometimes",
    r"\b(is|are|comes?|came|fetched|loaded) from elsewhere\b": "from another …",
    r"\bsuch (a |as )?one\b|\band suchlike\b": "name it",
    r"\bthat it (be|have)\b": "must be, must have",
    r"\bis minded\b|\bminds? (the|its|their)\b": "watches, manages",
    r"\bheeds?\b": "respects",
    r"\bdeeds?\b": "actions",
    r"\bmends? (it|them|the|what)\b": "repair",
    r"\b(whoever|whosoever|whomever)\b": "anyone who",
    r"\bnobody (hears|knows|asks|reads) (of|for)\b": "subject first",
    r"\ba good deal\b|\bever so\b": "how much",
    r"\bis over and done\b": "has ended",
}
"""Turns of phrase, and what to write instead."""

_CODE: Final = re.compile(r"`+[^`]*`+|https?://\S+|<[^>]*>|\"[^\"]*\"")
_NO_PROSE: Final = re.compile(r"\s{4,}\S|[=│├└]|.*\S {3,}\S|\s*\|")
"""Indented examples, tables and trees."""

_ENDS: Final = re.compile(
    r"(?<=[.!?;:])['\")]*\s+(?=[A-Z`\"'(\d…])|\n\s*\n|\n\s*(?:[*-]|\d+\.) |\n(?=\s*\w[\w, ]*:)"
)
"""Between two sentences, paragraphs, items of a list, or a docstring's arguments."""

_SAYING: Final = frozenset(
    {"echo", "secho", "option", "argument", "command", "group", "print", "add_argument", "ArgumentParser"}
    | {"add_parser", "info", "warning", "error", "critical", "fail", "refuse", "note", "warn"}
)
_SAYING_NAMES: Final = re.compile(r"(Error|Exception|Refusal|Finding|Exit|Failure)$")
_SAYING_KEYWORDS: Final = {"help", "short_help", "description", "epilog", "reason", "hint", "message"}


def faults_in(path: Path) -> Iterator[str]:
    """File, line, and what to rewrite there: of a Python file, or of a folder, generated code aside."""
    for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
        if "_pb2" not in file.name:
            for line, text in texts(file.read_text("utf-8")):
                yield from (f"{file}:{line}: {what}" for what in faults(text))


def texts(source: str) -> Iterator[tuple[int, str]]:
    """The docstrings of a module and of what is in it, error messages and help texts, with their lines."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield node.lineno, inspect.cleandoc(text)
            case ast.Call():
                said = (text for argument in _said(node) for text in _strings(argument))
                yield from ((node.lineno, text) for text in said if " " in text)


def _said(call: ast.Call) -> list[ast.expr]:
    """The arguments that people read."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if name in _SAYING or _SAYING_NAMES.search(name):
        return [*call.args, *(each.value for each in call.keywords)]
    return [each.value for each in call.keywords if each.arg in _SAYING_KEYWORDS]


def _strings(node: ast.expr) -> Iterator[str]:
    """The text of an expression, with X for what is only known later; both branches of a condition."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=values):
            yield "".join(str(each.value) if isinstance(each, ast.Constant) else "X" for each in values)
        case ast.BinOp(left=left, right=right) | ast.IfExp(body=left, orelse=right):
            yield from (*_strings(left), *_strings(right))


def faults(text: str) -> Iterator[str]:
    """What is wrong with a text."""
    prose = "\n".join("" if _NO_PROSE.match(line) else line for line in text.splitlines())
    prose = _CODE.sub("X", prose)
    flat = " ".join(prose.split())
    for turn, instead in TURNS.items():
        if found := re.search(turn, flat, re.IGNORECASE):
            yield f"{found[0]!r}: {instead}"
    for sentence in _ENDS.split(prose):
        words = re.findall(r"[\w'\u2019-]+", sentence)
        if len(words) >= LONGEST:
            yield f"{len(words)} words: {' '.join(words[:10])} …"


if __name__ == "__main__":
    print(*(fault for path in sys.argv[1:] for fault in faults_in(Path(path))), sep="\n")
