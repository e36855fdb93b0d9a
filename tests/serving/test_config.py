"""A wrong key or command is one line that names it. An address is a host and a port."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from blindrelay.serving import (
    Address,
    Announce,
    ConfigError,
    StartError,
    Table,
    command_parser,
    parse_address,
    read_config,
    run_command,
)


def build(table: Table) -> dict[str, Any]:
    return {
        "name": table.text("name"),
        "alias": table.optional_text("alias"),
        "size": table.integer("size", default=5, minimum=1, maximum=9),
        "loud": table.flag("loud", default=False),
        "key": table.optional_path("key"),
        "listen": table.address("listen"),
        "paths": table.texts("paths"),
        "limits": table.table(
            "limits", lambda limits: limits.integer("low", default=0, minimum=0, maximum=1)
        ),
        "parts": table.tables("part", lambda part: part.text("id")),
    }


WITHOUT_PARTS = 'name = "a"\nlisten = "127.0.0.1:1"\n'
GOOD = WITHOUT_PARTS + '[[part]]\nid = "x"\n[[part]]\nid = "y"\n'
FULL = 'alias = "b"\nsize = 9\nloud = true\nkey = "k"\npaths = ["p", "q"]\n' + GOOD + "[limits]\nlow = 1\n"


def read(folder: Path, text: str | bytes) -> dict[str, Any]:
    file = folder / "some.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_config(file, build)


def test_defaults_and_values_are_read(tmp_path: Path) -> None:
    given = {"name": "a", "listen": Address("127.0.0.1", 1), "parts": ("x", "y")}
    absent = dict.fromkeys(("alias", "key", "paths", "limits"))
    for text in (GOOD, GOOD.encode("utf-8-sig")):
        assert read(tmp_path, text) == {**given, **absent, "size": 5, "loud": False}
    values = {"alias": "b", "size": 9, "loud": True, "key": tmp_path / "k", "paths": ("p", "q"), "limits": 1}
    assert read(tmp_path, FULL) == {**given, **values}
    assert read(tmp_path, 'key = "/etc/key"\n' + GOOD)["key"] == Path("/etc/key")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = ", "not valid TOML"),
        ("", "name is missing: a string is needed"),
        ("x = 1\n" + GOOD, "x is not a known key; the known ones are alias, key, limits, listen, loud"),
        (GOOD + "x = 1\n", "part[1].x is not a known key; the known ones are id"),
        (GOOD + "[limits]\nhigh = 1\n", "limits.high is not a known key; the known ones are low"),
        (GOOD.replace('"a"', "1"), "name must be a string"),
        (GOOD.replace('"a"', '""'), "name must not be empty"),
        ("size = 10\n" + GOOD, "size must be from 1 to 9, and is 10"),
        ("size = 0\n" + GOOD, "size must be from 1 to 9, and is 0"),
        ("size = 2.0\n" + GOOD, "size must be an integer"),
        ("size = true\n" + GOOD, "size must be an integer"),
        ("loud = 1\n" + GOOD, "loud must be true or false"),
        ("key = 1\n" + GOOD, "key must be a string"),
        ('paths = "p"\n' + GOOD, "paths must be an array of strings"),
        ('paths = ["p", 1]\n' + GOOD, "paths must be an array of strings"),
        ("limits = 1\n" + GOOD, "limits must be a table"),
        (WITHOUT_PARTS, "part is missing: at least one [[part]] section is needed"),
        (GOOD.replace("name", "nmae"), "name is missing: a string is needed. Is nmae a misspelling of it?"),
        (GOOD.replace("name", "alais"), "name is missing: a string is needed"),
        (
            GOOD.replace("[part]", "[prat]"),
            "part is missing: at least one [[part]] section is needed. Is prat a misspelling of it?",
        ),
        (
            GOOD.replace("id", "idd", 1),
            "part[0].id is missing: a string is needed. Is part[0].idd a misspelling",
        ),
        (WITHOUT_PARTS + "part = [1]\n", "part must be an array of tables, [[part]]"),
        (WITHOUT_PARTS + "[part]\n", "part must be an array of tables, [[part]]"),
        (GOOD.replace("127.0.0.1:1", "here"), 'listen = "here" is not an address'),
        (b"name = '\xe9'", "not UTF-8 text (line 1)"),
        ("name = ''".encode("utf-16"), "UTF-16 text"),
    ],
)
def test_wrong_file_is_one_sentence(tmp_path: Path, text: str | bytes, words: str) -> None:
    with pytest.raises(ConfigError) as failure:
        read(tmp_path, text)
    assert words in str(failure.value)
    assert str(failure.value).startswith(f"{tmp_path / 'some.toml'}: ")


def test_missing_file_and_directory_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        read_config(tmp_path / "absent.toml", build)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path, build)


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("127.0.0.1:8480", "127.0.0.1", 8480, True),
        ("127.9.9.9:0", "127.9.9.9", 0, True),
        ("localhost:1", "localhost", 1, True),
        ("[::1]:65535", "::1", 65535, True),
        ("[0:0:0:0:0:0:0:1]:1", "::1", 1, True),
        ("0.0.0.0:1", "0.0.0.0", 1, False),
        ("[::]:1", "::", 1, False),
        ("localhost.example:443", "localhost.example", 443, False),
    ],
)
def test_address_is_host_and_port(text: str, host: str, port: int, loopback: bool) -> None:
    address = parse_address(text)
    assert (address.host, address.port, address.is_loopback) == (host, port, loopback)
    assert str(address) == text.replace("0:0:0:0:0:0:0:1", "::1")


WRONG = "| : | host | host: | :80 | host:x | host:-1 | host:65536 | host:٣ | ::1:80 | [::1] | [x]:1"
NO_ADDRESS = "ho st:1 | http://host:80 | user@host:80 | host:80/path | hôst:80 | unix:/run/relay.sock"


@pytest.mark.parametrize("text", [text.strip() for text in f"{WRONG} | {NO_ADDRESS}".split("|")])
def test_other_text_is_rejected(text: str) -> None:
    with pytest.raises(ConfigError) as failure:
        parse_address(text)
    assert text in str(failure.value)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (StartError("the port is taken"), 1, "the port is taken\n"),
        (ConfigError("key x is\nwrong"), 2, "key x is wrong\n"),
        (ValueError("canary"), 1, "stopped by an internal error (ValueError at test_config.py:"),
    ],
)
def test_error_is_one_line(
    error: Exception, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def serve(arguments: object, announce: Announce) -> None:
        raise error

    parser, _ = command_parser("some-server", "A server.", serve)
    assert run_command(parser, ["serve", "--config", "x"]) == code
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"some-server: {line}")
    assert "canary" not in err


@pytest.mark.parametrize(
    ("option", "out"),
    [
        ("--config=x", "A sentence.\n"),
        ("--json", '{"listening": "x"}\n'),
        ("--help", "usage: "),
    ],
)
def test_one_line_announces_the_address(option: str, out: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser, _ = command_parser("some-server", "", lambda _, announce: announce("A sentence.", listening="x"))
    with suppress(SystemExit):
        assert run_command(parser, ["serve", "--config=x", option]) == 0
    assert capsys.readouterr().out.startswith(out)


@pytest.mark.parametrize(
    ("package", "given", "expected"),
    [("serving", "", "NONE"), ("serving", "DEBUG", "DEBUG"), ("relay_node", "DEBUG", "NONE")],
)
def test_grpcs_log_is_off_when_grpc_is_imported(package: str, given: str, expected: str) -> None:
    """Its log would write peers' addresses to stderr. A relay does not let the environment turn it on."""
    script = (
        "import os, sys\n"
        "class Look:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'grpc': print(os.environ.get('GRPC_VERBOSITY'))\n"
        "sys.meta_path.insert(0, Look())\n"
        f"import blindrelay.{package}\n"
    )
    env = {key: value for key, value in os.environ.items() if key != "GRPC_VERBOSITY"}
    if given:
        env["GRPC_VERBOSITY"] = given
    run = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    assert run.stdout.split() == [expected]
