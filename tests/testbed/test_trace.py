"""The command trace: what the real relay sees of texts that a provider replays."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from blindrelay.sealing import BALANCED
from blindrelay.testbed.errors import InputError
from blindrelay.testbed.trace.recording import exchange_ids, sealed_client
from blindrelay.testbed.trace.scene import replaying
from blindrelay.testbed.trace.texts import Replay, pieces, read_texts, write_texts
from blindrelay.testbed.trace.traced_relay import Seen
from tests.patience import PATIENCE, until

URL = "https://api.openai.com/v1/chat/completions"
COMMAND = [sys.executable, "-m", "blindrelay.testbed", "trace", "--texts"]


def traced(file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, str(file), *options], capture_output=True, text=True, check=False, timeout=3 * PATIENCE
    )


def written(folder: Path, *lines: Any) -> Path:
    file = folder / "texts.jsonl"
    file.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return file


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One two", ["One", " two"]),
        ("  One\n\ntwo. \n", ["  One", "\n\ntwo. \n"]),
        ("", []),
        (" \n", [" \n"]),
    ],
)
def test_piece_is_white_space_and_a_word(text: str, expected: list[str]) -> None:
    assert pieces(text) == expected


def test_what_is_written_is_read(tmp_path: Path) -> None:
    replays = [Replay("a", "One two", (1.0, 2.5)), Replay(7, "", ()), Replay(None, "Ünï", (0.0,), "cut")]
    write_texts(replays, tmp_path / "texts")
    assert read_texts(tmp_path / "texts") == replays


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nonsense", "line 2: this is not JSON"),
        ([1], "an object with label, text and gaps is needed"),
        ({"label": "a", "text": "b"}, "an object with label, text and gaps is needed"),
        ({"label": "a", "text": 1, "gaps": []}, "text must be a string"),
        ({"label": "a", "text": "\ud800", "gaps": [1]}, "text must be a string of Unicode"),
        ({"label": "a", "text": "b", "gaps": ["1"]}, "gaps must be a list of milliseconds"),
        ({"label": "a", "text": "b", "gaps": [-1]}, "each from 0 on"),
        ({"label": "a", "text": "b", "gaps": [True]}, "gaps must be a list of milliseconds"),
        ({"label": "a", "text": "b c", "gaps": [1]}, "the text has 2 pieces and 1 gaps"),
        ({"label": "a", "text": "b", "gaps": [1], "ending": "end"}, "ending must be one of stop, length"),
    ],
)
def test_wrong_line_is_named(line: Any, said: str, tmp_path: Path) -> None:
    file = written(tmp_path, {"label": "good", "text": "", "gaps": []}, line)
    with pytest.raises(InputError) as raised:
        read_texts(file)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    "options", [["--shape", "round"], ["--parallel", "0"], ["--parallel", "many"], ["--unknown"]]
)
def test_wrong_option_is_exit_code_2(options: list[str], tmp_path: Path) -> None:
    done = traced(written(tmp_path, {"label": 1, "text": "", "gaps": []}), *options)
    assert (done.returncode, done.stdout) == (2, "")


def test_file_that_is_missing_is_one_line(tmp_path: Path) -> None:
    done = traced(tmp_path / "missing")
    said = f"blindrelay-testbed: {tmp_path / 'missing'} cannot be read: No such file or directory\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


def test_unshaped_exchange_shows_its_length_and_a_shaped_one_does_not(tmp_path: Path) -> None:
    long = {"label": ["long"], "text": "word " * 50, "gaps": [10] * 50}
    short = {"label": {"is": "short"}, "text": "word", "gaps": [10]}
    refused = {**short, "label": "refused", "ending": "refused"}
    file = written(tmp_path, long, short, refused)
    shown = {}
    for shape in ("off", "balanced"):  # off is the control
        done = traced(file, "--shape", shape, "--parallel", "3")
        assert (done.returncode, done.stderr) == (0, "")
        seen = [json.loads(line) for line in done.stdout.splitlines()]
        assert all(each["trace"][0][:2] == [0.0, "up"] for each in seen)
        downs = {
            str(each["label"]): [size for _, way, size in each["trace"] if way == "down"] for each in seen
        }
        assert set(downs) == {"['long']", "{'is': 'short'}", "refused"}
        shown[shape] = downs
    assert sum(shown["off"]["['long']"]) > 2 * sum(shown["off"]["{'is': 'short'}"])
    assert all(len(set(sizes)) == 1 for sizes in shown["balanced"].values())
    assert len(shown["balanced"]["refused"]) == BALANCED.first_count, "the bridge waits for no provider"


async def test_number_of_cells_follows_from_the_cell_with_the_end() -> None:
    """However late that is: the relay has seen it when the client has the whole response.

    It may have seen more cells by then, but no more than the padded number, which is then the same.
    """
    replays = [Replay(seconds, "word", (1_000 * seconds,)) for seconds in (0.5, 4.5)]
    with replaying(replays) as scene:
        async with (
            sealed_client(scene.connection, "balanced") as sealed,
            sealed.async_httpx_client() as client,
        ):
            whole = await asyncio.gather(*(answered(client, number) for number in range(len(replays))))
            seen: list[Seen] = []

            def all_ended() -> bool:
                seen.extend(scene.seen.new())
                return sum(each.what == "end" for each in seen) == len(replays)

            await until(all_ended)
    for exchange, at in whole:
        cells = [each.at for each in seen if (each.exchange, each.what) == (exchange, "down")]
        assert len(cells) == BALANCED.padded_count(sum(cell <= at for cell in cells))


async def answered(client: httpx.AsyncClient, number: int) -> tuple[str, float]:
    """An exchange's id, and when the client had all of the text with this number."""
    ids = exchange_ids()
    body = {"model": "m", "messages": [{"role": "user", "content": f"{number}"}], "stream": True}
    response = await client.post(URL, json=body | {"store": False}, timeout=None)
    assert "word" in response.text
    return ids[-1], time.monotonic()


def test_interruption_ends_every_process(tmp_path: Path) -> None:
    file = written(tmp_path, *[{"label": n, "text": "a b", "gaps": [10, 60_000 * n]} for n in range(2)])
    with subprocess.Popen(
        [*COMMAND, str(file), "--shape", "off", "--parallel", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["label"] == 0
        parts = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (130, "")
    for pid in map(int, parts):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
