"""What a request to a chat model needs, as far as the targets of a pool differ in it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Generic, ParamSpec

from failover_core.engine.needs import CallOptions
from failover_core.targets import Capability, Target

P = ParamSpec("P")

_ASSUMED = frozenset(Capability) - {Capability.PREFILL}
"""What a target has that says nothing of itself."""


class Differences(Generic[P]):
    """Finds what a request needs of its target, and looks only where that makes a difference.

    Args:
        targets: of the pool.
        required: by capability, whether a request needs it.
        length: returns the number of characters in all its texts.
        tokens: returns its tokens, estimated. That may take long: it is asked for only if
            targets have token limits, or if the text could be too long for one of them.
    """

    __slots__ = (
        "_counts_tokens",
        "_length",
        "_required",
        "_smallest_window",
        "_tokens",
    )

    def __init__(
        self,
        targets: Collection[Target],
        *,
        required: Mapping[Capability, Callable[P, bool]],
        length: Callable[P, int],
        tokens: Callable[P, int],
    ) -> None:
        windows = [target.context_window for target in targets if target.context_window]
        self._counts_tokens = any(target.tokens_per_minute for target in targets)
        self._smallest_window = min(windows, default=None)
        lacked = [word for word in required if any(_lacks(target, word) for target in targets)]
        self._required = [(word, required[word]) for word in lacked]
        self._length = length
        self._tokens = tokens

    def options(self, *request: P.args, **named: P.kwargs) -> CallOptions:
        """Return what a request needs of its target, as far as any target makes a difference."""
        options = CallOptions()
        if words := [word for word, is_needed in self._required if is_needed(*request, **named)]:
            options["requires"] = words
        if self._counts_tokens or self._may_be_too_long(*request, **named):
            options["tokens"] = self._tokens(*request, **named)
        return options

    def _may_be_too_long(self, *request: P.args, **named: P.kwargs) -> bool:
        # A text hardly ever has more tokens than characters, and those are quickly counted.
        window = self._smallest_window
        return window is not None and self._length(*request, **named) > window


def _lacks(target: Target, word: Capability) -> bool:
    return target.supports is not None and word not in target.supports


def without(target: Target, lacks: Collection[Capability]) -> Target:
    """Return a target without capabilities that its client lacks, unless it says what it has."""
    if target.supports is not None or not lacks:
        return target
    return replace(target, supports=_ASSUMED.difference(lacks))


def is_schema(response_format: Any) -> bool:
    """Return whether OpenAI's ``response_format`` holds the answer to a schema.

    What is called JSON mode asks for any JSON, and more models have it.
    """
    if isinstance(response_format, dict):
        return response_format.get("type") not in ("json_object", "text")
    return response_format is not None
