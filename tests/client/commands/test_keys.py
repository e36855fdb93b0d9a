"""`blindrelay keys`."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blindrelay.client.history_store import default_history_file
from blindrelay.sealing import SealingKey
from blindrelay.trust import decode_history, format_identity, identity_groups
from blindrelay.v1.exchange_pb2 import GetKeyDirectoryResponse

from ...trust.replicas import IDENTITY
from ..conftest import ScriptedBridge
from .conftest import Run, command


@pytest.fixture(autouse=True)
def configured(bridge: ScriptedBridge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLINDRELAY_CONNECTION", bridge.connection)


@pytest.fixture
def second(bridge: ScriptedBridge) -> Iterator[ScriptedBridge]:
    """Another relay, whose replicas are of the same bridge."""
    other = ScriptedBridge()
    other.identity = bridge.identity
    yield other
    other.close()


def same_replica(second: ScriptedBridge, bridge: ScriptedBridge) -> None:
    second.replica_id, second.signer, second.key = bridge.replica_id, bridge.signer, bridge.key
    second.starts, second.sequence = bridge.starts, bridge.sequence


def serve_each_others(*bridges: ScriptedBridge) -> None:
    """Each serves the current directories of all."""

    def add(response: GetKeyDirectoryResponse) -> None:
        del response.directories[:]
        response.directories.extend(each.directory() for each in bridges)

    for each in bridges:
        each.substitute = add


def test_show_prints_the_keys(bridge: ScriptedBridge, run: Run) -> None:
    code, out, err = run("keys", "show")
    assert (code, err) == (0, "")
    assert format_identity(bridge.identity.public_key) in out
    for line in identity_groups(bridge.identity.public_key).splitlines():
        assert line in out
    assert bridge.replica_id.hex() in out
    assert bridge.key.key_id.hex() in out
    assert "next identity  none announced" in out
    assert f"{default_history_file(bridge.identity.public_key)}: 1 directory, going back" in out
    assert bridge.received == []


def test_show_has_json(bridge: ScriptedBridge, run: Run) -> None:
    bridge.next_identity_hash = b"\x01" * 32
    code, out, err = run("keys", "show", "--json", "--relay", bridge.connection)
    assert (code, err) == (0, "")
    shown = json.loads(out)
    names = {"identity", "groups", "successors", "replicas", "refused", "announcement", "history"}
    assert set(shown) == names
    (replica,) = shown["replicas"]
    assert replica["replica_id"] == bridge.replica_id.hex()
    assert [key["key_id"] for key in replica["keys"]] == [bridge.key.key_id.hex()]
    assert "".join(shown["groups"]) == shown["identity"]
    assert shown["announcement"]["next_identity_hash"] == "01" * 32
    assert shown["announcement"]["stood"] == 0
    assert shown["history"]["contradictions"] == 0


def test_saved_file_has_no_secret(bridge: ScriptedBridge, run: Run, tmp_path: Path) -> None:
    code, _, _ = run("keys", "show", "--save", tmp_path / "mine.json")
    assert code == 0
    text = (tmp_path / "mine.json").read_text()
    assert str(bridge.token) not in text
    assert str(bridge.port) not in text
    assert decode_history(text).identity == bridge.identity.public_key


def saved(run: Run, path: Path, *options: object) -> Path:
    assert run("keys", "show", "--save", path, *options)[0] == 0
    return path


def test_honest_bridge_shows_no_difference(run: Run, tmp_path: Path) -> None:
    theirs = saved(run, tmp_path / "theirs.json")
    code, out, err = run("keys", "compare", theirs)
    assert (code, err) == (0, "")
    assert "this client: 2 directories" in out
    assert f"{theirs}: 1 directory" in out
    assert "No difference that honest operation cannot explain." in out


def test_different_keys_for_each_client_are_proven(
    bridge: ScriptedBridge, second: ScriptedBridge, run: Run, tmp_path: Path
) -> None:
    same_replica(second, bridge)
    second.key = SealingKey.generate(bridge.key.not_before, bridge.key.not_after)
    proof = tmp_path / "proof.json"
    code, out, err = run("keys", "compare", second.connection, "--proof", proof)
    assert (code, err) == (1, "")
    assert "DIFFERENCE (contradiction): replica" in out
    identity = format_identity(bridge.identity.public_key)
    code, out, err = run("keys", "verify-proof", proof, "--identity", identity)
    assert (code, err) == (0, "")
    assert f"replica {bridge.replica_id.hex()} signed two different directories with the number 1" in out
    path = default_history_file(bridge.identity.public_key)
    assert path is not None
    assert len(decode_history(path.read_text()).directories.proofs) == 1
    # And from now on nothing is sealed to that replica.
    code, _, err = run("keys", "show")
    assert code == 3
    assert "signed two different key directories" in err


def test_difference_has_json(bridge: ScriptedBridge, second: ScriptedBridge, run: Run) -> None:
    same_replica(second, bridge)
    second.sequence += 1
    second.key = SealingKey.generate(bridge.key.not_before, bridge.key.not_after)
    code, out, _ = run("keys", "compare", "--json", second.connection)
    found = json.loads(out)
    assert code == 1
    assert set(found) == {"sides", "differences", "unsettled", "passing"}
    assert [side["name"] for side in found["sides"]] == ["this client", f"127.0.0.1:{second.port}"]
    (difference,) = found["differences"]
    assert difference["kind"] == "key"
    assert difference["replica_id"] == bridge.replica_id.hex()


def test_two_files_need_no_relay(
    second: ScriptedBridge, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = saved(run, tmp_path / "one.json", "--relay", second.connection + "&history=off")
    other = saved(run, tmp_path / "other.json", "--relay", second.connection + "&history=off")
    assert "the same source is given twice" in run("keys", "compare", one, one)[2]
    monkeypatch.delenv("BLINDRELAY_CONNECTION")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert run("keys", "compare", one, other)[::2] == (0, "")
    code, _, err = run("keys", "compare", one)
    assert code == 2
    assert "no relay is configured" in err


@pytest.fixture
def hastened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two and a half minutes seem to pass between two rounds, for bridges and client."""
    real, passed = time.time, [0]

    def later(_: float) -> None:
        passed[0] += 150

    monkeypatch.setattr(time, "time", lambda: real() + passed[0])
    monkeypatch.setattr(time, "sleep", later)


