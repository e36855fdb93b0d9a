"""Every block of code in docs/integrations/ runs unchanged, except for the port, and gets its response."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from blindrelay.testbed import Testbed

from ...client.endpoint.conftest import Endpoint
from ..conftest import BROUGHT, OWN_KEY, PARIS, Endpoints
from ..works import works

ROOT: Final = Path(__file__).parents[3]
PAGES: Final = ROOT / "docs" / "integrations"
NPM: Final = ROOT / ".npm" / "sdks" / "node_modules"
ADDRESS: Final = "http://127.0.0.1:8484"

_FENCE: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMANDS: Final = {"sh": ["sh", "-eu"], "python": [sys.executable], "js": ["node"]}
_SHOWN: Final = {
    "claude-code": works("npm @anthropic-ai/claude-code", "questions on the command line"),
    "codex": works("npm @openai/codex", "questions on the command line"),
}


class Block(NamedTuple):
    """One block of code; `number` counts those of the page."""

    page: str
    number: int
    language: str
    code: str


def blocks() -> list[Block]:
    return [
        Block(path.stem, number, *found)
        for path in sorted(PAGES.glob("*.md"))
        for number, found in enumerate(_FENCE.findall(path.read_text()), 1)
    ]


def parameter(block: Block) -> object:
    marks = [_SHOWN[block.page]] if block.page in _SHOWN else []
    return pytest.param(block, id=f"{block.page}-{block.number}", marks=marks)


@pytest.mark.parametrize("block", [parameter(block) for block in blocks()])
def test_a_block_runs_as_it_stands(
    block: Block, mock_bed: Testbed, endpoint_of: Endpoints, tmp_path: Path
) -> None:
    (tmp_path / "node_modules").symlink_to(NPM)
    endpoint = endpoint_of(mock_bed.relay + (BROUGHT if "YOUR_KEY" in block.code else ""))
    file = tmp_path / f"block.{'mjs' if block.language == 'js' else block.language}"
    file.write_text(block.code.replace(ADDRESS, endpoint.url))
    done = subprocess.run(
        [*_COMMANDS[block.language], str(file)],
        cwd=tmp_path,
        env=environment(tmp_path, mock_bed, endpoint),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert PARIS in done.stdout


def environment(home: Path, bed: Testbed, endpoint: Endpoint) -> dict[str, str]:
    """What a user has who did what docs/integrations/README.md says comes before; nothing of ours."""
    return {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), str(NPM / ".bin"), os.environ["PATH"]]),
        "HOME": str(home),
        "BLINDRELAY_CONNECTION": bed.relay,
        "TOKEN": endpoint.token,
        "YOUR_KEY": OWN_KEY,
    }


def test_every_page_is_in_the_index_and_has_something_to_run() -> None:
    index = (PAGES / "README.md").read_text()
    pages = {path.stem for path in PAGES.glob("*.md")} - {"README"}
    assert set(re.findall(r"\]\(([\w-]+)\.md\)", index)) == pages
    assert {block.page for block in blocks()} == pages
