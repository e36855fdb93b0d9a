"""`blindrelay keys`."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from blindrelay.client.history_store import default_history_file
from blindrelay.sealing import SealingKey
from blindrelay.testbed.ports import free_port
from blindrelay.trust import decode_history, format_identity, identity_groups
from blindrelay.v1.exchange_pb2 import GetKeyDirectoryResponse

from ...trust.replicas import IDENTITY
from ..scripted_bridge import ScriptedBridge
from .conftest import Run, refused, succeeded

pytestmark = pytest.mark.usefixtures("to_bridge")


@pytest.fixture
def second(bridge: ScriptedBridge) -> Iterator[ScriptedBridge]:
    """Another relay, whose replicas are of the same bridge."""
    with closing(ScriptedBridge(port=free_port())) as other:
        other.identity = bridge.identity
        yield other


@pytest.fixture
def lying(second: ScriptedBridge, bridge: ScriptedBridge) -> ScriptedBridge:
    """The same, with the bridge's replica, but a key of its own."""
    second.replica_id, second.signer = bridge.replica_id, bridge.signer
    second.starts, second.sequence = bridge.starts, bridge.sequence
    second.key = SealingKey.generate(bridge.key.not_before, bridge.key.not_after)
    return second


def serves(*bridges: ScriptedBridge) -> Callable[[GetKeyDirectoryResponse], None]:
    """Makes a bridge serve the current directories of these."""

    def substitute(response: GetKeyDirectoryResponse) -> None:
        del response.directories[:]
        response.directories.extend(each.directory() for each in bridges)

    return substitute


def saved(run: Run, path: Path, *options: object) -> Path:
    assert run("keys", "show", "--save", path, *options)[0] == 0
    return path


def test_show_prints_and_saves_keys_and_no_secret(bridge: ScriptedBridge, run: Run, tmp_path: Path) -> None:
    identity = bridge.identity.public_key
    code, out, err = run("keys", "show", "--save", tmp_path / "mine.json")
    assert (code, err) == (0, f"blindrelay: saved {tmp_path}/mine.json\n")
    for shown in (format_identity(identity), *identity_groups(identity).splitlines()):
        assert shown in out
    assert bridge.replica_id.hex() in out
    assert bridge.key.key_id.hex() in out
    assert "next identity  none announced" in out
    assert f"{default_history_file(identity)}: 1 directory, going back" in out
    assert bridge.received == []
    text = (tmp_path / "mine.json").read_text()
    assert str(bridge.token) not in text
    assert str(bridge.port) not in text
    assert decode_history(text).identity == identity


def test_show_has_json(bridge: ScriptedBridge, run: Run) -> None:
    bridge.next_identity_hash = b"\x01" * 32
    shown = json.loads(succeeded(run, "keys", "show", "--json", "--relay", bridge.connection))
    (replica,) = shown["replicas"]
    assert replica["replica_id"] == bridge.replica_id.hex()
    assert [key["key_id"] for key in replica["keys"]] == [bridge.key.key_id.hex()]
    assert "".join(shown["groups"]) == shown["identity"]
    announced, history = shown["announcement"], shown["history"]
    assert (announced["next_identity_hash"], announced["stood"]) == ("01" * 32, 0)
    assert (shown["successors"], shown["refused"], history["contradictions"]) == ([], [], 0)


def test_honest_bridge_shows_no_difference(run: Run, tmp_path: Path) -> None:
    theirs = saved(run, tmp_path / "theirs.json")
    out = succeeded(run, "keys", "compare", theirs)
    assert "this client: 2 directories" in out
    assert f"{theirs}: 1 directory" in out
    assert "No difference that honest operation cannot explain." in out


