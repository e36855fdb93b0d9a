"""Finds fields of an SDK's request type that a description names neither as stateless nor as stored."""

from __future__ import annotations

from collections.abc import Iterator

from blindrelay.provider_bridge.stateless.rules import Rule, Shape

from .sdk_types import CONTENT, FILE, Choice, ListOf, MapOf, Node, Struct


def gaps(node: Node, rule: Rule, place: str = "", seen: set[tuple[Node, int]] | None = None) -> Iterator[str]:
    """The places that the description does not cover, such as ".tools[].container"."""
    seen = set() if seen is None else seen
    if rule.content or rule.file or rule.stored is not None:
        return
    if isinstance(node, Choice):
        for option in node.options:
            yield from gaps(option, rule, place, seen)
    elif isinstance(node, ListOf):
        items = rule if rule.items is None and rule.value else rule.items
        yield from [f"{place}[]"] if items is None else gaps(node.item, items, f"{place}[]", seen)
    elif isinstance(node, MapOf):
        yield from [f"{place}{{}}"] if rule.values is None else gaps(node.value, rule.values, place, seen)
    elif isinstance(node, Struct):
        yield from _struct_gaps(node, rule, place, seen)
    elif not _takes(node, rule):
        yield f"{place} ({node})"


def _takes(node: str, rule: Rule) -> bool:
    if node == FILE:
        return rule.value
    return node != CONTENT and (rule.value or rule.false or bool(rule.literals))


def _struct_gaps(node: Struct, rule: Rule, place: str, seen: set[tuple[Node, int]]) -> Iterator[str]:
    if rule.shape is None:
        yield f"{place} ({node.name})"
        return
    if (node, id(rule.shape)) in seen:
        return
    seen.add((node, id(rule.shape)))
    if rule.shape.by is not None:
        yield from _type_gaps(node, rule.shape, rule.shape.by, place, seen)
        return
    for name, member in node.fields.items():
        field = rule.shape.fields.get(name)
        if field is not None:
            yield from gaps(member, field, f"{place}.{name}", seen)
        elif name not in ("type", "role"):
            yield f"{place}.{name} of {node.name}"


def _type_gaps(node: Struct, shape: Shape, by: str, place: str, seen: set[tuple[Node, int]]) -> Iterator[str]:
    kinds = node.literals(by) or ([shape.otherwise] if shape.otherwise else [])
    if not kinds:
        yield f"{place} of {node.name}, which does not say its {by}"
    for kind in kinds:
        if (alternative := shape.fields.get(str(kind))) is None:
            yield f"{place} of {by} {kind}"
        else:
            yield from gaps(node, alternative, place, seen)
