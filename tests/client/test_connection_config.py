"""The connection string, the environment and profiles."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from blindrelay.client import ConfigurationError, ConnectionConfig
from blindrelay.trust import parse_identity
from blindrelay.v1.inner_pb2 import Credential, DeadlineClass

from .conftest import IDENTITY, RELAY

KEY = parse_identity(IDENTITY)
BRIDGE = f"bridge={IDENTITY}"
PROFILE = f'[profiles.default]\nrelay = "relay.example"\nbridge = "{IDENTITY}"\n'


def refusal_of(text: str) -> str:
    with pytest.raises(ConfigurationError) as raised:
        ConnectionConfig.from_string(text)
    return str(raised.value)


def profile_at(folder: Path, content: str | bytes = PROFILE) -> Path:
    """A file of profiles that only this user can read."""
    file = folder / "config.toml"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    file.chmod(0o600)
    return file


def test_defaults() -> None:
    text = f"blindrelay://brt_secret@relay.example:8443?{BRIDGE}"
    connection = ConnectionConfig.from_env({"BLINDRELAY_CONNECTION": text})
    assert (connection.target, connection.token) == ("relay.example:8443", "brt_secret")
    assert (connection.identity, connection.tls) == (KEY, True)
    assert connection.credential == Credential.CREDENTIAL_INJECTED
    assert connection.deadline_class == DeadlineClass.DEADLINE_CLASS_HOUR
    assert (connection.headers, connection.cache_salt) == (frozenset(), frozenset())
    assert (connection.provider, connection.keys) == ("openai", ())
    assert "brt_secret" not in repr(connection)


def test_options(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("a certificate")
    connection = ConnectionConfig.from_string(
        f"blindrelay://t@[::1]?{BRIDGE}&credentials=brought&deadline=10m&ca={ca}"
        "&first_byte=1h&idle=90s&headers=X-Title,%20x-custom&cache_salt=models.example,::1&provider=models"
    )
    assert connection.target == "[::1]:443"
    assert connection.credential == Credential.CREDENTIAL_BROUGHT
    assert connection.deadline_class == DeadlineClass.DEADLINE_CLASS_TEN_MINUTES
    assert (connection.first_byte, connection.idle, connection.ca) == (3_600, 90, ca)
    assert connection.headers == {"x-title", "x-custom"}
    assert connection.provider == "models"
    assert connection.cache_salt == frozenset({"models.example", "::1"})
    assert ConnectionConfig.from_string(f"{RELAY}&cache_salt=off").cache_salt is None
    assert ConnectionConfig.from_string(f"{RELAY}&max_units=20000").max_units == 20_000
    assert ConnectionConfig.from_string(RELAY).max_units == 1_000_000


@pytest.mark.parametrize("value", ["", "0", "-1", "3000", "1e4", "10,000", "1" + "0" * 5_000, "٢"])
def test_max_units_is_on_the_ladder(value: str) -> None:
    assert "max_units is 1, 2 or 5 times a power of ten" in refusal_of(f"{RELAY}&max_units={value}")


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o604, 0o644, 0o660, 0o601])
def test_token_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    """A group may read it; nobody else may do anything with it."""
    file = tmp_path / "token"
    file.write_text("brt_from_file\n", encoding="utf-8-sig")
    file.chmod(mode)
    text = f"blindrelay://relay.example?{BRIDGE}&token=@{file}"
    if mode in (0o600, 0o640):
        assert ConnectionConfig.from_string(text).token == "brt_from_file"
        file.write_text("brt_from_file\n", encoding="utf-16")
        assert "is UTF-16 text: save it as UTF-8" in refusal_of(text)
    else:
        assert f"open to others (mode {mode:04o}): run chmod 600" in refusal_of(text)


def test_profile_with_a_token_open_to_others_is_refused(tmp_path: Path) -> None:
    config = profile_at(tmp_path, f'{PROFILE}token = "brt_x"\n')
    assert ConnectionConfig.from_profile(config, "default").token == "brt_x"
    config.chmod(0o644)
    with pytest.raises(ConfigurationError, match="open to others"):
        ConnectionConfig.from_profile(config, "default")


@pytest.mark.parametrize(
    "pasted",
    [
        f" {RELAY}&history=off \r\n",
        f'"{RELAY}&history=off"',
        f"\u201c{RELAY}&history=off\u201d",
        f"<{RELAY}&history=off>",
        f"\ufeff{RELAY}&history=off",
        f"{RELAY[:-20]}\r\n  {RELAY[-20:]}&history=off",
        f"blindrelay://t @relay.example?{BRIDGE} &history= OFF &tls=On",
        f"BLINDRELAY://t@relay.example:443/?{BRIDGE}&history=off\n",
    ],
)
def test_pasted_connection_string_is_read(pasted: str) -> None:
    connection = ConnectionConfig.from_string(pasted)
    assert (connection.token, connection.target, connection.identity) == ("t", "relay.example:443", KEY)
    assert (connection.history, connection.tls) == (False, True)


@pytest.mark.parametrize(
    ("encoding", "message"),
    [("utf-8", ""), ("utf-8-sig", ""), ("utf-16", "UTF-16"), ("latin-1", r"not UTF-8 .*line 5")],
)
def test_profile_is_utf_8_in_every_locale(
    encoding: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = profile_at(tmp_path, f'{PROFILE}history = "off "\n# é\n'.encode(encoding))
    monkeypatch.setattr("locale.getpreferredencoding", lambda *_: "cp1252")
    with pytest.raises(ConfigurationError, match=message) if message else nullcontext():
        assert ConnectionConfig.from_profile(config, "default").history is False


def test_missing_home_is_an_error_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME", "BLINDRELAY_CONFIG", "BLINDRELAY_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 4_000_000_000)
    with pytest.raises(ConfigurationError, match="no home directory: set BLINDRELAY_CONNECTION"):
        ConnectionConfig.from_env()
    with pytest.raises(ConfigurationError, match="no home directory"):
        ConnectionConfig.from_string(f"{RELAY}&history=~/keys")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has the form"),
        ("https://relay.example", "has the form"),
        ("blindrelay://", "has the form"),
        ("blindrelay://relay.example:notaport", "has the form"),
        (f"blindrelay://relay.example/path?{BRIDGE}", "has the form"),
        (f"blindrelay://t@relay.example:0?{BRIDGE}", "has the form"),
        ("blindrelay://secret@relay.example", "no bridge is pinned"),
        ("blindrelay://secret@relay.example?bridge=", "no bridge is pinned"),
        ("blindrelay://secret@relay.example/?bridge=wrong", "begins with 'br1'"),
        (f"blindrelay://secret@relay.example?{BRIDGE[:-1]}", "characters"),
        (f"blindrelay://secret@relay.example?{BRIDGE[:-1]}q", "checksum"),
        (f"blindrelay://t:p@relay.example?{BRIDGE}", "not a user and a password"),
        (f"blindrelay://@relay.example?{BRIDGE}", "token is empty"),
        (f"blindrelay://relay.example?{BRIDGE}&token=secret", "or in a file"),
        (f"blindrelay://relay.example?{BRIDGE}&token=@/nowhere/token", "cannot read /nowhere/token"),
        (f"blindrelay://t@127.0.0.1?{BRIDGE}&tls=off&proxy=p:1", "needs no proxy"),
        (f"{RELAY}&{BRIDGE}", "given twice"),
        (f"{RELAY}&pin=x", "no option 'pin'"),
        (f"{RELAY}&tls=off", "on this machine"),
        (f"{RELAY}&tls=no", "tls is one of"),
        (f"{RELAY}&deadline=1d", "deadline is one of"),
        (f"{RELAY}&credentials=mine", "credentials is one of"),
        (f"{RELAY}&headers=a,b:c", "'b:c' is not a name"),
        (f"{RELAY}&token=@f", "two tokens"),
        (f"{RELAY}&ca=/nowhere/ca", "cannot read /nowhere/ca"),
        (f"{RELAY}&ca=", "ca: cannot read"),
        (f"{RELAY}&ca=%00", "is not a valid path"),
        (f"{RELAY}&proxy=socks5://p:1", "proxy starts with socks5://"),
        (f"{RELAY}&proxy=https://p:1", "proxy starts with https://"),
        (f"{RELAY}&proxy=http://", "proxy is not http://"),
        (f"{RELAY}&proxy=p:port", "proxy is not http://"),
        (f"{RELAY}&proxy=http://p/path", "proxy is not http://"),
        *((f"{RELAY}&history={word}", "history is a file, on or off") for word in ("", "false", "None", "0")),
        *(
            (f"{RELAY}&idle={time}", "idle is a time")
            for time in ("", "s", "5", "-5s", "0s", "1d", "1.5h", "٣s", "100000s")
        ),
    ],
)
def test_wrong_connection_string_is_refused(text: str, message: str) -> None:
    refusal = refusal_of(text)
    assert message in refusal
    assert "\n" not in refusal
    assert "secret" not in refusal


def test_profiles_are_read_from_a_file(tmp_path: Path) -> None:
    """Its paths are relative to it."""
    (tmp_path / "token").write_text("brt_profile")
    (tmp_path / "token").chmod(0o600)
    (tmp_path / "ca.pem").write_text("a certificate")
    other = f'[profiles.other]\nrelay = "other.example"\nbridge = "{IDENTITY}"\n'
    config = profile_at(tmp_path, f'{PROFILE}token_file = "token"\nca = "ca.pem"\nhistory = "kept"\n{other}')
    environ = {"BLINDRELAY_CONFIG": str(config)}
    read = ConnectionConfig.from_env(environ)
    assert (read.target, read.token) == ("relay.example:443", "brt_profile")
    assert (read.ca, read.history) == (tmp_path / "ca.pem", tmp_path / "kept")
    assert ConnectionConfig.from_env(environ | {"BLINDRELAY_PROFILE": "other"}).target == "other.example:443"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no profile 'default'"),
        ("[profiles.default", r"config\.toml"),
        ("[profiles.default]\nport = 3", "port is not one of"),
        ("[profiles.default]\ndeadline = 3", "the value of deadline must be in quotes"),
        (f'[profiles.default]\nbridge = "{IDENTITY}"', "needs relay"),
        *(
            (f'[profiles.default]\nrelay = "{relay}"', "needs relay =")
            for relay in ("a:b", "a:0", "[::1:443", "https://relay.example", "t@relay.example")
        ),
        ('[profiles.default]\nrelay = "relay.example"\ntoken = "t"\ntoken_file = "f"', "two tokens"),
        ('[profiles.default]\nrelay = "relay.example"', "no bridge is pinned"),
    ],
)
def test_wrong_profile_is_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ConnectionConfig.from_env({"BLINDRELAY_CONFIG": str(profile_at(tmp_path, content))})
