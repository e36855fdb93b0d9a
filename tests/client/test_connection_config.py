"""The connection string, the environment and profiles."""

from __future__ import annotations

from pathlib import Path

import pytest

from blindrelay.client import ConfigurationError, ConnectionConfig
from blindrelay.trust import IdentityKey, format_identity
from blindrelay.v1.inner_pb2 import Credential, DeadlineClass

KEY = IdentityKey.from_seed(bytes(range(32))).public_key
IDENTITY = format_identity(KEY)


def test_connection_string_has_defaults() -> None:
    connection = ConnectionConfig.from_string(f"blindrelay://brt_secret@relay.example:8443?bridge={IDENTITY}")
    assert connection.target == "relay.example:8443"
    assert connection.token == "brt_secret"
    assert connection.identity == KEY
    assert connection.tls
    assert connection.credential == Credential.CREDENTIAL_INJECTED
    assert connection.deadline_class == DeadlineClass.DEADLINE_CLASS_HOUR


def test_options_and_defaults(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("a certificate")
    connection = ConnectionConfig.from_string(
        f"blindrelay://t@[::1]?bridge={IDENTITY}&credentials=brought&deadline=10m&ca={ca}"
        "&first_byte=1h&idle=90s&headers=X-Title,%20x-custom&cache_salt=models.example,::1"
    )
    assert connection.target == "[::1]:443"
    assert connection.credential == Credential.CREDENTIAL_BROUGHT
    assert connection.deadline_class == DeadlineClass.DEADLINE_CLASS_TEN_MINUTES
    assert (connection.first_byte, connection.idle) == (3_600, 90)
    assert connection.ca == ca
    assert connection.headers == {"x-title", "x-custom"}
    assert connection.cache_salt == frozenset({"models.example", "::1"})
    plain = ConnectionConfig.from_string(f"blindrelay://relay.example?bridge={IDENTITY}")
    assert (plain.headers, plain.cache_salt) == (frozenset(), frozenset())
    off = ConnectionConfig.from_string(f"blindrelay://relay.example?bridge={IDENTITY}&cache_salt=off")
    assert off.cache_salt is None


def test_token_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("brt_from_file\n")
    file.chmod(0o640)
    connection = ConnectionConfig.from_string(f"blindrelay://relay.example?bridge={IDENTITY}&token=@{file}")
    assert connection.token == "brt_from_file"


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o660, 0o601])
def test_token_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    """A group may read it; nobody else may do anything with it."""
    file = tmp_path / "token"
    file.write_text("brt_from_file\n")
    file.chmod(mode)
    with pytest.raises(ConfigurationError, match=f"open to others \\(mode {mode:04o}\\): run chmod 600"):
        ConnectionConfig.from_string(f"blindrelay://relay.example?bridge={IDENTITY}&token=@{file}")


def test_profile_with_a_token_open_to_others_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'[profiles.p]\nrelay = "relay.example"\nbridge = "{IDENTITY}"\ntoken = "brt_x"\n')
    config.chmod(0o644)
    with pytest.raises(ConfigurationError, match="open to others"):
        ConnectionConfig.from_profile(config, "p")
    config.chmod(0o600)
    assert ConnectionConfig.from_profile(config, "p").token == "brt_x"


@pytest.mark.parametrize(
    "pasted",
    [
        f" blindrelay://t@relay.example?bridge={IDENTITY}&history=off \r\n",
        f'"blindrelay://t@relay.example?bridge={IDENTITY}&history=off"',
        f"\u201cblindrelay://t@relay.example?bridge={IDENTITY}&history=off\u201d",
        f"<blindrelay://t@relay.example?bridge={IDENTITY}&history=off>",
        f"\ufeffblindrelay://t@relay.example?bridge={IDENTITY}&history=off",
        f"blindrelay://t@relay.example?bridge={IDENTITY[:20]}\r\n  {IDENTITY[20:]}&history=off",
        f"blindrelay://t @relay.example?bridge={IDENTITY} &history= OFF &tls=On",
        f"BLINDRELAY://t@relay.example:443/?bridge={IDENTITY}&history=off\n",
    ],
)
def test_pasted_connection_string_is_read(pasted: str) -> None:
    connection = ConnectionConfig.from_string(pasted)
    assert (connection.token, connection.target, connection.identity) == ("t", "relay.example:443", KEY)
    assert (connection.history, connection.tls) == (False, True)


