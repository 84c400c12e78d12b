"""Routers of litellm, as all scenarios with several servers build them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from typing import Any

MODEL = "m"


def litellm() -> Any:
    """Return the package."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it downloads one when imported
    return import_module("litellm")


def group(
    urls: Sequence[str], seconds: float, *, name: str = MODEL, provider: str = "openai"
) -> Any:
    """Return deployments of one model, between which a router spreads its calls.

    Args:
        urls: one for each.
        seconds: of an attempt.
        name: of the group.
        provider: whose protocol they speak.
    """
    shared = {
        "model": f"{provider}/{MODEL}",
        "api_key": "none",
        "timeout": seconds,
        "max_retries": 0,  # of the client below: the router has its own
    }
    return [{"model_name": name, "litellm_params": {**shared, "api_base": url}} for url in urls]


def in_a_group(urls: Sequence[str], seconds: float) -> Any:
    """Return a router over deployments of one model, with the retries that it makes unasked."""
    return litellm().Router(model_list=group(urls, seconds))


def in_order(urls: Sequence[str], seconds: float, *, provider: str = "openai") -> Any:
    """Return a router that asks the second of two servers if the first fails, without retries."""
    first, second = urls
    models = group([first], seconds, provider=provider)
    models += group([second], seconds, name="backup", provider=provider)
    order = [{MODEL: ["backup"]}]
    return litellm().Router(model_list=models, fallbacks=order, num_retries=0)
