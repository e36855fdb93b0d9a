"""[aggregate] and [[model]] of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from blindrelay.provider_bridge.aggregate.model_table import NAME, STAR, Model, ModelTable, Target
from blindrelay.provider_bridge.credential_config import NAME as PROVIDER_NAME
from blindrelay.provider_bridge.credential_config import read_weight
from blindrelay.provider_bridge.policy.urls import Origin, UrlError, parse_origin
from blindrelay.provider_bridge.providers import Provider
from blindrelay.serving import Table

DEFAULT_ORIGIN: Final = "https://models.blindrelay.internal"
"""The address that clients use. No server has this name: only the bridge reads it."""

MAX_PRIORITY: Final = 1_000


@dataclass(frozen=True)
class Aggregate:
    """The aggregated address and its models."""

    origin: Origin
    table: ModelTable


def read_aggregate(table: Table, providers: tuple[Provider, ...]) -> Aggregate | None:
    """What the configuration says of it, or None if it has no [aggregate]. Raises ConfigError."""
    origin = table.table("aggregate", _origin)
    models = table.optional_tables(
        "model", partial(_model, providers={provider.name: provider for provider in providers})
    )
    if origin is None:
        if models:
            raise table.error("model", "is given without [aggregate], the address that serves the models")
        return None
    if not models:
        raise table.error("aggregate", "serves nothing: at least one [[model]] section is needed")
    if any(provider.origin == origin for provider in providers):
        raise table.error("aggregate.origin", f"= {origin} is the origin of a provider, too")
    _check_distinct(table, models)
    return Aggregate(origin, ModelTable(models))


def _origin(table: Table) -> Origin:
    text = table.optional_text("origin") or DEFAULT_ORIGIN
    try:
        return parse_origin(text)
    except UrlError as error:
        raise table.error("origin", f'is "{text}", and {error}') from None


def _model(table: Table, providers: Mapping[str, Provider]) -> Model:
    name = table.text("name")
    _check_name(table, "name", name, stars=1)
    aliases = table.texts("aliases") or ()
    for alias in aliases:
        _check_name(table, "aliases", alias, stars=0)
    if aliases and STAR in name:
        raise table.error("aliases", f"are given for {name}: a wildcard has none")
    return Model(name, table.tables("targets", partial(_target, public=name, providers=providers)), aliases)


def _target(table: Table, public: str, providers: Mapping[str, Provider]) -> Target:
    provider = _provider(table, providers)
    model = table.optional_text("model")
    if model is None and STAR in public:
        raise table.missing("model", f'for {public} it says where the * goes, such as "*" or "prefix-*"')
    if model is not None:
        _check_name(table, "model", model, stars=public.count(STAR))
    return Target(
        provider,
        model or public,
        weight=read_weight(table),
        priority=table.integer("priority", default=0, minimum=0, maximum=MAX_PRIORITY),
    )


def _provider(table: Table, providers: Mapping[str, Provider]) -> str:
    name = table.text("provider")
    if name not in providers:
        raise table.error("provider", f'is "{name}", which is not the name of a [[provider]]')
    if not PROVIDER_NAME.fullmatch(name):
        raise table.error(
            "provider", f'is "{name}": a target\'s name has at most 64 letters, digits, ".", "_" and "-"'
        )
    if providers[name].compatible is None and providers[name].anthropic is None:
        raise table.error(
            "provider",
            f'is "{name}", which has no OpenAI-compatible API: say where it begins (compatible = "/v1")',
        )
    return name


def _check_name(table: Table, key: str, name: str, stars: int) -> None:
    if not NAME.fullmatch(name):
        raise table.error(key, f'has "{name}": a model\'s name is printable ASCII without spaces')
    if name.count(STAR) > stars:
        allowed = "one *" if stars else "no *"
        raise table.error(key, f'has "{name}", in which {allowed} may stand')


def _check_distinct(table: Table, models: tuple[Model, ...]) -> None:
    names = [name for model in models for name in (model.name, *model.aliases)]
    for name in names:
        if names.count(name) > 1:
            raise table.error("model", f'has the name "{name}" twice')
