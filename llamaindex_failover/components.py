"""What the LlamaIndex classes share: a router of their own, built from their fields."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any, Self, TypeVar

from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import BaseComponent
from pydantic import ConfigDict, Field, PrivateAttr, SkipValidation

from failover_core import FailoverPolicy, Router, Strategy, Target
from failover_core.children import UnfitError, adapted_targets, warn_about_children
from failover_core.policy import Settings

T = TypeVar("T")

Targets = Sequence[Any]
"""Objects to wrap, or ``Target(object, name=…, …)``, the preferred one first."""

Policy = FailoverPolicy | dict[str, Any] | None

logger = logging.getLogger("llamaindex_failover")

_MAY_BE_OF_THIS_PROCESS = {"cache", "embeddings_cache", "rate_limiter"}
"""Fields that hold locks and connections, more often than not."""


def build_router(
    targets: Targets,
    adapt: Callable[[Any], Any],
    *,
    describe: Callable[[list[Target]], list[Target]] = list,
    name: str,
    policy: Policy,
    strategy: str | Strategy,
) -> Router:
    """Return a router over the targets, each with the client that serves for its object.

    Args:
        targets: as the user gave them.
        adapt: returns the client for an object, or raises UnfitError.
        describe: returns the targets with what is known of their clients.
        name: of the pool and its class.
        policy: of every call.
        strategy: orders the targets.

    Raises:
        ConfigurationError: there are no targets, one is of the wrong kind, or a setting is bad.
    """
    adapted = adapted_targets(targets, adapt, owner=name)
    router = Router(describe(adapted), policy=policy, strategy=strategy, name=name)
    warn_about_children(router.targets, router.policy)
    return router


def instance_of(kind: type, wanted: str) -> Callable[[Any], Any]:
    """Return a function that lets objects of a kind through, and names the remedy for others."""

    def adapt(child: Any) -> Any:
        if not isinstance(child, kind):
            raise UnfitError(wanted)
        return child

    return adapt


def child_of(target: Target) -> Any:
    """Return the object that the user gave for a target."""
    return getattr(target.client, "child", target.client)


class Rebuilt:
    """Pickles and deep-copies by its settings, into an object with a router of its own.

    A deep copy shares the targets' objects. A pickle carries them, with all they carry.
    """

    # LlamaIndex puts a span around what implements an abstract method; so there is none here.

    def _settings(self) -> dict[str, Any]:
        """Return the arguments that build an object like this one."""
        raise NotImplementedError

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return type(self)(**self._settings())

    def __reduce__(self) -> tuple[Any, ...]:
        settings = self._settings()
        settings.pop("callback_manager", None)  # its handlers belong to this process
        for name in _MAY_BE_OF_THIS_PROCESS & settings.keys():
            if not _is_picklable(settings[name]):
                logger.warning(
                    "%s: %s cannot be pickled; its copy has none", type(self).__name__, name
                )
                del settings[name]
        settings["targets"] = [_picklable(target) for target in settings["targets"]]
        return _rebuild, (type(self), settings)


def _rebuild(cls: type[T], settings: dict[str, Any]) -> T:
    return cls(**settings)


def _is_picklable(value: object) -> bool:
    try:
        pickle.dumps(value)
    except Exception:  # noqa: BLE001 - a foreign __reduce__ may raise anything
        return False
    return True


def _picklable(target: Any) -> Any:
    """Return a target whose pickling leaves the user's own object as it is.

    A LlamaIndex component deletes, while it is pickled, what it cannot pickle of itself.
    """
    if isinstance(target, Target):
        return replace(target, client=_picklable(target.client))
    return copy.copy(target) if isinstance(target, BaseComponent) else target


class FailoverComponent(Rebuilt, Settings, BaseComponent):
    """A LlamaIndex component over targets; base of the LLM, the embedding and the reranker.

    What is called on it goes to the first target that can serve it. Its fields are never
    dumped, apart from those that the LlamaIndex base class dumps.
    """

    model_config = ConfigDict(frozen=False)

    targets: Annotated[Targets, SkipValidation] = Field(exclude=True, repr=False, frozen=True)
    """Objects to wrap, or ``Target(object, name=…, …)``, the preferred one first."""

    policy: Annotated[Policy, SkipValidation] = Field(
        default=None, exclude=True, repr=False, frozen=True
    )
    """Timeouts, retries, breaker: a FailoverPolicy or a dict of its settings."""

    strategy: Annotated[str | Strategy, SkipValidation] = Field(
        default="priority", exclude=True, repr=False, frozen=True
    )
    """In which order targets are considered."""

    _router: Router = PrivateAttr()

    @property
    def router(self) -> Router:
        """The router over the targets: status, events, switch, enable, disable, reset, close."""
        # As an attribute it would be found last, after a search of 2 µs.
        return (self.__pydantic_private__ or {})["_router"]  # type: ignore[no-any-return]

    def model_post_init(self, context: Any, /) -> None:
        """Build the router, and settle whose callback manager is used."""
        super().model_post_init(context)
        self._router = self._build_router()
        if self.__dict__["callback_manager"] is None:
            self.model_fields_set.discard("callback_manager")
        if "callback_manager" in self.model_fields_set:
            self._hand_on(self.__dict__["callback_manager"])
        else:
            self._take_from_first("callback_manager")

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        yield "targets", [target.name for target in self.router.targets]
        yield from super().__repr_args__()

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "callback_manager":
            self._hand_on(value)

    def _build_router(self) -> Router:
        """Return the router over ``targets``."""
        raise NotImplementedError

    def _hand_on(self, manager: CallbackManager) -> None:
        """Let the targets' objects, which emit the events, report to our callback manager."""
        for target in self.router.targets:
            child = child_of(target)
            if hasattr(child, "callback_manager"):
                child.callback_manager = manager

    def _take_from_first(self, *names: str) -> None:
        """Take over from the first target's object each setting that was not given."""
        first = child_of(self.router.targets[0])
        for name in names:
            if hasattr(first, name):
                self._fill_in(name, getattr(first, name))

    def _fill_in(self, name: str, value: Any) -> None:
        """Set a field that was not given, without marking it as given."""
        if name not in self.model_fields_set:
            self.__dict__[name] = value

    def _settings(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.model_fields_set}
