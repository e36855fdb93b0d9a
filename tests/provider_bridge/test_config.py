"""The configuration file, and the mistakes of a first day."""

from __future__ import annotations

from pathlib import Path

import pytest

from blindrelay.provider_bridge import BridgeConfig, DelegatedKey, Provider, presets, read_bridge_config
from blindrelay.provider_bridge.errors import RequestError
from blindrelay.provider_bridge.providers import Proxy
from blindrelay.provider_bridge.stateless.body_check import BodyCheck
from blindrelay.serving import Address, ConfigError
from blindrelay.trust import format_identity, identity_hash

MINIMAL = """
listen = "127.0.0.1:0"
identity_key = "identity.key"
[[provider]]
name = "openai"
preset = "openai"
"""

FULL = """
listen = "0.0.0.0:8490"
signing_key = "/keys/signing.key"
delegation = "delegation"
metrics = "127.0.0.1:9464"
epoch_seconds = 600
drain_seconds = 0
max_request_bytes = 1000000
max_buffered_bytes = 2000000
max_exchanges = 5
relays = 3
tokens = "relay-tokens"
[tls]
certificate = "bridge.pem"
key = "bridge.key"
client_ca = "relays.pem"
[[provider]]
name = "local"
preset = "openai"
origin = "https://models.example:8443"
target = "http://127.0.0.1:8080"
credential = { env = "LOCAL_KEY" }
allow_close_delimited = true
injected = ["POST /v1/chat/completions"]
brought = []
proxy = "http://proxy.example:3128"
proxy_credential = { env = "PROXY_USER" }
[[provider]]
name = "anthropic"
preset = "anthropic"
credential = { file = "anthropic.key" }
ca = "providers-ca.pem"
proxy = "http://[2001:db8::1]"
"""

LISTEN, KEY, PRESET = 'listen = "127.0.0.1:0"', 'identity_key = "identity.key"', 'preset = "openai"'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "anthropic.key").write_text("sk-ant-1\n")
    (tmp_path / "anthropic.key").chmod(0o600)
    return tmp_path


def read(folder: Path, text: str, **environment: str) -> BridgeConfig:
    (folder / "bridge.toml").write_text(text)
    return read_bridge_config(
        folder / "bridge.toml", {"LOCAL_KEY": "sk-local", "PROXY_USER": "user:pass"} | environment
    )


def provider(folder: Path, lines: str, **environment: str) -> Provider:
    """The only provider of a file with these lines for it."""
    (configured,) = read(folder, MINIMAL.replace(PRESET, lines, 1), **environment).providers
    return configured


def test_minimal_file(folder: Path) -> None:
    config = read(folder, MINIMAL)
    assert config.listen == Address("127.0.0.1", 0)
    assert config.identity_key == folder / "identity.key"
    assert (config.epoch, config.drain) == (3_600, 30)
    assert (config.max_request, config.max_buffered) == (33_554_432, 268_435_456)
    assert (config.tokens, config.relays) == (None, None)
    assert config.tls is None
    assert config.next_identity_hash == b""
    assert config.metrics is None
    (openai,) = config.providers
    assert openai.origin == openai.target == presets()["openai"].origin
    assert openai.credential is None
    assert openai.injected == presets()["openai"].injected
    assert not openai.allow_close_delimited


def test_successor_is_announced_beside_the_identity_key_alone(folder: Path) -> None:
    named = f'next_identity = "{format_identity(bytes(32))}"\n'
    assert read(folder, named + MINIMAL).next_identity_hash == identity_hash(bytes(32))
    with pytest.raises(ConfigError, match="the delegation announces it"):
        read(folder, named + FULL)


def test_full_file(folder: Path) -> None:
    config = read(folder, FULL)
    assert config.listen == Address("0.0.0.0", 8490)
    assert config.identity_key == DelegatedKey(Path("/keys/signing.key"), folder / "delegation")
    assert config.metrics == Address("127.0.0.1", 9464)
    assert (config.epoch, config.drain, config.max_exchanges, config.relays) == (600, 0, 5, 3)
    assert (config.max_request, config.max_buffered) == (1_000_000, 2_000_000)
    assert config.tokens == folder / "relay-tokens"
    assert config.tls is not None
    assert config.tls.client_ca == folder / "relays.pem"
    local, anthropic = config.providers
    assert (str(local.origin), str(local.target)) == ("https://models.example:8443", "http://127.0.0.1:8080")
    assert local.credential is not None
    assert (local.credential.name, local.credential.read()) == (b"authorization", b"Bearer sk-local")
    assert local.find_call("POST", "/v1/chat/completions", brought=False)
    assert not local.find_call("POST", "/v1/embeddings", brought=False)
    assert local.brought == ()
    assert local.allow_close_delimited
    assert anthropic.credential is not None
    assert (anthropic.credential.name, anthropic.credential.read()) == (b"x-api-key", b"sk-ant-1")
    assert (local.ca, anthropic.ca) == (None, folder / "providers-ca.pem")
    assert local.proxy is not None
    assert local.proxy.address == Address("proxy.example", 3128)
    assert local.proxy.credential is not None
    assert local.proxy.credential.read() == b"Basic dXNlcjpwYXNz"
    assert anthropic.proxy == Proxy(Address("2001:db8::1", 80))


