"""The relay's own code, as far as a running relay has it in memory, in lines."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LIST_MODULES: Final = """
import json, sys
import blindrelay.relay_node.cli
print(json.dumps({name: module.__file__ for name, module in sys.modules.items()
    if name.startswith("blindrelay.") and getattr(module, "__file__", None)}))
"""
_NO_CODE: Final = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


@dataclass(frozen=True)
class Module:
    """One module of ours. `lines` are those with code on them: no blank ones, comments and docstrings."""

    name: str
    lines: int

    @property
    def package(self) -> str:
        """The second part of its name: relay_node, serving or v1."""
        return self.name.split(".")[1]

    @property
    def is_generated(self) -> bool:
        """Whether protoc has written it."""
        return self.name.endswith(("_pb2", "_pb2_grpc"))


def modules() -> list[Module]:
    """What a relay imports of ours, by name, from a process that has imported its command."""
    done = subprocess.run([sys.executable, "-c", _LIST_MODULES], capture_output=True, text=True, check=True)
    files: dict[str, str] = json.loads(done.stdout)
    return [Module(name, code_lines(Path(file).read_text())) for name, file in sorted(files.items())]


def code_lines(source: str) -> int:
    """How many lines of a module have code on them."""
    lines: set[int] = set()
    begins_statement = True
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in _NO_CODE:
            begins_statement = begins_statement or token.type in (tokenize.NEWLINE, tokenize.INDENT)
            continue
        if not (begins_statement and token.type == tokenize.STRING):
            lines.update(range(token.start[0], token.end[0] + 1))
        begins_statement = False
    return len(lines)
