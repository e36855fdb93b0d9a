"""The request types of an official SDK, reduced to what a description of stateless bodies can say about them.

A type becomes VALUE (a string, number or boolean), CONTENT (anything), FILE, a ListOf, a MapOf, a Choice of
several, or a Struct: a TypedDict or a pydantic model. A Struct reads its fields when it is asked: types refer
to each other.
"""

from __future__ import annotations

import collections.abc
import enum
import os
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin

import typing_extensions

VALUE, CONTENT, FILE = "value", "content", "file"

_LISTS = (list, tuple, set, collections.abc.Iterable, collections.abc.Sequence)
_MAPS = (dict, collections.abc.Mapping)
_SCALARS = (str, int, float, bool, bytes, type(None))
_LITERALS = (Literal, typing_extensions.Literal)
_WRAPPERS = (
    typing.Annotated,
    typing.Required,
    typing.NotRequired,
    typing_extensions.Required,
    typing_extensions.NotRequired,
    typing_extensions.ReadOnly,
)
_FILES = (os.PathLike, typing.IO)


@dataclass(frozen=True)
class ListOf:
    item: Node


@dataclass(frozen=True)
class MapOf:
    value: Node


@dataclass(frozen=True)
class Choice:
    options: tuple[Node, ...]


@dataclass(frozen=True)
class Struct:
    """A TypedDict or a model."""

    model: Any

    @property
    def name(self) -> str:
        return str(self.model.__name__)

    @cached_property
    def annotations(self) -> dict[str, Any]:
        """The fields' annotations by their names on the wire."""
        fields = getattr(self.model, "model_fields", None) or getattr(self.model, "__pydantic_fields__", None)
        if fields is not None:
            return {field.alias or name: field.annotation for name, field in fields.items()}
        return typing.get_type_hints(self.model, include_extras=True)

    @cached_property
    def fields(self) -> dict[str, Node]:
        return {name: read(annotation) for name, annotation in self.annotations.items()}

    def literals(self, name: str) -> tuple[Any, ...]:
        """The values that a literal field may have; none if it is not literal."""
        annotation = self.annotations.get(name)
        return tuple(_literals(annotation))


Node: TypeAlias = str | ListOf | MapOf | Choice | Struct


def read(annotation: Any) -> Node:
    """Reduces one type annotation."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, typing_extensions.TypeAliasType):
        return read(annotation.__value__)
    if isinstance(origin, typing_extensions.TypeAliasType):  # Nullable[T] and its like
        return read(arguments[0])
    if origin in _WRAPPERS:
        return read(arguments[0])
    if annotation in _SCALARS or origin in _LITERALS:
        return VALUE
    if origin in (Union, types.UnionType):
        return _choice(read(argument) for argument in arguments if argument is not type(None))
    if origin in _LISTS:
        return ListOf(read(arguments[0])) if arguments else ListOf(CONTENT)
    if origin in _MAPS:
        return MapOf(read(arguments[1])) if arguments else CONTENT
    if origin in _FILES or annotation in _FILES:
        return FILE
    return _class(annotation)


def _class(annotation: Any) -> Node:
    if not isinstance(annotation, type):
        return CONTENT
    if typing_extensions.is_typeddict(annotation) or hasattr(annotation, "model_fields"):
        return Struct(annotation)
    if issubclass(annotation, (enum.Enum, *_SCALARS)):
        return VALUE
    return CONTENT


def _choice(nodes: Iterable[Node]) -> Node:
    flat: list[Node] = []
    for node in nodes:
        flat += [each for each in _options(node) if each not in flat]
    return flat[0] if len(flat) == 1 else Choice(tuple(flat))


def _options(node: Node) -> tuple[Node, ...]:
    return node.options if isinstance(node, Choice) else (node,)


def _literals(annotation: Any) -> Iterable[Any]:
    if isinstance(annotation, typing_extensions.TypeAliasType):
        annotation = annotation.__value__
    if get_origin(annotation) in _LITERALS:
        yield from get_args(annotation)
    elif get_origin(annotation) in (*_WRAPPERS, Union, types.UnionType):
        for argument in get_args(annotation):
            yield from _literals(argument)
