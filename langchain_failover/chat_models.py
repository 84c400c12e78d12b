"""A chat model that moves on to another chat model when one fails."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, Self

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.callbacks.manager import BaseRunManager
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from pydantic import ConfigDict, model_validator

from failover_core.children import UnfitError
from failover_core.clients import Keys
from failover_core.config import chat_arguments
from failover_core.engine.drivers import arun, astream, run, stream
from failover_core.engine.strategies import Strategy
from failover_core.policy import FailoverPolicy
from failover_core.url_targets import limited
from langchain_failover.answers import Signature, is_content, signed
from langchain_failover.bound import TRACING_ONLY, BoundSchema, BoundTools
from langchain_failover.children import is_chat_model
from langchain_failover.choices import Choice, Choosing
from langchain_failover.described import Described, with_known_signature
from langchain_failover.pool import Pooled
from langchain_failover.requests import Request
from langchain_failover.structured import Method, parsed, parser_for

logger = logging.getLogger(__name__)

_CHILDREN_SETTINGS = {"temperature", "max_tokens", "timeout", "stop", "max_retries", "api_key"}
"""LangChain's standard arguments of every chat model, which here are the children's."""


class FailoverChatModel(Choosing, Described):
    """A chat model over chat models: one answers while any can.

    A call is one run in a trace, whichever model answers and however many were tried, and
    ``response_metadata["failover"]`` of the answer says who it was (see ``Call.report``); of a
    stream, its last chunk. A stream moves on to another model until its first content, and
    after it too if the policy says ``on_broken_stream="resume"``.

    The children's own arguments, caches, rate limiters and ``disable_streaming`` hold. Callbacks
    of a child hear of its attempts, with its tags and metadata; those set here hear of calls.

    Example:
        >>> model = FailoverChatModel(targets=[ChatOpenAI(...), ChatAnthropic(...)])
        >>> model = FailoverChatModel.from_urls("http://a/v1,http://b/v1", model="llama")

    Args:
        targets: chat models, bindings of them (``model.bind(...)``), configurable ones, or
            other FailoverChatModels.
        policy: see ``FailoverPolicy``.
        strategy: see ``failover_core.Router``.

    Raises:
        ConfigurationError: a target is no chat model, or a setting cannot be used.
    """

    model_config = Pooled.model_config | ConfigDict(extra="forbid")

    streaming: bool = False
    """Whether ``invoke`` lets the children stream too, and puts the chunks together."""

    @classmethod
    def from_urls(
        cls,
        urls: str | Sequence[str],
        *,
        model: str,
        api_key: Keys = None,
        policy: FailoverPolicy | dict[str, Any] | None = None,
        strategy: str | Strategy = "priority",
        **client_options: Any,
    ) -> Self:
        """Build it over servers that speak OpenAI's protocol; needs the ``openai`` extra.

        Args:
            urls: up to and including ``/v1``, a list or one text with commas.
            model: name of the model, the same on every server.
            api_key: one for all, or several (a list, or a text with commas) paired with the
                URLs. Without one, no key of the environment is sent either.
            policy: see ``FailoverPolicy``.
            strategy: see ``failover_core.Router``.
            **client_options: for ``ChatOpenAI``, such as ``temperature``, and limits of each
                server, such as ``requests_per_minute`` (see ``Target``). Unless they say
                otherwise: ``timeout=60`` (seconds), ``max_retries=0``, ``stream_usage=True``.

        Raises:
            ImportError: langchain-openai is not installed.
            ConfigurationError: a URL, a key or a setting cannot be used.
        """
        from langchain_failover.url_chat import chat_models_from_urls  # noqa: PLC0415 - an extra

        models = limited(
            chat_models_from_urls, urls, model=model, api_key=api_key, **client_options
        )
        return cls(targets=models, policy=policy, strategy=strategy)

    @classmethod
    def from_models(
        cls,
        *models: str | Mapping[str, Any] | Any,
        policy: FailoverPolicy | dict[str, Any] | None = None,
        strategy: str | Strategy = "priority",
        **options: Any,
    ) -> Self:
        """Build it as ``init_chat_model`` builds a single model; needs the ``models`` extra.

        Example:
            >>> FailoverChatModel.from_models("openai:gpt-5", "anthropic:claude-sonnet-5")

        Args:
            *models: names such as ``"openai:gpt-5"``, dicts of ``init_chat_model``'s arguments
                (``{"model": …, "base_url": …}``), or chat models, best first.
            policy: see ``FailoverPolicy``.
            strategy: see ``failover_core.Router``.
            **options: arguments of ``init_chat_model`` for every model, such as ``temperature``.
                Unless they say otherwise: ``timeout=60`` (seconds), ``max_retries=0``.

        Raises:
            ImportError: langchain, or a provider's package, is not installed.
            ConfigurationError: a model cannot be built, or a setting cannot be used.
        """
        from langchain_failover.named_models import models_by_name  # noqa: PLC0415 - an extra

        return cls(targets=models_by_name(models, options), policy=policy, strategy=strategy)

    @classmethod
    def from_env(cls, *, model: str, **client_options: Any) -> Self:
        """Build it from ``OPENAI_BASE_URL`` (with commas) and ``OPENAI_API_KEY``.

        Args:
            model: name of the model, the same on every server.
            **client_options: as in ``from_urls``.

        Raises:
            ConfigurationError: a variable is missing or cannot be read; the message names it.
        """
        return cls.from_urls(**{**chat_arguments(), "model": model, **client_options})

    # Calls

    @with_known_signature
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        request = self._begin(messages, stop, run_manager, kwargs)
        try:
            return signed(run(request.call, request.generate), request.call)
        except Exception as error:  # noqa: BLE001 - it is raised again
            return request.second_best(error)

    @with_known_signature
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        request = self._begin(messages, stop, run_manager, kwargs)
        try:
            return signed(await arun(request.call, request.agenerate), request.call)
        except Exception as error:  # noqa: BLE001 - it is raised again
            return request.second_best(error)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        request = self._begin(messages, stop, run_manager, kwargs)
        resume = request.resume
        signature = Signature(request.call, may_resume=resume is not None)
        return stream(request.call, request.stream, is_content, resume, signature)

    def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        request = self._begin(messages, stop, run_manager, kwargs)
        resume = request.aresume
        signature = Signature(request.call, may_resume=resume is not None)
        return astream(request.call, request.astream, is_content, resume, signature)

    def _begin(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        run: BaseRunManager | None,
        arguments: dict[str, Any],
    ) -> Request:
        pool, choice = self._pool(), Choice.out_of(arguments)
        options = pool.options(messages, arguments)
        if (preferred := choice.preferred_among(pool)) is not None:
            options["preferred_target"] = preferred
        call = pool.router.begin(**options)
        return Request(messages, stop, arguments, choice.config, run, self.callbacks, pool, call)

    # Tools and schemas

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind tools, which each child's own ``bind_tools`` takes as they are given here.

        Args:
            tools: whatever the children take.
            tool_choice: handed to each child.
            **kwargs: handed to each child.
        """
        shown = {name: kwargs.pop(name) for name in TRACING_ONLY if name in kwargs}
        if tool_choice is not None:
            kwargs["tool_choice"] = tool_choice
        return self.bind(tools=BoundTools(tools, kwargs), **kwargs, **shown)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        method: Method = "function_calling",
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Return a runnable that answers with an object of a schema.

        An answer that does not keep to the schema counts as none: the next target is asked,
        unless ``policy.on_invalid_output`` says otherwise. If none keeps to it, the first such
        answer is what the parser gets. Streams are not checked: they are on their way already.

        Args:
            schema: pydantic class, TypedDict, JSON schema, or tool in OpenAI's shape.
            include_raw: whether to answer ``{"raw", "parsed", "parsing_error"}`` instead.
            method: ``"function_calling"`` (every child with tools can), ``"json_schema"`` or
                ``"json_mode"`` (children whose ``with_structured_output`` knows the method).
            **kwargs: handed to each child, such as ``strict``.
        """
        given = {name: value for name, value in kwargs.items() if value is not None}
        traced = {"kwargs": {"method": method, **given}, "schema": schema}
        parser = parser_for(schema, method)
        words: dict[str, Any]
        if method == "function_calling":
            chosen = {"tool_choice": "any", **given}
            words = {"tools": BoundTools([schema], chosen, parser), **chosen}
        else:
            words = {"response_format": BoundSchema(schema, method, given, parser)}
        bound = self.bind(ls_structured_output_format=traced, **words)
        return parsed(bound, parser, include_raw=include_raw)

    # Settings

    @model_validator(mode="before")
    @classmethod
    def _leave_to_children(cls, given: Any) -> Any:
        """Log, instead of refusing, what every other chat model takes and this one cannot."""
        if not isinstance(given, dict) or not (theirs := _CHILDREN_SETTINGS & given.keys()):
            return given
        logger.warning(
            "%s ignores %s: set it on each target", cls.__name__, ", ".join(sorted(theirs))
        )
        return {name: value for name, value in given.items() if name not in theirs}

    def _adapted(self, child: Any) -> Any:
        if is_chat_model(child):
            return child
        remedy = "pass a chat model, a binding of one, or a configurable one"
        if isinstance(child, str):
            remedy = f"pass a chat model, or use {type(self).__name__}.from_urls for URLs"
        elif hasattr(child, "runnable") or hasattr(child, "bound"):
            remedy = "pass the model inside: fallbacks are targets here, and retries are a policy"
        raise UnfitError(remedy)