@pytest.mark.parametrize(
    ("text", "replacement", "reason"),
    [
        (LISTEN, "", "listen is missing"),
        (LISTEN, 'listen = "0.0.0.0:8490"', "open to other machines"),
        (LISTEN, 'plaintext = true\nlisten = "0.0.0.0:8490"', "add tokens, or client_ca"),
        (LISTEN, 'listen = "0.0.0.0:8490"\ntokens = "tokens"', "open to other machines"),
        (KEY, "", "identity_key is missing"),
        (KEY, 'signing_key = "s"', "delegation is missing: signing_key needs it"),
        (KEY, 'delegation = "d"', "signing_key is missing: delegation needs it"),
        (KEY, f'{KEY}\nsigning_key = "s"\ndelegation = "d"', "give one or the other"),
        (KEY, f"{KEY}\ntypo = 1", "typo is not a known key"),
        (KEY, f'{KEY}\nnext_identity = "br1"', "next_identity is wrong: .* 59 characters"),
        (KEY, f'{KEY}\nmetrics = "0.0.0.0:9464"', "open to other machines"),
        (KEY, f"{KEY}\nepoch_seconds = 59", "must be from 60"),
        (KEY, f"{KEY}\nepoch_seconds = 65", "multiple of 10"),
        (KEY, f"{KEY}\nmax_buffered_bytes = 70000", "at least max_request_bytes"),
        ("[[provider]]", "[[providers]]", "provider is missing"),
    ],
)
def test_mistake_is_named(folder: Path, text: str, replacement: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        read(folder, MINIMAL.replace(text, replacement, 1))


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ('preset = "closedai"', "not one of anthropic, azure, bedrock, "),
        ('preset = "azure"', "origin is missing"),
        ('preset = "mistral"\ncache_salt = "x"', "cache_salt is wrong: no body .* takes"),
        (f"{PRESET}\ntypo = 1", "typo is not a known key"),
        (f'{PRESET}\nbase = "/v1/"', "base is wrong: .* without a slash"),
        (f'{PRESET}\ncredential_header = "a b"', "not a header's name"),
        (f'{PRESET}\ncredential_header = "Host"', "no request .* may have"),
        (f'{PRESET}\ncredential_prefix = "a\\nb"', "printable ASCII"),
        (f'{PRESET}\nrequest_headers = ["x:"]', "not a header's name"),
        (f'{PRESET}\nrequest_headers = ["Cookie"]', "no request .* may have"),
        (f'{PRESET}\nrequest_headers = ["authorization"]', "belongs to a credential"),
        (f'{PRESET}\ncredential_header = "x-key"\nrequest_headers = ["X-Key"]', "belongs to a credential"),
        (f'{PRESET}\ncache_controls = "maybe"', 'neither "pass" nor "refuse"'),
        (f'{PRESET}\ncache_salt = "a-b"', 'nor "off"'),
        (f'{PRESET}\norigin = "https://a.example/v1"', "without a path"),
        (f'{PRESET}\norigin = "https://A.example"', "lower-case"),
        (f'{PRESET}\norigin = "http://a.example"', "plain http"),
        (f'{PRESET}\ntarget = "http://10.0.0.1:8080"', "plain http"),
        (f'{PRESET}\ninjected = ["GET"]', "no path template"),
        (f'{PRESET}\nbrought = ["FETCH /x"]', "does not begin with one of"),
        (f'{PRESET}\nstateless = "nobody"', '"nobody" is not one of anthropic'),
        (f'{PRESET}\nstateless = "none.toml"', "No such file"),
        (f"{PRESET}\ncredential = {{}}", "exactly one"),
        (f'{PRESET}\ncredential = {{ env = "A", file = "b" }}', "exactly one"),
        (f'{PRESET}\ncredential = {{ env = "UNSET" }}', "UNSET, and that environment"),
        (f'{PRESET}\ncredential = {{ env = "EMPTY" }}', "EMPTY, and that environment"),
        (f'{PRESET}\ncredential = {{ env = "LINES" }}', "not a credential"),
        (f'{PRESET}\ncredential = {{ file = "none" }}', "does not exist"),
        (f'{PRESET}\ncredential = {{ file = "blank" }}', "not a credential"),
        (f'{PRESET}\ncredential = {{ file = "open" }}', "open to others"),
        (f'{PRESET}\nproxy = "socks5://a.example"', "proxy is .* not http"),
        (f'{PRESET}\nproxy = "https://a.example"', "reached by plain http"),
        (f'{PRESET}\nproxy = "http://u:sk-secret@a.example"', "proxy_credential"),
        (f'{PRESET}\nproxy_credential = {{ env = "USER" }}', "given without proxy"),
        (f'{PRESET}\ntarget = "http://127.0.0.1:1"\nca = "ca.pem"', "ca is given, and target is plain http"),
    ],
)
def test_mistake_in_a_provider_is_named_without_secrets(folder: Path, lines: str, reason: str) -> None:
    for name, content, mode in (("blank", "\n", 0o600), ("open", "", 0o644)):
        (folder / name).write_text(content)
        (folder / name).chmod(mode)
    with pytest.raises(ConfigError, match=reason) as error:
        provider(folder, lines, EMPTY="", LINES="sk-secret\nsk-secret", USER="u:p")
    assert "sk-secret" not in str(error.value)
    assert "\n" not in str(error.value)


