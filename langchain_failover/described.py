"""What a pool of chat models says of itself: to traces, cache keys, agents and middlewares."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from langchain_core.language_models import BaseChatModel, LangSmithParams
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.messages import BaseMessage
from pydantic import model_validator

from langchain_failover.abilities import ChatPool
from langchain_failover.bound import Bound
from langchain_failover.children import known_models, model_behind
from langchain_failover.identity import common_profile, identities_of, tracing_of
from langchain_failover.pool import Pool, Pooled

F = TypeVar("F", bound=Callable[..., Any])


class Described(BaseChatModel, Pooled):
    """A pool of chat models, as far as it is talked about and not called."""

    pool_class: ClassVar[type[Pool]] = ChatPool

    if TYPE_CHECKING:

        def _pool(self) -> ChatPool: ...

    @property
    def model_name(self) -> str:
        """Names of the targets' models; the answer's metadata names the one that served."""
        # All of them: agents look up by this name what a model can do, and take it for granted.
        return self._pool().model_names

    @property
    def _llm_type(self) -> str:
        return "failover-chat"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"targets": self._pool().memory.of(identities_of)}

    def _get_invocation_params(
        self, stop: list[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        # As the base class does it, but for its detour over a deprecated method.
        return {**self._identifying_params, "_type": self._llm_type, "stop": stop, **kwargs}

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        """Return the cache key: it differs whenever that of any child would."""
        keys = [model._get_llm_string() for model, _ in self._children()]
        return "".join([super()._get_llm_string(stop, **kwargs), *keys])

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        # What is bound is put into each child's own words, and says nothing before that.
        said = {name: value for name, value in kwargs.items() if not isinstance(value, Bound)}
        if said or stop:
            params = tracing_of(self._pool(), stop, **said)
        else:
            params = self._pool().memory.of(tracing_of)
        return params.copy() if params else super()._get_ls_params(stop=stop, **kwargs)

    def _combine_llm_outputs(self, llm_outputs: list[dict[str, Any] | None]) -> dict[str, Any]:
        usages = [output.get("token_usage") for output in llm_outputs if output]
        return {"token_usage": _added(usages), "model_name": self.model_name}

    def _resolve_model_profile(self) -> ModelProfile | None:
        profiles = [model.profile for model, _ in self._children()]
        return common_profile(profiles) if len(profiles) == len(self._pool()) else None

    def get_token_ids(self, text: str) -> list[int]:
        """Return the tokens of a text, as the first target counts them."""
        if self.custom_get_token_ids is not None:
            return self.custom_get_token_ids(text)
        return model_behind(self._pool()[0].client)[0].get_token_ids(text)

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """Return the number of tokens of messages, as the first target counts them."""
        model, _ = model_behind(self._pool()[0].client)
        return model.get_num_tokens_from_messages(messages, tools)

    def _children(self) -> Iterator[tuple[BaseChatModel, dict[str, Any]]]:
        return known_models(target.client for target in self._pool())

    @model_validator(mode="after")
    def _adopt_output_version(self) -> Self:
        """Answer in the content format that all children were told to answer in."""
        versions = {model.output_version for model, _ in self._children()}
        if len(versions) == 1 and "output_version" not in self.model_fields_set:
            self.output_version = versions.pop()
        return self


def with_known_signature(method: F) -> F:
    """Keep the signature of a method.

    LangChain asks for that of ``_generate`` on every call, and to find it out anew takes more
    than a tenth of a call that does nothing else.
    """
    method.__signature__ = inspect.signature(method)  # type: ignore[attr-defined]
    return method


def _added(usages: Iterable[Any]) -> dict[str, Any]:
    """Add up counts of tokens by their names, which may hold further counts."""
    total: dict[str, Any] = {}
    for usage in usages:
        for name, count in usage.items() if isinstance(usage, dict) else ():
            if isinstance(count, dict):
                total[name] = _added([total.get(name), count])
            elif isinstance(count, int) and isinstance(total.get(name, 0), int):
                total[name] = total.get(name, 0) + count
    return total
