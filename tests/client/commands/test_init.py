"""`blindrelay init`: three questions, checks before anything is written, and hidden secrets."""

from __future__ import annotations

import io
import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from blindrelay.client import ConnectionConfig
from blindrelay.client.cli import main
from blindrelay.testbed import Testbed
from blindrelay.trust import IdentityKey, format_identity, identity_groups, parse_identity

from .conftest import Run, command, succeeded, terminal

STRANGER = format_identity(IdentityKey(b"\x05" * 32).public_key)


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that is written."""
    monkeypatch.delenv("BLINDRELAY_CONNECTION", raising=False)
    file = tmp_path / "config" / "blindrelay" / "config.toml"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return file


def address(bed: Testbed) -> str:
    return bed.relay.partition("@")[2].partition("?")[0]


@pytest.fixture
def arguments(bed: Testbed, tmp_path: Path) -> list[object]:
    """All that init needs except for the identity."""
    file = tmp_path / "token"
    file.write_text(bed.token + "\n")
    return ["init", "--relay", address(bed), "--token-file", file, "--no-tls"]


def answering(answers: str, *arguments: object) -> tuple[int, str, str]:
    """Runs a command line with these answers; returns the exit code, stdout and stderr."""
    with CliRunner().isolation(input=answers) as (out, err, _):
        code = main([str(each) for each in arguments])
        return code, out.getvalue().decode(), err.getvalue().decode()


def test_three_questions_at_a_terminal(bed: Testbed, config: Path, run: Run) -> None:
    groups = identity_groups(parse_identity(bed.identity))
    with terminal("init", "--no-tls") as person:
        for question, answer in [
            ("The relay's address (HOST:PORT): ", address(bed)),
            ("Your access token: ", bed.token),
            ("The bridge's identity (br1…): ", groups.replace("\n", " ")),
            (groups.splitlines()[1], ""),
            ("reads to you?", "y"),
        ]:
            person.wait_for(question)
            person.type(answer + "\n" if answer else "")
        assert person.end() == 0
    assert bed.token not in person.shown + config.read_text()
    assert "ok       provider" in person.shown
    assert str(config) in person.shown
    for file in (config, config.parent / "default.token"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    written = ConnectionConfig.from_env()
    assert (written.target, written.token) == (address(bed), bed.token)
    assert format_identity(written.identity) == bed.identity
    assert run("chat", "What is the capital of France?")[:2] == (0, "The capital of France is Paris.\n")


def test_identity_is_asked_again_and_dropped_if_its_groups_differ(
    bed: Testbed, arguments: list[object], config: Path
) -> None:
    code, _, err = answering(f"{bed.identity[:-1]}\n{bed.identity}\nn\n", *arguments)
    assert (code, "please try again" in err) == (2, True)
    assert identity_groups(parse_identity(bed.identity)) in err
    assert err.endswith("blindrelay: nothing was written\n")
    assert not config.exists()


@pytest.mark.parametrize("by_option", [True, False])
def test_connection_string_answers_everything(by_option: bool, bed: Testbed, config: Path, run: Run) -> None:
    """Also with quotes and spaces around it. Only the groups have to be compared."""
    pasted = f' "{bed.relay}&idle=90s"'
    if by_option:
        assert run("init", "--yes", "--relay", pasted + "\n")[0] == 0
    else:
        assert answering(f"https://nonsense\n{pasted}\ny\n", "init")[0] == 0
    written = ConnectionConfig.from_env()
    assert (written.target, written.token, written.tls, written.idle) == (address(bed), bed.token, False, 90)
    assert format_identity(written.identity) == bed.identity
    assert bed.token not in config.read_text()


def test_json_has_the_checks(bed: Testbed, arguments: list[object], config: Path, run: Run) -> None:
    for identity, ok, failed in [(STRANGER, False, ["identity"]), (bed.identity, True, [])]:
        code, out, err = run(*arguments, "--yes", "--json", "--bridge", identity)
        result = json.loads(out)
        assert (code, err, result["written"], result["ok"]) == (0 if ok else 1, "", ok, ok)
        assert [each["check"] for each in result["checks"] if each["status"] == "failed"] == failed
        assert config.exists() == ok
    assert (result["file"], result["profile"]) == (str(config), "default")


def test_failed_check_writes_nothing_unless_ignored(arguments: list[object], config: Path, run: Run) -> None:
    arguments += ["--bridge", STRANGER]
    code, out, err = run(*arguments, "--yes")
    assert (code, "FAILED   identity" in out) == (1, True)
    assert err == "blindrelay: a check failed, and nothing was written: --no-check writes without checking\n"
    assert answering("y\nn\n", *arguments)[0] == 1
    assert not config.parent.exists()
    code, _, err = answering("y\ny\n", *arguments)
    assert (code, "Write it anyway?" in err, config.exists()) == (0, True, True)
    config.unlink()
    assert run(*arguments, "--yes", "--no-check")[0] == 0
    assert config.exists()


def test_profiles_have_their_own_tokens(
    bed: Testbed, arguments: list[object], run: Run, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which may come from stdin."""
    monkeypatch.setattr("sys.stdin", io.StringIO(bed.token + "\n"))
    arguments += ["--bridge", bed.identity, "--yes"]
    assert run(*arguments, "--profile", "work")[0] == 0
    assert run(*arguments, "--profile", "home", "--token-file", "-")[0] == 0
    for profile in ("work", "home"):
        assert ConnectionConfig.from_profile(config, profile).token == bed.token
    names = sorted(each.name for each in config.parent.iterdir())
    assert names == ["config.toml", "home.token", "work.token"]


