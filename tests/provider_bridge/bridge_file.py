"""Writes configuration files for a bridge with one provider."""

from __future__ import annotations

from pathlib import Path

HELD = 'identity_key = "identity.key"'
DELEGATED = 'signing_key = "signing.key"\ndelegation = "delegation"'


def configure(
    folder: Path, target: str = "http://127.0.0.1:1", *, keys: str = HELD, top: str = "", more: str = ""
) -> Path:
    """Writes bridge.toml: `top` are lines of its own, `more` are lines of the provider's."""
    path = folder / "bridge.toml"
    path.write_text(
        f'listen = "127.0.0.1:0"\n{keys}\n{top}\n'
        f'[[provider]]\nname = "openai"\npreset = "openai"\ntarget = "{target}"\n{more}\n'
    )
    return path
