"""What tells one chat model from another, in traces and cache keys, and never a key."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, TypeVar, cast

from langchain_core.language_models import LangSmithParams
from langchain_core.language_models.model_profile import ModelProfile
from pydantic import SecretBytes, SecretStr

from failover_core.redaction import MASK
from failover_core.targets import Target
from langchain_failover.children import fixed_model, known_models
from langchain_failover.pool import Pooled

T = TypeVar("T")

_PLAIN = (str, int, float, bool)
_SECRET = re.compile(r"key|token$|secret|password|authorization|headers|credential", re.IGNORECASE)


class Memory:
    """Remembers what the chat models of targets say of themselves, which every call wants to know.

    They are asked again when a field of one has been assigned to; what changes within a value
    goes unnoticed. Models that the config of a call chooses, and pools, are asked every time.

    Args:
        targets: of a pool.
    """

    def __init__(self, targets: Iterable[Target]) -> None:
        self._targets = tuple(targets)
        models = (fixed_model(target.client) for target in self._targets)
        self._models = [one for one in models if one is not None and not isinstance(one, Pooled)]
        self._answers: dict[Callable[..., Any], tuple[list[dict[str, Any]], Any]] = {}

    def of(self, question: Callable[[Sequence[Target]], T]) -> T:
        """Return ``question(targets)``, from memory if it can be."""
        if len(self._models) < len(self._targets):
            return question(self._targets)
        fields = [model.__dict__ for model in self._models]
        known = self._answers.get(question)
        if known is None or known[0] != fields:
            known = [dict(one) for one in fields], question(self._targets)
            self._answers[question] = known
        return known[1]


def identities_of(targets: Sequence[Target]) -> list[dict[str, Any]]:
    """Return the identity of each target."""
    return [identity_of(target) for target in targets]


def identity_of(target: Target) -> dict[str, Any]:
    """Return name, kind and parameters of a target's chat model, secrets masked."""
    for model, arguments in known_models([target.client]):
        parameters = {**model._identifying_params, **arguments}
        return {"name": target.name, "type": model._llm_type, **_without_secrets(parameters)}
    return {"name": target.name, "type": type(target.client).__name__}


def tracing_of(
    targets: Sequence[Target], stop: list[str] | None = None, **arguments: Any
) -> LangSmithParams | None:
    """Return what LangSmith is told of the first chat model that is known; None if none is."""
    for model, own in known_models(target.client for target in targets):
        bound_stop = own.pop("stop", None)
        return model._get_ls_params(stop=stop or bound_stop, **{**own, **arguments})
    return None


def _without_secrets(value: Any) -> Any:
    if value is None or type(value) in _PLAIN:
        return value
    if isinstance(value, dict):
        return {
            name: MASK if _names_secret(name) else _without_secrets(item)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_without_secrets(item) for item in value]
    return MASK if isinstance(value, SecretStr | SecretBytes) else value


@lru_cache(maxsize=1024)  # the same few names come with every call
def _names_secret(name: Any) -> bool:
    return _SECRET.search(str(name)) is not None


def common_profile(profiles: Sequence[ModelProfile | None]) -> ModelProfile | None:
    """Return what all models can do: abilities that all have, and the lowest of their limits.

    None if the abilities of one of them are unknown.
    """
    known = [cast("dict[str, Any]", profile) for profile in profiles if profile]
    if len(known) < len(profiles):
        return None
    shared = set.intersection(*(set(profile) for profile in known))
    common = {name: _common([profile[name] for profile in known]) for name in sorted(shared)}
    return cast("ModelProfile", {name: one for name, one in common.items() if one is not None})


def _common(values: list[Any]) -> Any:
    if all(isinstance(value, bool) for value in values):
        return all(values)
    if all(isinstance(value, int | float) for value in values):
        return min(values)
    return values[0] if all(value == values[0] for value in values) else None
