"""The package's public face."""

from __future__ import annotations

from blindrelay import provider_bridge


def test_all_is_complete_and_sorted() -> None:
    public = {
        name
        for name, value in vars(provider_bridge).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith(provider_bridge.__name__)
    }
    assert provider_bridge.__all__ == sorted(public)


def test_every_error_has_the_one_root() -> None:
    for name in provider_bridge.__all__:
        if name.endswith("Error"):
            assert issubclass(getattr(provider_bridge, name), provider_bridge.BridgeError)
