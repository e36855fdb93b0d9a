"""[aggregate], [[model]] and pools of credentials in the configuration."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from blindrelay.provider_bridge import BridgeConfig, presets, read_bridge_config
from blindrelay.provider_bridge.aggregate.model_table import Target
from blindrelay.provider_bridge.credentials import Credential, PooledCredential
from blindrelay.serving import ConfigError

BRIDGE = 'listen = "127.0.0.1:0"\nidentity_key = "identity.key"\n'
OPENAI = '[[provider]]\nname = "openai"\npreset = "openai"\n'
MODEL = '[[model]]\nname = "m"\ntargets = [{ provider = "openai" }]\n'
POOL = 'credentials = [{ name = "a", env = "K1", weight = 2 }, { name = "b", file = "key" }]\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "key").write_text("sk-b\n")
    (tmp_path / "key").chmod(0o600)
    return tmp_path


def read(folder: Path, text: str) -> BridgeConfig:
    (folder / "bridge.toml").write_text(BRIDGE + text)
    return read_bridge_config(folder / "bridge.toml", {"K1": "sk-a", "K2": "sk-b"})


def targets(config: BridgeConfig, name: str) -> list[tuple[str, str]]:
    assert config.aggregate is not None
    return [(target.provider, target.model) for target in config.aggregate.table.targets(name)]


def header(credential: Credential) -> tuple[bytes, bytes]:
    return credential.header(credential.secret.read())


def test_without_a_table_there_is_no_aggregated_address(folder: Path) -> None:
    assert read(folder, OPENAI).aggregate is None


def test_table_of_models(folder: Path) -> None:
    config = read(
        folder,
        "[aggregate]\n"
        + OPENAI
        + '[[provider]]\nname = "claude"\npreset = "anthropic"\n'
        + '[[model]]\nname = "gpt-4o"\naliases = ["smart", "Best"]\ntargets = [\n'
        + '{ provider = "openai", model = "gpt-4o-2024-11-20", weight = 3 },\n'
        + '{ provider = "claude", priority = 1 }]\n'
        + '[[model]]\nname = "claude/*"\ntargets = [{ provider = "claude", model = "*" }]\n'
        + '[[model]]\nname = "claude/*:fast"\ntargets = [{ provider = "openai", model = "fast-*-1" }]\n'
        + '[[model]]\nname = "*"\ntargets = [{ provider = "openai", model = "gpt-4o-mini" }]\n',
    )
    assert config.aggregate is not None
    assert str(config.aggregate.origin) == "https://models.blindrelay.internal"
    assert config.aggregate.table.targets("smart") == (
        Target("openai", "gpt-4o-2024-11-20", weight=3),
        Target("claude", "gpt-4o", priority=1),
    )
    for name, expected in {
        "Best": [("openai", "gpt-4o-2024-11-20"), ("claude", "gpt-4o")],
        "claude/opus": [("claude", "opus")],
        "claude/a/b": [("claude", "a/b")],
        "claude/opus:fast": [("openai", "fast-opus-1")],
        "claude/": [("openai", "gpt-4o-mini")],  # a * matches at least one character
        "best": [("openai", "gpt-4o-mini")],  # names are compared exactly
        "two words": [],
        "": [],
    }.items():
        assert targets(config, name) == expected, name


def test_own_origin(folder: Path) -> None:
    config = read(folder, '[aggregate]\norigin = "https://ai.example"\n' + OPENAI + MODEL)
    assert config.aggregate is not None
    assert str(config.aggregate.origin) == "https://ai.example"
    assert targets(config, "n") == []


def test_pool_of_credentials(folder: Path) -> None:
    (provider,) = read(folder, OPENAI.replace('"openai"\n', '"azure"\n') + POOL + ORIGIN).providers
    first, second = provider.pool
    assert [(each.name, each.weight) for each in provider.pool] == [("a", 2), ("b", 1)]
    assert provider.credential is first.own
    assert header(first.own) == (b"api-key", b"sk-a")
    assert header(second.compatible) == (b"authorization", b"Bearer sk-b")


ORIGIN = 'origin = "https://a.example"\n'


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("", (b"authorization", b"Bearer sk-a")),
        ('credential_header = "x-key"\n', (b"x-key", b"sk-a")),
        ('credential_header = "x-api-key"\n', (b"x-api-key", b"sk-a")),
    ],
)
def test_compatible_apis_take_bearer_tokens_unless_the_entry_says_how(
    folder: Path, lines: str, expected: tuple[bytes, bytes]
) -> None:
    entry = '[[provider]]\nname = "c"\npreset = "anthropic"\ncredential = { env = "K1" }\n'
    (provider,) = read(folder, entry + lines).providers
    (only,) = provider.pool
    assert isinstance(only, PooledCredential)
    assert header(only.compatible) == expected


def test_where_each_dialect_begins(folder: Path) -> None:
    known = presets()
    found = {name: (preset.compatible, preset.anthropic) for name, preset in known.items()}
    assert found["gemini"] == ("/v1beta/openai", None)
    assert found["groq"] == ("/openai/v1", None)
    assert found["openrouter"] == ("/api/v1", "/api/v1")
    assert found["anthropic"] == ("/v1", "/v1")
    lines = 'base = "/x"\norigin = "https://a.example"\nanthropic = "/y/v1"\n'
    (provider,) = read(folder, OPENAI + lines).providers
    assert (provider.compatible, provider.anthropic) == ("/x", "/y/v1")


@pytest.mark.parametrize("name", presets())
def test_each_preset_can_be_asked_in_its_dialects(name: str) -> None:
    """The allow-list has at least the calls without which a dialect is none."""
    preset = presets()[name]
    assert preset.compatible is not None
    calls = [("POST", f"{preset.compatible}/chat/completions")]
    if preset.anthropic is not None:
        calls.append(("POST", f"{preset.anthropic}/messages"))
    for method, path in calls:
        assert any(call.matches(method, path, tunnel=False) for call in preset.injected), path
        assert preset.stateless.rule("bodies", path) is not None, path


def test_example_of_the_operators_page(folder: Path) -> None:
    page = (Path(__file__).parents[3] / "docs/operations.md").read_text()
    (example,) = re.findall(r"```toml\n(\[aggregate\].*?)```", page, re.DOTALL)
    (folder / "openai-key-b").write_text("sk-b")
    (folder / "openai-key-b").chmod(0o600)
    others = '[[provider]]\nname = "anthropic"\npreset = "anthropic"\n[[provider]]\nname = "azure"\n'
    others += 'preset = "azure"\norigin = "https://a.openai.azure.com"\n'
    config = read(folder, example.replace("OPENAI_KEY_A", "K1") + others)
    assert targets(config, "smart") == [("openai", "gpt-4o-2024-11-20"), ("azure", "gpt4o-eu")]
    assert targets(config, "claude/opus") == [("anthropic", "opus")]
    assert [credential.name for credential in config.providers[0].pool] == ["team-a", "team-b"]


MISTAKES = [
    (OPENAI + MODEL, "model is given without \\[aggregate\\]"),
    ("[aggregate]\n" + OPENAI, "serves nothing"),
    ('[aggregate]\norigin = "https://api.openai.com"\n' + OPENAI + MODEL, "the origin of a provider, too"),
    ('[aggregate]\norigin = "models"\n' + OPENAI + MODEL, "not an origin"),
    ("[aggregate]\n" + OPENAI + MODEL.replace('"openai"', '"nobody"'), "not the name of a"),
    ("[aggregate]\n" + OPENAI + MODEL + MODEL, 'the name "m" twice'),
    ("[aggregate]\n" + OPENAI + MODEL + 'aliases = ["m"]\n', 'the name "m" twice'),
    ("[aggregate]\n" + OPENAI + MODEL + 'aliases = ["a*"]\n', "no \\* may stand"),
    ("[aggregate]\n" + OPENAI + MODEL.replace('"m"', '"m*"') + 'aliases = ["a"]\n', "a wildcard has none"),
    ("[aggregate]\n" + OPENAI + MODEL.replace('"m"', '"m*"'), "says where the \\* goes"),
    ("[aggregate]\n" + OPENAI + MODEL.replace('"m"', '"*m*"'), "one \\* may stand"),
    ("[aggregate]\n" + OPENAI + MODEL.replace('"m"', '"a b"'), "without spaces"),
    ("[aggregate]\n" + OPENAI + MODEL.replace('"openai" }', '"openai", model = "*" }'), "no \\* may stand"),
    ("[aggregate]\n" + OPENAI + MODEL.replace('"openai" }', '"openai", weight = 0 }'), "must be from 1"),
    ("[aggregate]\n" + OPENAI + MODEL.replace('"openai" }', '"openai", share = 1 }'), "not a known key"),
    ("[aggregate]\n" + OPENAI + '[[model]]\nname = "m"\n', "targets is missing"),
    (OPENAI + 'credential = { env = "K1" }\n' + POOL, "give one or the other"),
    (OPENAI + POOL.replace('"b"', '"a"'), 'two entries with the name "a"'),
    (OPENAI + POOL.replace('"b"', '"a/b"'), "use at most 64 letters"),
    (OPENAI + POOL.replace("weight = 2", "weight = 1001"), "must be from 1 to 1000"),
    (OPENAI + POOL.replace("K1", "K3"), "K3, and that environment"),
    (OPENAI + 'compatible = "/v1/"\n', "compatible is wrong: .* without a slash"),
    (
        "[aggregate]\n" + OPENAI.replace('"openai"\n', '"a b"\n', 1) + MODEL.replace('"openai"', '"a b"'),
        "at most 64 letters",
    ),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_mistakes_are_explained(folder: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        read(folder, text)
    assert "sk-" not in str(refused.value)
