"""The connection string, the environment and profiles."""

from __future__ import annotations

from pathlib import Path

import pytest

from blindrelay.client import ConfigurationError, Connection
from blindrelay.sealing import IdentityKey, format_identity
from blindrelay.v1.inner_pb2 import Credential, DeadlineClass

KEY = IdentityKey.from_seed(bytes(range(32))).public_key
IDENTITY = format_identity(KEY)


def test_a_connection_string_says_everything() -> None:
    connection = Connection.from_string(f"blindrelay://brt_secret@relay.example:8443?bridge={IDENTITY}")
    assert connection.target == "relay.example:8443"
    assert connection.token == "brt_secret"
    assert connection.identity == KEY
    assert connection.tls
    assert connection.credential == Credential.CREDENTIAL_INJECTED
    assert connection.deadline_class == DeadlineClass.DEADLINE_CLASS_HOUR


def test_options_and_defaults(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("a certificate")
    connection = Connection.from_string(
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
    plain = Connection.from_string(f"blindrelay://relay.example?bridge={IDENTITY}")
    assert (plain.headers, plain.cache_salt) == (frozenset(), frozenset())
    off = Connection.from_string(f"blindrelay://relay.example?bridge={IDENTITY}&cache_salt=off")
    assert off.cache_salt is None


def test_a_token_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("brt_from_file\n")
    connection = Connection.from_string(f"blindrelay://relay.example?bridge={IDENTITY}&token=@{file}")
    assert connection.token == "brt_from_file"


def test_the_token_is_never_shown() -> None:
    connection = Connection.from_string(f"blindrelay://brt_secret@relay.example?bridge={IDENTITY}")
    assert "brt_secret" not in repr(connection)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has the form"),
        ("https://relay.example", "has the form"),
        ("blindrelay://", "has the form"),
        ("blindrelay://relay.example:notaport", "has the form"),
        ("blindrelay://relay.example/path?bridge=" + IDENTITY, "has the form"),
        ("blindrelay://t@relay.example", "no bridge is pinned"),
        ("blindrelay://t@relay.example?bridge=", "no bridge is pinned"),
        ("blindrelay://t@relay.example?bridge=" + IDENTITY[:-1] + "q", "checksum"),
        ("blindrelay://t@relay.example?bridge=" + IDENTITY[:-1], "characters"),
        ("blindrelay://t:p@relay.example?bridge=" + IDENTITY, "no password"),
        (f"blindrelay://t@relay.example?bridge={IDENTITY}&bridge={IDENTITY}", "once"),
        (f"blindrelay://t@relay.example?bridge={IDENTITY}&pin=x", "no option 'pin'"),
        (f"blindrelay://t@relay.example?bridge={IDENTITY}&tls=off", "on this machine"),
        (f"blindrelay://t@127.0.0.1?bridge={IDENTITY}&tls=no", "tls is one of"),
        (f"blindrelay://t@relay.example?bridge={IDENTITY}&deadline=1d", "deadline is one of"),
        *(
            (f"blindrelay://t@relay.example?bridge={IDENTITY}&idle={value}", "idle is a time")
            for value in ("", "s", "5", "-5s", "0s", "1d", "1.5h", "٣s", "100000s")
        ),
        (f"blindrelay://t@relay.example?bridge={IDENTITY}&credentials=mine", "credentials is one of"),
        (f"blindrelay://relay.example?bridge={IDENTITY}&token=secret", "in a file"),
        (f"blindrelay://t@relay.example?bridge={IDENTITY}&token=@f", "one token"),
        (f"blindrelay://relay.example?bridge={IDENTITY}&token=@/nowhere/token", "cannot read /nowhere/token"),
        (f"blindrelay://t@relay.example?bridge={IDENTITY}&ca=/nowhere/ca", "cannot read /nowhere/ca"),
        (f"blindrelay://t@relay.example?bridge={IDENTITY}&ca=", "ca: cannot read"),
        (f"blindrelay://@relay.example?bridge={IDENTITY}", "token is empty"),
        (f"blindrelay://t@relay.example:0?bridge={IDENTITY}", "has the form"),
    ],
)
def test_a_wrong_connection_string_is_one_clear_line(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as raised:
        Connection.from_string(text)
    assert "\n" not in str(raised.value)


def test_errors_do_not_repeat_the_token() -> None:
    with pytest.raises(ConfigurationError) as raised:
        Connection.from_string("blindrelay://brt_secret@relay.example/?bridge=wrong")
    assert "brt_secret" not in str(raised.value)


def test_the_environment_comes_first() -> None:
    text = f"blindrelay://t@relay.example?bridge={IDENTITY}"
    assert Connection.from_env({"BLINDRELAY_CONNECTION": text}).target == "relay.example:443"


def test_a_profile_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("brt_profile")
    config = tmp_path / "config.toml"
    config.write_text(
        f'[profiles.default]\nrelay = "relay.example:444"\nbridge = "{IDENTITY}"\ntoken_file = "token"\n'
        f'[profiles.other]\nrelay = "other.example"\nbridge = "{IDENTITY}"\n'
    )
    environ = {"BLINDRELAY_CONFIG": str(config)}
    default = Connection.from_env(environ)
    assert (default.target, default.token) == ("relay.example:444", "brt_profile")
    assert Connection.from_env(environ | {"BLINDRELAY_PROFILE": "other"}).target == "other.example:443"


def test_files_of_a_profile_are_found_beside_it(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("a certificate")
    config = tmp_path / "config.toml"
    config.write_text(f'[profiles.p]\nrelay = "relay.example"\nbridge = "{IDENTITY}"\nca = "ca.pem"\n')
    assert Connection.from_profile(config, "p").ca == tmp_path / "ca.pem"


def test_tls_is_off_on_this_machine_only() -> None:
    assert not Connection("127.0.0.1", 8480, KEY, tls=False).tls
    with pytest.raises(ConfigurationError, match="on this machine"):
        Connection("relay.example", 443, KEY, tls=False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no profile 'default'"),
        ("[profiles.default", "config.toml"),
        ("[profiles.default]\nport = 3", "port is not one of"),
        (f'[profiles.default]\nbridge = "{IDENTITY}"', "needs relay"),
        ('[profiles.default]\nrelay = "a:b"', "needs relay"),
        ('[profiles.default]\nrelay = "a:0"', "needs relay"),
        ('[profiles.default]\nrelay = "[::1:443"', "needs relay"),
        ('[profiles.default]\nrelay = "https://relay.example"', "and no more"),
        ('[profiles.default]\nrelay = "t@relay.example"', "and no more"),
        ('[profiles.default]\nrelay = "relay.example"\ntoken = "t"\ntoken_file = "f"', "one token"),
        ('[profiles.default]\nrelay = "relay.example"', "no bridge is pinned"),
    ],
)
def test_a_wrong_profile_is_one_clear_line(tmp_path: Path, content: str, message: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(content)
    with pytest.raises(ConfigurationError, match=message):
        Connection.from_env({"BLINDRELAY_CONFIG": str(config)})


def test_nothing_configured_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="BLINDRELAY_CONNECTION"):
        Connection.from_env({"XDG_CONFIG_HOME": str(tmp_path)})