def test_off_loopback_tls_is_not_enough(folder: Path) -> None:
    text = MINIMAL.replace("127.0.0.1:0", "0.0.0.0:8490").replace(
        "[[provider]]", '[tls]\ncertificate = "a"\nkey = "b"\n[[provider]]'
    )
    with pytest.raises(ConfigError, match="only your relays are served"):
        read(folder, text)
    assert read(folder, text.replace("[tls]", 'tokens = "relay-tokens"\n[tls]')).tokens
    assert read(folder, text.replace('key = "b"', 'key = "b"\nclient_ca = "c"')).tls


@pytest.mark.parametrize(
    ("lines", "credential"),
    [
        ("", (b"authorization", b"Bearer sk-local")),
        ('credential_header = "Api-Key"', (b"api-key", b"sk-local")),
        ('credential_header = "x"\ncredential_prefix = "Key "', (b"x", b"Key sk-local")),
        ('credential_header = "authorization"', (b"authorization", b"Bearer sk-local")),
        ('credential_prefix = "Basic "', (b"authorization", b"Basic sk-local")),
    ],
)
def test_credential_has_the_configured_header_and_prefix(
    folder: Path, lines: str, credential: tuple[bytes, bytes]
) -> None:
    given = 'preset = "openai"\ncredential = { env = "LOCAL_KEY" }\n'
    configured = provider(folder, given + lines).credential
    assert configured is not None
    assert (configured.name, configured.read()) == credential


def test_base_and_request_headers(folder: Path) -> None:
    azure = provider(
        folder,
        'preset = "openai"\norigin = "https://name.openai.azure.com"\nbase = "/openai/v1"\n'
        'credential_header = "api-key"\nrequest_headers = ["X-Title"]',
    )
    assert azure.find_call("POST", "/openai/v1/chat/completions", brought=False)
    assert not azure.find_call("POST", "/v1/chat/completions", brought=False)
    assert azure.request_headers == {b"x-title"}


VLLM = 'preset = "vllm"\norigin = "https://a.example"\n'
LLAMACPP = 'preset = "llamacpp"\norigin = "https://a.example"\n'
PLAIN, SALTED = b'{"model":"m"}', b'{"model":"m","cache_salt":"%s"}' % (b"a" * 32)
CONTROLLED = b'{"model":"m","prompt_cache_key":"k"}'


@pytest.mark.parametrize(
    ("lines", "passing", "refused"),
    [
        ('preset = "openai"', [PLAIN, CONTROLLED], [SALTED]),
        ('preset = "openai"\ncache_controls = "refuse"', [PLAIN], [CONTROLLED]),
        ('preset = "openai"\ncache_salt = "cache_salt"', [SALTED], [PLAIN, CONTROLLED]),
        (VLLM, [SALTED], [PLAIN]),
        (VLLM + 'cache_salt = "off"', [PLAIN, SALTED], []),
        (VLLM + 'stateless = "openai"', [SALTED], [PLAIN]),
        (VLLM + 'stateless = "own.toml"', [SALTED], [PLAIN]),
        (LLAMACPP, [PLAIN], [CONTROLLED]),
        (LLAMACPP + 'cache_controls = "pass"', [PLAIN, CONTROLLED], []),
    ],
)
def test_cache_rules_hold_bodies(
    folder: Path, lines: str, passing: list[bytes], refused: list[bytes]
) -> None:
    (folder / "own.toml").write_text('extends = "groq"')
    description = provider(folder, lines).stateless
    check = BodyCheck("openai", "bodies", "/v1/chat/completions")
    for body in passing:
        check.apply(description, body)
    for body in refused:
        with pytest.raises(RequestError):
            check.apply(description, body)


@pytest.mark.parametrize("second", ['name = "openai"\norigin = "https://b.example"', 'name = "other"'])
def test_two_entries_for_one_provider_are_refused(folder: Path, second: str) -> None:
    with pytest.raises(ConfigError, match="two entries"):
        read(folder, MINIMAL + f'[[provider]]\npreset = "openai"\n{second}\n')


def test_repr_holds_no_credential(folder: Path) -> None:
    assert "sk-" not in repr(read(folder, FULL))
