"""What a caller chooses for one call: the target to try first, and fields of the children."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self, Unpack

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config

from failover_core.engine.call import Call
from failover_core.engine.needs import CallOptions
from failover_core.router import Router
from failover_core.targets import Target

PREFERENCE = "failover"
"""Key of a config's ``configurable`` that names the target to try first."""

_CONFIGURABLE = "configurable"
_PLAIN = (str, int, float, bool)


def _with_choice(config: RunnableConfig | None, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call, with what its config chooses among them.

    LangChain hands a config to the model it is meant for, but not to the model's methods.
    """
    chosen = _configurable(config)
    return {**arguments, _CONFIGURABLE: _plain(chosen)} if chosen else arguments


def _configurable(config: RunnableConfig | None) -> dict[str, Any]:
    return (config.get("configurable") if config else None) or {}


def _plain(chosen: dict[str, Any]) -> dict[str, Any]:
    # LangGraph keeps its own machinery there, which is nothing for traces and cache keys.
    return {
        name: value
        for name, value in chosen.items()
        if isinstance(value, _PLAIN) and not name.startswith("__")
    }


@dataclass(slots=True)
class Choice:
    """What a caller chose.

    Attributes:
        config: for the children.
        preferred_target: as an argument of the call: there must be such a target.
    """

    config: RunnableConfig
    preferred_target: str | None

    @classmethod
    def out_of(cls, arguments: dict[str, Any]) -> Self:
        """Take the choice out of the arguments of a call."""
        chosen = arguments.pop(_CONFIGURABLE, None)
        config = RunnableConfig(configurable=chosen) if chosen else RunnableConfig()
        return cls(config, arguments.pop("preferred_target", None))

    def preferred_among(self, targets: Iterable[Target]) -> str | None:
        """Return the name of the target to try first.

        A config holds for a whole chain: what it names is meant for the pools that have it.
        """
        if self.preferred_target is not None:
            return self.preferred_target
        for config in (self.config, var_child_runnable_config.get()):
            name = _configurable(config).get(PREFERENCE) if config else None
            if name is not None and any(target.name == name for target in targets):
                return str(name)
        return None


def begin(router: Router, **options: Unpack[CallOptions]) -> Call:
    """Begin a call that no config is handed to; that of the running chain may choose for it."""
    if chosen := preferred(router):
        options["preferred_target"] = chosen
    return router.begin(**options)


def preferred(router: Router) -> str | None:
    """Return the name of the target that the config of the running chain wants tried first."""
    return _NOTHING_CHOSEN.preferred_among(router.targets)


_NOTHING_CHOSEN = Choice(RunnableConfig(), None)


class Choosing(BaseChatModel):
    """A chat model that is told what the config of a call chooses."""

    def invoke(
        self,
        input: LanguageModelInput,  # noqa: A002 - the name that LangChain gave it
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """Return the answer of a target.

        Args:
            input: a text, or messages.
            config: of the call. ``{"configurable": {"failover": "name"}}`` names the target to
                try first, of every pool in the chain that has it.
            **kwargs: ``preferred_target`` (here there must be such a target), ``stop``, and what
                the children take.

        Raises:
            AllTargetsFailedError: no target could answer.
            ConfigurationError: there is no such target.
        """
        return super().invoke(input, config, **_with_choice(config, kwargs))

    async def ainvoke(
        self,
        input: LanguageModelInput,  # noqa: A002 - as above
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """Return what ``invoke`` returns."""
        return await super().ainvoke(input, config, **_with_choice(config, kwargs))

    def stream(
        self,
        input: LanguageModelInput,  # noqa: A002 - as above
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """Return the chunks of a target's answer; see ``invoke``."""
        return super().stream(input, config, **_with_choice(config, kwargs))

    def astream(
        self,
        input: LanguageModelInput,  # noqa: A002 - as above
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Return the chunks of a target's answer; see ``invoke``."""
        return super().astream(input, config, **_with_choice(config, kwargs))
