"""The configuration file, and the mistakes of a first day."""

from __future__ import annotations

from pathlib import Path

import pytest

from blindrelay.provider_bridge import BridgeConfig, DelegatedKey, Provider, presets, read_bridge_config
from blindrelay.provider_bridge.credentials import Credential
from blindrelay.provider_bridge.errors import RequestError
from blindrelay.provider_bridge.providers import Proxy
from blindrelay.provider_bridge.stateless.body_check import BodyCheck
from blindrelay.serving import Address, ConfigError, ServerTls
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
tls = { certificate = "bridge.pem", key = "bridge.key", client_ca = "relays.pem" }
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


PROVIDER_MISTAKES = [
    ('base = "/v1/"', "base is wrong: .* without a slash"),
    ('credential_header = "Host"', "no request .* may have"),
    ('credential_prefix = "a\\nb"', "printable ASCII"),
    ('request_headers = ["x:"]', "not a header's name"),
    ('request_headers = ["authorization"]', "belongs to a credential"),
    ('credential_header = "x-key"\nrequest_headers = ["X-Key"]', "belongs to a credential"),
    ('cache_controls = "maybe"', 'neither "pass" nor "refuse"'),
    ('cache_salt = "a-b"', 'nor "off"'),
    ('origin = "https://a.example/v1"', "without a path"),
    ('origin = "http://a.example"', "plain http"),
    ('target = "http://10.0.0.1:8080"', "plain http"),
    ('brought = ["FETCH /x"]', "does not begin with one of"),
    ('stateless = "nobody"', '"nobody" is not one of anthropic'),
    ('stateless = "none.toml"', "No such file"),
    ("credential = {}", "exactly one"),
    ('credential = { env = "A", file = "b" }', "exactly one"),
    ('credential = { env = "EMPTY" }', "EMPTY, and that environment"),
    ('credential = { env = "LINES" }', "not a credential"),
    ('credential = { file = "none" }', "does not exist"),
    ('credential = { file = "blank" }', "not a credential"),
    ('credential = { file = "open" }', "open to others"),
    ('proxy = "socks5://a.example"', "proxy is .* not http"),
    ('proxy = "https://a.example"', "reached by plain http"),
    ('proxy = "http://u:sk-secret@a.example"', "proxy_credential"),
    ('proxy_credential = { env = "USER" }', "given without proxy"),
    ('target = "http://127.0.0.1:1"\nca = "ca.pem"', "ca is given, and target is plain http"),
]


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
    (configured,) = read(folder, MINIMAL.replace(PRESET, lines, 1), **environment).providers
    return configured


def shown(credential: Credential | None) -> tuple[bytes, bytes] | None:
    return None if credential is None else credential.header(credential.secret.read())


def test_minimal_file(folder: Path) -> None:
    config = read(folder, MINIMAL)
    assert (config.listen, config.identity_key) == (Address("127.0.0.1", 0), folder / "identity.key")
    assert (config.epoch, config.drain, config.max_exchanges) == (3_600, 30, 2_000)
    assert (config.max_request, config.max_buffered) == (33_554_432, 268_435_456)
    assert {config.tokens, config.tls, config.relays, config.metrics} == {None}
    assert (config.next_identity_hash, config.plaintext) == (b"", False)
    (openai,) = config.providers
    preset = presets()["openai"]
    assert (openai.origin, openai.target, openai.injected) == (preset.origin, preset.origin, preset.injected)
    assert (openai.credential, openai.allow_close_delimited) == (None, False)


def test_successor_is_announced_beside_the_identity_key_alone(folder: Path) -> None:
    named = f'next_identity = "{format_identity(bytes(32))}"\n'
    assert read(folder, named + MINIMAL).next_identity_hash == identity_hash(bytes(32))
    with pytest.raises(ConfigError, match="the delegation announces it"):
        read(folder, named + FULL)


def test_full_file(folder: Path) -> None:
    config = read(folder, FULL)
    assert (config.listen, config.metrics) == (Address("0.0.0.0", 8490), Address("127.0.0.1", 9464))
    assert config.identity_key == DelegatedKey(Path("/keys/signing.key"), folder / "delegation")
    assert (config.epoch, config.drain, config.max_exchanges, config.relays) == (600, 0, 5, 3)
    assert (config.max_request, config.max_buffered) == (1_000_000, 2_000_000)
    assert config.tokens == folder / "relay-tokens"
    assert config.tls == ServerTls(folder / "bridge.pem", folder / "bridge.key", folder / "relays.pem")
    local, anthropic = config.providers
    assert (str(local.origin), str(local.target)) == ("https://models.example:8443", "http://127.0.0.1:8080")
    assert local.find_call("POST", "/v1/chat/completions", brought=False)
    assert not local.find_call("POST", "/v1/embeddings", brought=False)
    assert (local.brought, local.allow_close_delimited, local.ca) == ((), True, None)
    assert local.proxy is not None
    assert local.proxy.address == Address("proxy.example", 3128)
    assert shown(local.proxy.credential) == (b"proxy-authorization", b"Basic dXNlcjpwYXNz")
    assert shown(anthropic.credential) == (b"x-api-key", b"sk-ant-1")
    assert anthropic.ca == folder / "providers-ca.pem"
    assert anthropic.proxy == Proxy(Address("2001:db8::1", 80))
    assert "sk-" not in repr(config)


