"""What shapes the answers of LLMs, as far as their fields tell."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from failover_core import Target

_SHAPES_ANSWERS = re.compile(
    r"temperature|seed|stop|penalty|effort|verbosity|^thinking|^strict$|^json_mode$|^num_predict$"
    r"|^(top|min)_[akp]$|^max_(\w+_)?tokens$|^max_length$"
)
_MORE = ("additional_kwargs", "model_kwargs", "generate_kwargs", "generation_config")
"""Fields in which LLMs keep arguments of every request that have no field of their own."""

_PLAIN = (str, int, float)


def shaping(targets: Sequence[Target]) -> list[dict[str, Any]]:
    """Return what shapes the answers of each target: its model, and settings of its LLM.

    The same in every process, wherever the LLMs are served; it holds no secret.
    """
    return [one for target in targets for one in _of(target)]


def _of(target: Target) -> Iterator[dict[str, Any]]:
    client = target.client
    inner = getattr(client, "shaped_by", None)  # of a pool among the targets
    if isinstance(inner, list):
        yield from inner
        return
    yield {"model": target.model or type(client).__name__, **dict(_settings_of(client))}


def _settings_of(client: Any) -> Iterator[tuple[str, Any]]:
    fields = {name: getattr(client, name, None) for name in type(client).model_fields}
    for settings in (fields, *(fields.get(name) for name in _MORE)):
        for name, value in settings.items() if isinstance(settings, Mapping) else ():
            if _SHAPES_ANSWERS.search(name) and (plain := _plain(value)) is not None:
                yield name, plain


def _plain(value: Any) -> Any:
    """Return a value that is told of; None if it is none, off, or an object of this process."""
    if isinstance(value, list | tuple) and all(isinstance(one, _PLAIN) for one in value):
        return list(value) or None
    return value if isinstance(value, _PLAIN) and value is not False else None
