"""Values that satisfy a JSON schema, filled from a text: arguments of tools, structured output."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?")
_QUOTED = re.compile(r"\"([^\"]+)\"|'([^']+)'|`([^`]+)`")


def value_for(schema: dict[str, Any], text: str) -> Any:
    """Build a value that satisfies a schema.

    Numbers are the numbers of the text in their order (then 1), clamped to the schema's bounds;
    strings its quoted parts in their order (then the text itself); enumerations the first choice
    that the text has (else the first). Optional properties are filled too; lists have one item,
    or ``minItems``.
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
        quoted = (next(filter(None, found)) for found in _QUOTED.findall(text))
        definitions = schema.get("$defs") or schema.get("definitions") or {}
        return cls(text, definitions, iter(_NUMBER.findall(text)), quoted)

    def fill(self, schema: dict[str, Any]) -> Any:
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if choices := schema.get("enum"):
            return next((one for one in choices if str(one) in self.text), choices[0])
        fill = {
            "object": self._object,
            "array": self._array,
            "integer": lambda schema: int(self._number(schema)),
            "number": self._number,
            "boolean": lambda _: True,
            "null": lambda _: None,
        }
        return fill.get(_kind(schema), self._string)(schema)

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        for key in ("anyOf", "oneOf", "allOf"):
            if options := schema.get(key):
                return self._resolved({**schema, key: None, **options[0]})
        if reference := schema.get("$ref"):
            target = self.definitions[reference.rpartition("/")[2]]
            return self._resolved({**target, "$ref": None})
        return schema

    def _object(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {name: self.fill(one) for name, one in schema.get("properties", {}).items()}

    def _array(self, schema: dict[str, Any]) -> list[Any]:
        return [self.fill(schema.get("items", {})) for _ in range(schema.get("minItems", 1))]

    def _number(self, schema: dict[str, Any]) -> float:
        value = float(next(self.numbers, 1))
        low = schema.get("minimum", schema.get("exclusiveMinimum", value - 1) + 1)
        high = schema.get("maximum", schema.get("exclusiveMaximum", value + 1) - 1)
        return float(min(max(value, low), high))

    def _string(self, schema: dict[str, Any]) -> str:
        value = next(self.strings, self.text) or "text"
        return value.ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength")]


def _kind(schema: dict[str, Any]) -> str:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    return str(kind[0] if isinstance(kind, list) else kind)
