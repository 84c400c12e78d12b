"""Targets: the places a call can go to."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

from failover_core.errors import ConfigurationError

_MODEL_FIELDS = ("model_name", "model", "model_id")


@dataclass(frozen=True, slots=True)
class Target:
    """One place that can serve a call: the client of a URL or of a key, or a model object.

    Args:
        client: the object that serves; a router hands it to the function it runs.
        name: what events, errors and the status call the target. Default: the client's own
            ``name``, else its model's name, else the name of its class.
        context_window: largest input in tokens. An input that was too large for one target
            moves on only to targets that declare a larger window.
        attempt_timeout: longest attempt at this target in seconds, instead of the policy's.

    Raises:
        ConfigurationError: a setting is out of range.
    """

    client: Any
    _: KW_ONLY
    name: str | None = None
    context_window: int | None = None
    attempt_timeout: float | None = None

    def __post_init__(self) -> None:
        name: Any = self.name
        if name is not None and not (isinstance(name, str) and name.strip()):
            message = f"Target: name is {name!r}; give it some text, or leave it out"
            raise ConfigurationError(message)
        for field in ("context_window", "attempt_timeout"):
            value = getattr(self, field)
            if value is not None and not _is_positive(value):
                message = (
                    f"Target {self.label!r}: {field} is {value!r}; "
                    "it must be a finite number above zero, or None"
                )
                raise ConfigurationError(message)

    @property
    def label(self) -> str:
        """The given name, or the one that the client suggests."""
        own_name = getattr(self.client, "name", None)
        if self.name is not None:
            return self.name
        if isinstance(own_name, str) and own_name:
            return own_name
        return self.model or type(self.client).__name__

    @property
    def model(self) -> str | None:
        """The model that the client names, if it names one."""
        return model_of(self.client)


def _is_positive(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and value > 0


def model_of(client: object) -> str | None:
    """Return the model name that an object carries in one of the usual attributes."""
    for field in _MODEL_FIELDS:
        value = getattr(client, field, None)
        if isinstance(value, str) and value:
            return value
    return None


def as_targets(targets: Iterable[Any], *, pool: str) -> tuple[Target, ...]:
    """Return the targets with a name each.

    Names given by the user must differ; names taken from clients are numbered if they repeat.

    Raises:
        ConfigurationError: there is no target, or two were given the same name.
    """
    if isinstance(targets, (str, bytes)) or not isinstance(targets, Iterable):
        message = f"pool {pool!r}: targets must be a list, not {type(targets).__name__}"
        raise ConfigurationError(message)
    wrapped = [item if isinstance(item, Target) else Target(item) for item in targets]
    if not wrapped:
        message = f"pool {pool!r}: targets is empty; give it at least one target"
        raise ConfigurationError(message)
    given = [target.name for target in wrapped if target.name is not None]
    for name in given:
        if given.count(name) > 1:
            message = f"pool {pool!r}: two targets are named {name!r}; give each its own name"
            raise ConfigurationError(message)
    taken = set(given)
    return tuple(_with_name(target, taken) for target in wrapped)


def _with_name(target: Target, taken: set[str]) -> Target:
    if target.name is not None:
        return target
    name, number = target.label, 1
    while name in taken:
        number += 1
        name = f"{target.label}#{number}"
    taken.add(name)
    return replace(target, name=name)
