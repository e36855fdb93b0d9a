"""The tap: what it writes is read once and whole, and the relay that ships has none."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from blindrelay.testbed.tap import Direction, Tap, TapReader
from blindrelay.testing.configuration import write_relay_config

REPLICAS = ["127.0.0.1:1"]


def relay(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "blindrelay.relay_node", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


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


def test_shipped_relay_rejects_the_arguments_of_the_tap(tmp_path: Path) -> None:
    config, tapped = tmp_path / "relay.toml", tmp_path / "tapped"
    write_relay_config(config, "127.0.0.1:0", REPLICAS, {})
    refused = relay(str(tapped), "100", "serve", "--config", str(config))
    assert refused.returncode == 2
    assert "invalid choice" in refused.stderr
    assert not tapped.exists()


@pytest.mark.parametrize("option", ["tap", "debug", "capture"])
def test_shipped_relay_has_no_option_for_a_tap(tmp_path: Path, option: str) -> None:
    config = tmp_path / "relay.toml"
    write_relay_config(config, "127.0.0.1:0", REPLICAS, {option: str(tmp_path / "tapped")})
    refused = relay("serve", "--config", str(config))
    assert refused.returncode == 2
    assert option in refused.stderr