def test_different_keys_for_each_client_are_proven(
    bridge: ScriptedBridge, lying: ScriptedBridge, run: Run, tmp_path: Path
) -> None:
    path, identity = tmp_path / "proof.json", bridge.identity.public_key
    code, out, err = run("keys", "compare", lying.connection, "--proof", path)
    assert (code, err) == (1, "")
    assert "DIFFERENCE (contradiction): replica" in out
    verify = ("keys", "verify-proof", path, "--identity")
    out = succeeded(run, *verify, format_identity(identity))
    assert f"replica {bridge.replica_id.hex()} signed two different directories with the number 1" in out
    history = default_history_file(identity)
    assert history is not None
    assert len(decode_history(history.read_text()).directories.proofs) == 1
    # And from now on nothing is sealed to that replica.
    assert "signed two different key directories" in run("keys", "show")[2]
    # Proofs about others or without a contradiction are none.
    assert json.loads(run(*verify, identity_groups(identity).upper(), "--json")[1])["proof"] is True
    code, out, _ = run(*verify, format_identity(IDENTITY.public_key))
    assert (code, f"it is about {format_identity(identity)}" in out) == (1, True)
    content = json.loads(path.read_text())
    content["statements"][1] = content["statements"][0]
    path.write_text(json.dumps(content))
    code, out, _ = run(*verify, format_identity(identity), "--json")
    assert code == 1
    assert json.loads(out)["reason"] == "the two statements do not contradict each other"


def test_difference_has_json(bridge: ScriptedBridge, lying: ScriptedBridge, run: Run) -> None:
    lying.sequence += 1
    code, out, _ = run("keys", "compare", "--json", lying.connection)
    found = json.loads(out)
    assert code == 1
    assert set(found) == {"sides", "differences", "unsettled", "passing"}
    assert [side["name"] for side in found["sides"]] == ["this client", f"127.0.0.1:{lying.port}"]
    (difference,) = found["differences"]
    assert (difference["kind"], difference["replica_id"]) == ("key", bridge.replica_id.hex())


def test_two_files_need_no_relay(
    second: ScriptedBridge, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--relay", second.connection + "&history=off")
    one, other = (saved(run, tmp_path / name, *options) for name in ("one.json", "other.json"))
    assert "the same source is given twice" in refused(run, "keys", "compare", one, one)
    monkeypatch.delenv("BLINDRELAY_CONNECTION")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert run("keys", "compare", one, other)[::2] == (0, "")
    assert "no relay is configured" in refused(run, "keys", "compare", one)


@pytest.fixture
def hastened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two and a half minutes seem to pass between two rounds, for bridges and client."""
    real, passed = time.time, [0]

    def later(_: float) -> None:
        passed[0] += 150

    monkeypatch.setattr(time, "time", lambda: real() + passed[0])
    monkeypatch.setattr(time, "sleep", later)


@pytest.mark.usefixtures("hastened")
@pytest.mark.parametrize("was_starting", [True, False])
def test_replica_shown_to_one_is_found_unless_it_was_starting(
    was_starting: bool, bridge: ScriptedBridge, second: ScriptedBridge, run: Run
) -> None:
    """It takes a second round."""
    with closing(ScriptedBridge()) as thief:
        thief.identity = bridge.identity
        both, one = serves(bridge, thief), serves(bridge)
        bridge.substitute, second.substitute = both, one
        undecided = succeeded(run, "keys", "compare", second.connection, "--patience", 0)
        fetched = itertools.count()
        second.substitute = lambda response: (both if next(fetched) and was_starting else one)(response)
        code, out, err = run("keys", "compare", second.connection)
    name = thief.replica_id.hex()[:8]
    assert undecided.count("undecided: replica") == 1
    assert f"only one side is shown replica {name}: fetching again" in err
    found = f"DIFFERENCE (replica): this client was shown replica {name}" in out
    assert (code, found) == ((0, False) if was_starting else (1, True))


def test_stopped_relay_fails_the_comparison(second: ScriptedBridge, run: Run) -> None:
    second.stop()
    code, _, err = run("keys", "compare", second.connection)
    assert (code, f"127.0.0.1:{second.port}: no connection to the relay" in err) == (3, True)
    err = refused(run, "keys", "show", "--relay", second.connection, code=3)
    assert err.startswith("blindrelay: no connection to the relay")
    second.start()
