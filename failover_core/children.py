"""The objects that targets wrap, whose classes this library does not import."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from failover_core.errors import ConfigurationError
from failover_core.policy import FailoverPolicy
from failover_core.targets import Target, as_targets

logger = logging.getLogger("failover_core")

_TIMEOUTS = ("request_timeout", "default_request_timeout", "timeout")
_LONGEST_QUIET_TIMEOUT = 60.0


class UnfitError(Exception):
    """An object cannot be a target of a class; the message is the remedy."""


def adapted_targets(
    targets: Iterable[Any], adapt: Callable[[Any], Any], *, owner: str
) -> list[Target]:
    """Return the targets, each with a name and with the client that serves for its object.

    Args:
        targets: objects and Targets, as the user gave them.
        adapt: returns the client for an object, or raises UnfitError.
        owner: the class whose targets they are, for the messages.

    Raises:
        ConfigurationError: there are none, two have one name, or one is unfit.
    """
    adapted = []
    for place, target in enumerate(as_targets(targets, pool=owner)):
        given = target.client
        where = f"{owner}: targets[{place}] ({target.name!r}) is"
        if isinstance(given, type):
            message = f"{where} the class {given.__name__}; pass an instance"
            raise ConfigurationError(message)
        try:
            adapted.append(replace(target, client=adapt(given)))
        except UnfitError as remedy:
            message = f"{where} {type(given).__name__}; {remedy}"
            raise ConfigurationError(message) from None
    return adapted


def check_one_model(targets: Iterable[Target], *, pool: str, declared: str | None) -> None:
    """Refuse a pool of embeddings whose targets name different models.

    Args:
        targets: of the pool; those that name no model are trusted.
        pool: its name, for the message.
        declared: the one model that all targets serve, whatever each of them calls it.

    Raises:
        ConfigurationError: they name different models and none was declared.
    """
    if declared is not None:
        return
    models = {target.name: target.model for target in targets if target.model}
    if len(set(models.values())) > 1:
        named = ", ".join(f"{name}: {model}" for name, model in models.items())
        message = (
            f"pool {pool!r}: its targets name different embedding models ({named}), whose "
            "vectors cannot share an index; use targets of one model, declare it with model=… "
            "if these are names of the same one, or pair each model with its own index under "
            "a FailoverRetriever"
        )
        raise ConfigurationError(message)


def warn_about_children(targets: Iterable[Target], policy: FailoverPolicy) -> None:
    """Log one warning for each wrapped object whose own settings would hide an outage.

    That is an object that retries by itself (its retries multiply with the pool's), and, when
    no ``attempt_timeout`` bounds it, one with no timeout or one above 60 s.
    """
    for target in targets:
        if getattr(target.client, "enforces_deadline", False):
            continue
        child = getattr(target.client, "child", target.client)
        is_bounded = (target.attempt_timeout or policy.attempt_timeout) is not None
        if not is_bounded and (problem := _timeout_problem(child)):
            logger.warning(
                "target %r: %s; set attempt_timeout, or the object's own timeout",
                target.name,
                problem,
            )
        retries = getattr(child, "max_retries", None)
        if isinstance(retries, int) and retries > 0:
            logger.warning(
                "target %r retries %d times by itself before this pool hears of a failure; "
                "build it with max_retries=0",
                target.name,
                retries,
            )


def _timeout_problem(child: Any) -> str | None:
    names = [name for name in _TIMEOUTS if hasattr(child, name)]
    values = [getattr(child, name) for name in names]
    if not names:
        return None
    if all(value is None for value in values):
        return f"its {names[0]} is not set (some SDKs then wait 600 s)"
    seconds = [value for value in values if isinstance(value, int | float)]
    if seconds and max(seconds) > _LONGEST_QUIET_TIMEOUT:
        return f"its {names[0]} of {max(seconds):g} s hides an outage"
    return None
