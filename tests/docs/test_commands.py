"""Every command that a page shows exists, with its subcommands, its options and its make target."""

from __future__ import annotations

import io
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import cache
from itertools import takewhile
from pathlib import Path
from pkgutil import resolve_name

import pytest

from deploy.site_pages import tracked

ROOT = Path(__file__).parents[2]
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
PROGRAMS = {
    **tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"],
    "python -m bench": "bench.cli:main",
    "python -m blindrelay.testbed": "blindrelay.testbed.cli:main",
    "python -m blindrelay.testing": "blindrelay.testing.__main__:main",
}

FENCED = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
SPAN_OR_INDENTED = re.compile(r"`([^`]+)`|^    (.+)", re.MULTILINE)
COMMAND = re.compile(
    rf"(?:\$ )?(?:.*[(|] ?)?(?:\w+=\S+ )*(?:\.venv/bin/)?(make|{'|'.join(PROGRAMS)})( [^)]*|$)"
)
"""A line that starts with a command: after a prompt, variables, a pipe or a parenthesis."""


def code(text: str) -> Iterator[str]:
    """A page's lines of code, and its code spans."""
    joined = text.replace("\\\n", " ")
    for block in FENCED.findall(joined):
        yield from map(str.strip, block.splitlines())
    for span, line in SPAN_OR_INDENTED.findall(FENCED.sub("", joined)):
        yield (span or line).replace("\n", " ").strip()


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command in a page's code, without what the shell or another program reads."""
    for found in filter(None, map(COMMAND.match, code(text))):
        words = shlex.split(found[2], comments=True)
        yield [found[1], *takewhile(lambda word: word not in {"--", "|", ">", "&&"}, words)]


@cache
def help_of(program: str, *words: str) -> str | None:
    """What the program prints for these words and --help; None if it rejects them."""
    printed = io.TextIOWrapper(io.BytesIO())
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.setattr(sys, "argv", [program, *words, "--help"])
        try:
            code = resolve_name(PROGRAMS[program])()
        except SystemExit as ended:
            code = ended.code
    printed.seek(0)
    return None if code else printed.read()


def wrong(text: str) -> list[str]:
    """The commands in a page that cannot be run as they are written."""
    return [" ".join(words) for words in commands(text) if not exists(words)]


def exists(command: list[str]) -> bool:
    program, *words = command
    if program == "make":
        return set(takewhile(lambda word: "=" not in word, words)) <= TARGETS
    shown = help_of(program, *takewhile(lambda word: not word.startswith("-"), words))
    options = {word.partition("=")[0] for word in words if word.startswith("--")}
    return shown is not None and options <= {*re.findall(r"--[\w-]+", shown), "--help"}


@pytest.mark.parametrize("page", [path for path in tracked() if path.endswith(".md")])
def test_commands_exist(page: str) -> None:
    assert wrong((ROOT / page).read_text()) == []


@pytest.mark.parametrize(
    "command",
    [
        "make none",
        "blindrelay none",
        "blindrelay keys none",
        "blindrelay chat --none",
        "blindrelay-relay serve --config relay.toml --none 2",
        "blindrelay-bridge token none",
        "blindrelay-ledger limit none",
        "python -m blindrelay.testbed none",
        "python -m bench none",
    ],
)
def test_wrong_command_is_found(command: str) -> None:
    assert wrong(f"Run `{command}`.") == [command]


def test_commands_are_read_as_a_shell_reads_them() -> None:
    page = """
    $ export TOKEN=$(blindrelay proxy --show-token)   # don't
    pass relay-token | blindrelay init --token-file - \\
        --yes > out

Or `blindrelay run -- sh -c x`, `A=b make
fuzz`, but not `blindrelay_x` or `blindrelay: an error`.

```
.venv/bin/python -m bench compare
```
"""
    assert list(commands(page)) == [
        ["python -m bench", "compare"],
        ["blindrelay", "proxy", "--show-token"],
        ["blindrelay", "init", "--token-file", "-", "--yes"],
        ["blindrelay", "run"],
        ["make", "fuzz"],
    ]
