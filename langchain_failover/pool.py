"""What the four classes share: the fields of a pool, and one router under all their copies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from failover_core.children import adapted_targets, warn_about_children
from failover_core.engine.strategies import Strategy
from failover_core.errors import ConfigurationError
from failover_core.policy import FailoverPolicy, Settings
from failover_core.router import Router
from failover_core.targets import Target
from failover_core.url_targets import with_url_clients


class Pool(tuple[Target, ...]):  # noqa: SLOT001 - it does carry attributes
    """Targets, and the router over them.

    It lives in the field ``targets``, because LangChain copies fields and nothing else: copies
    made by ``model_copy``, ``deepcopy`` or ``configurable_fields`` then share one router, and
    what one of them learns about a target all know. A pickle rebuilds it from its settings.

    Args:
        targets: what ``Router`` takes.
        name: of the router.
        settings: fields of the class that it is made of: ``policy``, ``strategy``; a subclass may
            read further ones.
    """

    router: Router
    settings: dict[str, Any]

    def __new__(cls, targets: Iterable[Any], name: str, settings: dict[str, Any]) -> Self:  # noqa: D102 - as above
        router = Router(
            targets,
            policy=settings["policy"],
            strategy=settings["strategy"],
            name=name,
        )
        pool = super().__new__(cls, router.targets)
        pool.router = router
        pool.settings = settings
        return pool

    def __repr__(self) -> str:
        return repr([target.name for target in self])

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (tuple(self), self.router.name, self.settings)


class Pooled(Settings):
    """Base of the four classes: a pool of targets, and its router."""

    model_config = ConfigDict(frozen=False)

    targets: Sequence[Any] = Field(exclude=True)
    """Objects of the kind that the class wraps, or ``Target(object, name=…)``, best first."""

    policy: FailoverPolicy | dict[str, Any] | None = None
    """Timeouts, retries, breaker: a FailoverPolicy or a dict of its settings."""

    strategy: str | Strategy = "priority"
    """In which order calls consider the targets."""

    pool_class: ClassVar[type[Pool]] = Pool

    @property
    def router(self) -> Router:
        """The router, to look at (``status()``, ``events``) and to steer (``switch()``, …)."""
        return self._pool().router

    @field_validator("targets", mode="plain")
    @classmethod
    def _read_targets(cls, given: Any) -> Any:
        if isinstance(given, BaseModel) or not isinstance(given, Iterable):
            message = f"{cls.__name__}: targets must be a list, not {type(given).__name__}"
            raise ConfigurationError(message)
        return given if isinstance(given, Pool | str) else list(given)

    @field_validator("policy", mode="plain")
    @classmethod
    def _read_policy(cls, given: Any) -> FailoverPolicy | None:
        return None if given is None else FailoverPolicy.model_validate(given)

    @field_validator("strategy", mode="plain")
    @classmethod
    def _keep_strategy(cls, given: Any) -> Any:
        return given  # the router knows the names

    @model_validator(mode="after")
    def _open_pool(self) -> Self:
        self._pool()
        return self

    def _pool(self) -> Pool:
        """Return the pool; open one if targets or settings are new."""
        pool = self.targets
        if not isinstance(pool, Pool) or not pool.settings.items() <= self.__dict__.items():
            pool = self.pool_class(self._wrapped(pool), type(self).__name__, self._pool_settings())
            warn_about_children(pool, pool.router.policy)
            self.targets = pool
        return pool

    def _pool_settings(self) -> dict[str, Any]:
        """Return the fields of which the pool is made."""
        return {"policy": self.policy, "strategy": self.strategy}

    def _wrapped(self, targets: Sequence[Any]) -> list[Target]:
        """Return the targets, each with a client that the class can use."""
        return adapted_targets(targets, self._adapted, owner=type(self).__name__)

    def _adapted(self, child: Any) -> Any:
        """Return the client that serves for a child.

        Raises:
            UnfitError: the child is not what the class wraps.
        """
        raise NotImplementedError


class UrlPooled(Pooled):
    """Base of the classes whose targets may be plain URLs."""

    model: str | None = None
    """Name of the model; URLs need it."""

    provider: str = "infinity"
    """Protocol of the targets that are URLs: a name in ``failover_core.clients.PROVIDERS``."""

    api_key: SecretStr | None = Field(default=None, exclude=True)
    """Key of the targets that are URLs (or keys, with commas between), until their clients have
    taken it over; then None."""

    def _wrapped(self, targets: Sequence[Any]) -> list[Target]:
        clients = with_url_clients(
            targets, model=self.model, provider=self.provider, api_key=self.api_key
        )
        self.api_key = None
        return super()._wrapped(clients)