@pytest.mark.parametrize(
    ("text", "replacement", "reason"),
    [
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
        (PRESET, 'preset = "closedai"', "not one of anthropic, azure, bedrock, "),
        (PRESET, 'preset = "azure"', "origin is missing"),
        (PRESET, 'preset = "mistral"\ncache_salt = "x"', "cache_salt is wrong: no body .* takes"),
        *((PRESET, f"{PRESET}\n{lines}", reason) for lines, reason in PROVIDER_MISTAKES),
    ],
)
def test_mistake_is_named_without_secrets(folder: Path, text: str, replacement: str, reason: str) -> None:
    for name, content, mode in (("blank", "\n", 0o600), ("open", "", 0o644)):
        (folder / name).write_text(content)
        (folder / name).chmod(mode)
    changed = MINIMAL.replace(text, replacement, 1)
    with pytest.raises(ConfigError, match=reason) as error:
        read(folder, changed, EMPTY="", LINES="sk-secret\nsk-secret", USER="u:p")
    assert "sk-secret" not in str(error.value)
    assert "\n" not in str(error.value)


def test_off_loopback_tls_is_not_enough(folder: Path) -> None:
    text = f'tls = {{ certificate = "a", key = "b" }}\n{MINIMAL.replace("127.0.0.1:0", "0.0.0.0:8490")}'
    with pytest.raises(ConfigError, match="only your relays are served"):
        read(folder, text)
    assert read(folder, f'tokens = "relay-tokens"\n{text}').tokens
    assert read(folder, text.replace('"b"', '"b", client_ca = "c"')).tls


def test_credential_has_the_configured_header_and_prefix(folder: Path) -> None:
    for lines, credential in (
        ("", (b"authorization", b"Bearer sk-local")),
        ('credential_header = "Api-Key"', (b"api-key", b"sk-local")),
        ('credential_header = "x"\ncredential_prefix = "Key "', (b"x", b"Key sk-local")),
        ('credential_prefix = "Basic "', (b"authorization", b"Basic sk-local")),
    ):
        configured = provider(folder, f'{PRESET}\ncredential = {{ env = "LOCAL_KEY" }}\n{lines}')
        assert shown(configured.credential) == credential


def test_base_and_request_headers(folder: Path) -> None:
    azure = provider(folder, f'{PRESET}\nbase = "/openai/v1"\nrequest_headers = ["X-Title"]')
    assert azure.find_call("POST", "/openai/v1/chat/completions", brought=False)
    assert not azure.find_call("POST", "/v1/chat/completions", brought=False)
    assert azure.request_headers == {b"x-title"}


VLLM = 'preset = "vllm"\norigin = "https://a.example"\n'
LLAMACPP = 'preset = "llamacpp"\norigin = "https://a.example"\n'
PLAIN, SALTED = b'{"model":"m"}', b'{"model":"m","cache_salt":"%s"}' % (b"a" * 32)
CONTROLLED = b'{"model":"m","prompt_cache_key":"k"}'


def test_cache_rules_hold_bodies(folder: Path) -> None:
    (folder / "own.toml").write_text('extends = "groq"')
    check = BodyCheck("openai", "bodies", "/v1/chat/completions")
    for lines, passing, refused in (
        (PRESET, [PLAIN, CONTROLLED], [SALTED]),
        (f'{PRESET}\ncache_controls = "refuse"', [PLAIN], [CONTROLLED]),
        (f'{PRESET}\ncache_salt = "cache_salt"', [SALTED], [PLAIN, CONTROLLED]),
        (VLLM + 'cache_salt = "off"', [PLAIN, SALTED], []),
        (VLLM + 'stateless = "own.toml"', [SALTED], [PLAIN]),
        (LLAMACPP, [PLAIN], [CONTROLLED]),
        (LLAMACPP + 'cache_controls = "pass"', [PLAIN, CONTROLLED], []),
    ):
        description = provider(folder, lines).stateless
        for body in passing:
            check.apply(description, body)
        for body in refused:
            with pytest.raises(RequestError):
                check.apply(description, body)


def test_two_entries_for_one_provider_are_refused(folder: Path) -> None:
    for second in ('name = "openai"\norigin = "https://b.example"', 'name = "other"'):
        with pytest.raises(ConfigError, match="two entries"):
            read(folder, MINIMAL + f"[[provider]]\n{PRESET}\n{second}\n")