PROFILE = f'[profiles.default]\nrelay = "relay.example"\nbridge = "{IDENTITY}"\nhistory = "off "\n# é\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_profile_is_utf_8_in_every_locale(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.toml").write_text(PROFILE, encoding=encoding)
    monkeypatch.setattr("locale.getpreferredencoding", lambda *_: "cp1252")
    assert ConnectionConfig.from_profile(tmp_path / "config.toml", "default").history is False


@pytest.mark.parametrize(("encoding", "message"), [("utf-16", "UTF-16"), ("latin-1", r"not UTF-8 .*line 5")])
def test_profile_in_another_encoding_is_refused(encoding: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(PROFILE, encoding=encoding)
    with pytest.raises(ConfigurationError, match=message):
        ConnectionConfig.from_profile(tmp_path / "config.toml", "default")


def test_token_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "token").touch(mode=0o600)
    (tmp_path / "token").touch(0o600)
    (tmp_path / "token").write_text("brt_t\n", encoding="utf-8-sig")
    text = f"blindrelay://relay.example?bridge={IDENTITY}&token=@{tmp_path}/token"
    assert ConnectionConfig.from_string(text).token == "brt_t"
    (tmp_path / "token").write_text("brt_t\n", encoding="utf-16")
    with pytest.raises(ConfigurationError, match="is UTF-16 text: save it as UTF-8"):
        ConnectionConfig.from_string(text)


def test_missing_home_is_an_error_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME", "BLINDRELAY_CONFIG", "BLINDRELAY_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 4_000_000_000)
    with pytest.raises(ConfigurationError, match="no home directory: set BLINDRELAY_CONNECTION"):
        ConnectionConfig.from_env()
    with pytest.raises(ConfigurationError, match="no home directory"):
        ConnectionConfig.from_string(f"blindrelay://t@relay.example?bridge={IDENTITY}&history=~/keys")


def test_repr_hides_the_token() -> None:
    connection = ConnectionConfig.from_string(f"blindrelay://brt_secret@relay.example?bridge={IDENTITY}")
    assert "brt_secret" not in repr(connection)


TIMES_THAT_ARE_WRONG = ("", "s", "5", "-5s", "0s", "1d", "1.5h", "٣s", "100000s")
RELAY = f"blindrelay://t@relay.example?bridge={IDENTITY}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has the form"),
        ("https://relay.example", "has the form"),
        ("blindrelay://", "has the form"),
        ("blindrelay://relay.example:notaport", "has the form"),
        (f"blindrelay://relay.example/path?bridge={IDENTITY}", "has the form"),
        (f"blindrelay://t@relay.example:0?bridge={IDENTITY}", "has the form"),
        ("blindrelay://t@relay.example", "no bridge is pinned"),
        ("blindrelay://t@relay.example?bridge=", "no bridge is pinned"),
        (RELAY[:-1] + "q", "checksum"),
        (RELAY[:-1], "characters"),
        (f"blindrelay://t:p@relay.example?bridge={IDENTITY}", "not a user and a password"),
        (f"blindrelay://@relay.example?bridge={IDENTITY}", "token is empty"),
        (f"blindrelay://relay.example?bridge={IDENTITY}&token=secret", "or in a file"),
        (f"blindrelay://relay.example?bridge={IDENTITY}&token=@/nowhere/token", "cannot read /nowhere/token"),
        (f"blindrelay://t@127.0.0.1?bridge={IDENTITY}&tls=off&proxy=p:1", "needs no proxy"),
        *(
            (f"{RELAY}&{option}", message)
            for option, message in [
                (f"bridge={IDENTITY}", "given twice"),
                ("pin=x", "no option 'pin'"),
                ("tls=off", "on this machine"),
                ("tls=no", "tls is one of"),
                ("deadline=1d", "deadline is one of"),
                ("credentials=mine", "credentials is one of"),
                ("headers=a,b:c", "'b:c' is not a name"),
                ("token=@f", "one token"),
                ("ca=/nowhere/ca", "cannot read /nowhere/ca"),
                ("ca=", "ca: cannot read"),
                ("ca=%00", "is not a valid path"),
                ("proxy=socks5://p:1", "proxy starts with socks5://"),
                ("proxy=https://p:1", "proxy starts with https://"),
                ("proxy=http://", "proxy is not http://"),
                ("proxy=p:port", "proxy is not http://"),
                ("proxy=http://p/path", "proxy is not http://"),
            ]
        ),
        *((f"{RELAY}&idle={time}", "idle is a time") for time in TIMES_THAT_ARE_WRONG),
        *((f"{RELAY}&history={word}", "history is a file, on or off") for word in ("", "false", "None", "0")),
    ],
)
def test_wrong_connection_string_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as raised:
        ConnectionConfig.from_string(text)
    assert "\n" not in str(raised.value)