def test_replacing_needs_consent(bed: Testbed, arguments: list[object], config: Path, run: Run) -> None:
    """What else is in the file stays: test_config.py."""
    config.parent.mkdir(parents=True)
    before = '[profiles.default]\nrelay = "old:1"\n'
    config.write_text(before)
    arguments += ["--bridge", bed.identity]
    _, _, err = answering("n\n", *arguments)
    assert f"There is a profile default in {config}. Replace it?" in err
    assert answering("", *arguments)[0] == 2
    assert config.read_text() == before
    out = succeeded(run, *arguments, "--yes")
    assert f"Written: profile default in {config}" in out
    assert bed.token not in out
    assert "old:1" not in config.read_text()


COMPLETE = ["--bridge", STRANGER, "--yes"]
NO_TOKEN = [*COMPLETE, "--no-token"]
CANNOT_ASK = "cannot ask without a terminal: give --relay, --token-file and --bridge"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--relay", "r.example", "--bridge", "br1", "--yes", "--no-token"], "--bridge: a bridge identity"),
        (["--relay", "https://r", *NO_TOKEN], "--relay: the relay's address is HOST:PORT"),
        (["--relay", "r:0", *NO_TOKEN], "is HOST:PORT"),
        (["--relay", "blindrelay://t@r?pin=x", "--yes"], "--relay: a connection string has no option 'pin'"),
        (["--relay", "r", *NO_TOKEN, "--no-tls"], "for a relay on this machine"),
        (["--relay", "r", *COMPLETE, "--token-file", "/nowhere"], "cannot read /nowhere"),
        (["--relay", "r", *COMPLETE, "--token-file", "/dev/null"], "access token is empty"),
        (["--relay", "r", "--token", "secret"], "No such option"),
        ([], CANNOT_ASK),
    ],
)
def test_wrong_input_is_rejected(arguments: list[str], message: str, config: Path) -> None:
    code, _, err = answering("", "init", *arguments)
    assert code == 2
    assert message in err.splitlines()[-1]
    assert err.splitlines()[-1].startswith("blindrelay: ")
    assert not config.exists()


def test_a_hidden_question_without_a_terminal_is_one_line(config: Path) -> None:
    """In a session of its own, so that getpass finds no terminal at all."""
    process = command("init", "--relay", "r", *COMPLETE, new_session=True)
    err = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 2
    shown = [line.strip() for line in err.splitlines()]
    assert shown == ["Your access token:", f"blindrelay: {CANNOT_ASK}"]
    assert not config.exists()
