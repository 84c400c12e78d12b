"""Values that satisfy a JSON schema, filled from a text: arguments of tools, structured output."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

_DEPTH = 4
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?")
_QUOTED = re.compile(r"\"([^\"]+)\"|'([^']+)'|`([^`]+)`")


def value_for(schema: dict[str, Any], text: str) -> Any:
    """Build a value that satisfies a schema.

    Numbers are the numbers of the text in their order (then 1), clamped to the schema's bounds;
    strings its quoted parts in their order (then the text itself); enumerations the first choice
    that the text has (else the first); unions their first member that is not null. Objects have
    all their properties, nested ones the required ones; lists have one item, or ``minItems``.
    Patterns and formats of strings are not looked at.
    """
    return _Filler.of(schema, text).fill(schema)


@dataclass(slots=True)
class _Filler:
    text: str
    definitions: dict[str, Any]
    numbers: Iterator[str]
    strings: Iterator[str]

    @classmethod
    def of(cls, schema: dict[str, Any], text: str) -> Self:
        quoted = ["".join(found) for found in _QUOTED.findall(text)]
        definitions = schema.get("$defs") or schema.get("definitions") or {}
        return cls(text, definitions, iter(_NUMBER.findall(text)), iter(quoted))

    def fill(self, schema: dict[str, Any], depth: int = 0) -> Any:
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if choices := schema.get("enum"):
            return next((one for one in choices if str(one) in self.text), choices[0])
        makers: dict[str, Callable[[], Any]] = {
            "object": lambda: self._object(schema, depth),
            "array": lambda: self._array(schema, depth),
            "number": lambda: self._number(schema),
            "integer": lambda: int(self._number(schema)),
            "boolean": lambda: True,
            "null": lambda: None,
        }
        return makers.get(_kind(schema), lambda: self._string(schema))()

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        for key in ("anyOf", "oneOf", "allOf"):
            if options := schema.get(key):
                first = next((one for one in options if one.get("type") != "null"), options[0])
                return self._resolved({**schema, key: None, **first})
        if reference := schema.get("$ref"):
            target = self.definitions[reference.rpartition("/")[2]]
            return self._resolved({**target, "$ref": None})
        return schema

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties: dict[str, Any] = schema.get("properties", {})
        # Only a required property can be needed further down, and a model may refer to itself.
        wanted = schema.get("required", ()) if depth else properties
        return {name: self.fill(properties[name], depth + 1) for name in wanted}

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        size = schema.get("minItems", 1 if depth < _DEPTH else 0)
        return [self.fill(schema.get("items", {}), depth + 1) for _ in range(size)]

    def _number(self, schema: dict[str, Any]) -> float:
        value = float(next(self.numbers, 1))
        low = schema.get("minimum", schema.get("exclusiveMinimum", -math.inf) + 1)
        high = schema.get("maximum", schema.get("exclusiveMaximum", math.inf) - 1)
        return float(min(max(value, low), high))

    def _string(self, schema: dict[str, Any]) -> str:
        value = next(self.strings, self.text) or "text"
        return value.ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength")]


def _kind(schema: dict[str, Any]) -> str:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    return str(kind[0] if isinstance(kind, list) else kind)