def test_errors_do_not_contain_the_token() -> None:
    with pytest.raises(ConfigurationError) as raised:
        ConnectionConfig.from_string("blindrelay://brt_secret@relay.example/?bridge=wrong")
    assert "brt_secret" not in str(raised.value)


def test_connection_variable_is_read() -> None:
    text = f"blindrelay://t@relay.example?bridge={IDENTITY}"
    assert ConnectionConfig.from_env({"BLINDRELAY_CONNECTION": text}).target == "relay.example:443"


def test_profiles_are_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("brt_profile")
    (tmp_path / "token").chmod(0o600)
    config = tmp_path / "config.toml"
    config.write_text(
        f'[profiles.default]\nrelay = "relay.example:444"\nbridge = "{IDENTITY}"\ntoken_file = "token"\n'
        f'[profiles.other]\nrelay = "other.example"\nbridge = "{IDENTITY}"\n'
    )
    environ = {"BLINDRELAY_CONFIG": str(config)}
    default = ConnectionConfig.from_env(environ)
    assert (default.target, default.token) == ("relay.example:444", "brt_profile")
    assert ConnectionConfig.from_env(environ | {"BLINDRELAY_PROFILE": "other"}).target == "other.example:443"


def test_paths_in_a_profile_are_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("a certificate")
    config = tmp_path / "config.toml"
    config.write_text(
        f'[profiles.p]\nrelay = "relay.example"\nbridge = "{IDENTITY}"\nca = "ca.pem"\nhistory = "kept"\n'
    )
    read = ConnectionConfig.from_profile(config, "p")
    assert (read.ca, read.history) == (tmp_path / "ca.pem", tmp_path / "kept")


def test_tls_off_is_only_for_this_machine() -> None:
    assert not ConnectionConfig("127.0.0.1", 8480, KEY, tls=False).tls
    with pytest.raises(ConfigurationError, match="on this machine"):
        ConnectionConfig("relay.example", 443, KEY, tls=False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no profile 'default'"),
        ("[profiles.default", "config.toml"),
        ("[profiles.default]\nport = 3", "port is not one of"),
        ("[profiles.default]\ndeadline = 3", "the value of deadline must be in quotes"),
        (f'[profiles.default]\nbridge = "{IDENTITY}"', "needs relay"),
        ('[profiles.default]\nrelay = "a:b"', "needs relay"),
        ('[profiles.default]\nrelay = "a:0"', "needs relay"),
        ('[profiles.default]\nrelay = "[::1:443"', "needs relay"),
        ('[profiles.default]\nrelay = "https://relay.example"', "needs relay ="),
        ('[profiles.default]\nrelay = "t@relay.example"', "needs relay ="),
        ('[profiles.default]\nrelay = "relay.example"\ntoken = "t"\ntoken_file = "f"', "one token"),
        ('[profiles.default]\nrelay = "relay.example"', "no bridge is pinned"),
    ],
)
def test_wrong_profile_is_refused(tmp_path: Path, content: str, message: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(content)
    with pytest.raises(ConfigurationError, match=message):
        ConnectionConfig.from_env({"BLINDRELAY_CONFIG": str(config)})


def test_missing_configuration_is_an_error_with_advice(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="run `blindrelay init`, or set BLINDRELAY_CONNECTION"):
        ConnectionConfig.from_env({"XDG_CONFIG_HOME": str(tmp_path)})