@pytest.mark.usefixtures("hastened")
def test_replica_that_only_one_client_is_shown_is_found(
    bridge: ScriptedBridge, second: ScriptedBridge, run: Run
) -> None:
    """It takes a second round: the replica might just be starting."""
    thief = ScriptedBridge()
    thief.identity = bridge.identity

    def with_the_thiefs(response: GetKeyDirectoryResponse) -> None:
        del response.directories[:]
        response.directories.extend([bridge.directory(), thief.directory()])

    def without(response: GetKeyDirectoryResponse) -> None:
        response.directories[0].CopyFrom(bridge.directory())

    bridge.substitute, second.substitute = with_the_thiefs, without
    try:
        code, out, err = run("keys", "compare", second.connection)
    finally:
        thief.close()
    assert code == 1
    assert f"DIFFERENCE (replica): this client was shown replica {thief.replica_id.hex()[:8]}" in out
    assert f"only one side is shown replica {thief.replica_id.hex()[:8]}: fetching again" in err


@pytest.mark.usefixtures("hastened")
def test_starting_replica_is_awaited(bridge: ScriptedBridge, second: ScriptedBridge, run: Run) -> None:
    serve_each_others(bridge, second)
    all_of_them = second.substitute

    def later(response: GetKeyDirectoryResponse) -> None:
        if second.directory_requests > 1:
            all_of_them(response)
        else:
            response.directories[0].CopyFrom(bridge.directory())

    second.substitute = later
    code, out, err = run("keys", "compare", second.connection)
    assert code == 0, out
    assert "fetching again" in err
    assert second.directory_requests == 2


def test_without_patience_replicas_stay_undecided(
    bridge: ScriptedBridge, second: ScriptedBridge, run: Run
) -> None:
    code, out, _ = run("keys", "compare", second.connection, "--patience", 0)
    assert code == 0
    assert out.count("undecided: replica") == 2


def test_stopped_relay_fails_the_comparison(second: ScriptedBridge, run: Run, tmp_path: Path) -> None:
    saved(run, tmp_path / "mine.json")
    second.stop()
    code, _, err = run("keys", "compare", second.connection)
    assert code == 3
    assert f"127.0.0.1:{second.port}: no connection to the relay" in err
    code, _, err = run("keys", "show", "--relay", second.connection)
    assert code == 3
    assert err.startswith("blindrelay: no connection to the relay")
    assert err.count("\n") == 1
    second.start()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["keys", "compare"], "Missing argument 'SOURCE...'"),
        (["keys", "compare", "history"], "nothing to compare"),
        (["keys", "compare", "/nowhere"], "cannot read /nowhere: No such file"),
        (["keys", "compare", "/dev/null"], "/dev/null: it is not JSON"),
        (["keys", "compare", "blindrelay://relay"], "no bridge is pinned"),
        (["keys", "show", "--relay", "https://relay"], "has the form"),
        (["keys", "show", "--save", "/nowhere/file"], "cannot write /nowhere/file: No such file"),
        (["keys", "show", "--loud"], "No such option"),
        (["keys", "verify-proof", "/dev/null"], "Missing option '--identity'"),
        (["keys", "verify-proof", "/dev/null", "--identity", "br1"], "--identity: a bridge identity has 59"),
        (
            ["keys", "verify-proof", "/dev/null", "--identity", format_identity(IDENTITY.public_key)],
            "/dev/null: it is not JSON",
        ),
        (["nonsense"], "No such command"),
    ],
)
def test_wrong_input_is_rejected(arguments: list[str], message: str, run: Run) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("blindrelay: ")
    assert err.count("\n") == 1


def test_invalid_proof_is_rejected(
    bridge: ScriptedBridge, second: ScriptedBridge, run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "proof.json"
    same_replica(second, bridge)
    second.key = SealingKey.generate(bridge.key.not_before, bridge.key.not_after)
    assert run("keys", "compare", second.connection, "--proof", path)[0] == 1
    identity = bridge.identity.public_key
    verify = ("keys", "verify-proof", path, "--json", "--identity")
    assert json.loads(run(*verify, identity_groups(identity).upper())[1])["proof"] is True
    code, out, _ = run(*verify, format_identity(IDENTITY.public_key))
    assert code == 1
    assert f"it is about {format_identity(identity)}" in out
    content = json.loads(path.read_text())
    content["statements"][1] = content["statements"][0]
    path.write_text(json.dumps(content))
    code, out, _ = run(*verify, format_identity(identity))
    assert code == 1
    assert json.loads(out)["reason"] == "the two statements do not contradict each other"


def test_ctrl_c_is_quiet(bridge: ScriptedBridge) -> None:
    stalling = threading.Event()

    def stall(_: GetKeyDirectoryResponse) -> Any:
        process.send_signal(signal.SIGINT)
        return bridge.stall(stalling)

    bridge.substitute = stall
    process = command("keys", "show")
    out, err = process.communicate(timeout=60)
    stalling.set()
    assert (process.returncode, out, err.strip()) == (130, b"", b"")
