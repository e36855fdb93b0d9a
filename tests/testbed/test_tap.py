"""The tap: what it writes is read once and whole, and the relay that ships has none."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from blindrelay.testbed.tap import Direction, Tap, TapReader
from blindrelay.testing.configuration import write_relay_config


def test_each_entry_is_read_once(tmp_path: Path) -> None:
    reader = TapReader(tmp_path / "tapped")
    assert reader.new() == []
    with closing(Tap(tmp_path / "tapped", keep=4)) as tap:
        exchange = tap.opened([("key", "value")])
        exchange.sent(b"message")
        opening, message = reader.new()
        assert (opening.direction, opening.metadata) == (Direction.OPEN, {"key": "value"})
        assert (message.direction, message.size, message.first) == (Direction.UP, 7, b"mess".hex())
        assert reader.new() == []
        exchange.received(b"")
    assert [entry.direction for entry in reader.new()] == [Direction.DOWN]


def test_incomplete_line_is_read_later(tmp_path: Path) -> None:
    file = tmp_path / "tapped"
    with closing(Tap(file, keep=1)) as tap:
        tap.opened([])
    line = file.read_bytes()
    file.write_bytes(line + line[:20])
    reader = TapReader(file)
    assert len(reader.new()) == 1
    assert reader.new() == []
    file.write_bytes(line + line)
    assert len(reader.new()) == 1


TAPS: list[tuple[dict[str, str], list[str], str]] = [
    ({}, ["tapped", "100"], "invalid choice"),
    *(({option: "tapped"}, [], option) for option in ("tap", "debug", "capture")),
]


@pytest.mark.parametrize(("options", "arguments", "words"), TAPS)
def test_shipped_relay_has_no_tap(
    tmp_path: Path, options: dict[str, str], arguments: list[str], words: str
) -> None:
    write_relay_config(tmp_path / "relay.toml", "127.0.0.1:0", ["127.0.0.1:1"], options)
    command = [sys.executable, "-m", "blindrelay.relay_node", *arguments, "serve", "--config", "relay.toml"]
    refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert (refused.returncode, words in refused.stderr) == (2, True)
    assert not (tmp_path / "tapped").exists()
