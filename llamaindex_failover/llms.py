"""``FailoverLLM``: one LLM for LlamaIndex out of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
)
from llama_index.core.llms.llm import LLM
from pydantic import PrivateAttr, computed_field

from failover_core import Router, Strategy
from failover_core.config import chat_arguments
from failover_core.url_targets import limited
from llamaindex_failover.components import Policy, build_router, instance_of
from llamaindex_failover.instrumentation import traced, traced_by_child
from llamaindex_failover.llm_abilities import described
from llamaindex_failover.llm_calls import continued, fresh
from llamaindex_failover.llm_identity import shaping
from llamaindex_failover.llm_metadata import common_metadata
from llamaindex_failover.llm_structured import StructuredPrediction
from llamaindex_failover.llm_tools import ToolCalling

_WANTED = (
    "give an LLM of LlamaIndex (a subclass of llama_index.core.llms.LLM); "
    "for URLs use FailoverLLM.from_urls(urls, model=…)"
)
_PROMPT_SETTINGS = (
    "system_prompt",
    "messages_to_prompt",
    "completion_to_prompt",
    "output_parser",
    "pydantic_program_mode",
    "query_wrapper_prompt",
)


class FailoverLLM(ToolCalling, StructuredPrediction):
    """An LLM that asks the first of several LLMs that can answer.

    ``pip install "rag-failover[llamaindex]"``

    Example:
        >>> Settings.llm = FailoverLLM(targets=[primary, backup])

    The target's own object does the work and emits the events, so a call is traced and its
    tokens are counted once. Each response, and each chunk of a stream, says who served in
    ``additional_kwargs["failover"]``: ``target``, ``model``, ``attempts``, ``failed_over``,
    ``errors``. A stream moves on until its first content; a break after it is raised, or resumed
    if the policy says ``on_broken_stream="resume"``.

    Settings of the prompt (``system_prompt``, ``output_parser``, …) and the callback manager are
    the first target's where they are not given. Structured prediction follows each target's own.
    ``metadata`` is what all targets can do: the smallest context window, tools if all have them,
    apart from those declared without, such as ``Target(llm, supports=[])``.

    Every call takes ``preferred_target="name"``, the target to try first. A call that needs tools,
    images, a schema or room for its text passes those over that lack it, with no mark against
    them; if none has it, the error names what each lacks. What a target lacks is known of its
    class, of its metadata and of its ``supports``; room counts where ``Target`` declares it.

    Raises:
        ConfigurationError: a target is no LLM, or its metadata cannot be told.
    """

    _metadata: LLMMetadata = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Build the router, and take over what the targets say of themselves."""
        super().model_post_init(context)
        self._take_from_first(*_PROMPT_SETTINGS)
        self._metadata = common_metadata(self.router.targets, self.targets)

    @classmethod
    def class_name(cls) -> str:
        """Return the name of the class in dumps."""
        return "FailoverLLM"

    @classmethod
    def from_urls(
        cls,
        urls: str | Sequence[str],
        *,
        model: str,
        api_key: str | Sequence[str] | None = None,
        policy: Policy = None,
        strategy: str | Strategy = "priority",
        **client_options: Any,
    ) -> Self:
        """Return an LLM over servers that speak OpenAI's chat protocol.

        Args:
            urls: base URLs as the OpenAI SDK calls them (most end in ``/v1``), in a list or in
                one text with commas.
            model: the model, the same on every server.
            api_key: one key, or several paired with the URLs, the last one also for the rest;
                ``"${NAME}"`` reads it from an environment variable. None sends a placeholder.
            policy: a FailoverPolicy or a dict of its settings.
            strategy: in which order targets are considered.
            **client_options: fields of ``OpenAILike``, such as ``context_window``,
                ``is_function_calling_model``, ``temperature`` or ``timeout``. Unless
                ``additional_kwargs`` say otherwise, servers are asked for the tokens of streams.
                Also limits of each server, such as ``requests_per_minute``; see ``Target``.

        Raises:
            ConfigurationError: a URL, key or option cannot be used.
            ImportError: ``llama-index-llms-openai-like`` is not installed.
        """
        from llamaindex_failover.url_llm import llms_from_urls  # noqa: PLC0415 - an extra

        targets = limited(llms_from_urls, urls, model=model, api_key=api_key, **client_options)
        return cls(targets=targets, policy=policy, strategy=strategy)

    @classmethod
    def from_env(cls, *, model: str, **client_options: Any) -> Self:
        """Return an LLM over ``OPENAI_BASE_URL`` (commas between several), ``OPENAI_API_KEY``.

        Args:
            model: the model, the same on every server.
            **client_options: as for ``from_urls``.

        Raises:
            ConfigurationError: a variable is missing or cannot be used.
        """
        return cls.from_urls(model=model, **(chat_arguments() | client_options))

    @computed_field(repr=False)  # type: ignore[prop-decorator]
    @property
    def shaped_by(self) -> list[dict[str, Any]]:
        """Each target's model and settings such as ``temperature``, no secret.

        LlamaIndex's ingestion cache takes it out of the dump: an extractor must not get what
        another LLM wrote.
        """
        return shaping(self.router.targets)

    @property
    def metadata(self) -> LLMMetadata:
        """What all targets can do, as they said when this object was built."""
        return self._metadata

    # Chat and completion

    @traced_by_child
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer a conversation."""
        return self._ask(lambda llm: traced(llm.chat)(fresh(messages), **kwargs), messages, kwargs)

    @traced_by_child
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer a conversation."""
        return await self._aask(
            lambda llm: traced(llm.achat)(fresh(messages), **kwargs), messages, kwargs
        )

    @traced_by_child
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Answer a conversation piece by piece."""
        return self._stream(
            lambda llm: traced(llm.stream_chat)(fresh(messages), **kwargs),
            messages,
            kwargs,
            prefill=lambda llm, text: traced(llm.stream_chat)(continued(messages, text), **kwargs),
        )

    @traced_by_child
    async def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        """Answer a conversation piece by piece."""
        return await self._astream(
            lambda llm: traced(llm.astream_chat)(fresh(messages), **kwargs),
            messages,
            kwargs,
            prefill=lambda llm, text: traced(llm.astream_chat)(continued(messages, text), **kwargs),
        )

    @traced_by_child
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:  # noqa: FBT001, FBT002 - LlamaIndex's signature
        """Complete a prompt."""
        return self._ask(
            lambda llm: traced(llm.complete)(prompt, formatted=formatted, **kwargs), prompt, kwargs
        )

    @traced_by_child
    async def acomplete(
        self,
        prompt: str,
        formatted: bool = False,  # noqa: FBT001, FBT002 - LlamaIndex's signature
        **kwargs: Any,
    ) -> CompletionResponse:
        """Complete a prompt."""
        return await self._aask(
            lambda llm: traced(llm.acomplete)(prompt, formatted=formatted, **kwargs), prompt, kwargs
        )

    @traced_by_child
    def stream_complete(
        self,
        prompt: str,
        formatted: bool = False,  # noqa: FBT001, FBT002 - LlamaIndex's signature
        **kwargs: Any,
    ) -> CompletionResponseGen:
        """Complete a prompt piece by piece."""
        return self._stream(
            lambda llm: traced(llm.stream_complete)(prompt, formatted=formatted, **kwargs),
            prompt,
            kwargs,
        )

    @traced_by_child
    async def astream_complete(
        self,
        prompt: str,
        formatted: bool = False,  # noqa: FBT001, FBT002 - LlamaIndex's signature
        **kwargs: Any,
    ) -> CompletionResponseAsyncGen:
        """Complete a prompt piece by piece."""
        return await self._astream(
            lambda llm: traced(llm.astream_complete)(prompt, formatted=formatted, **kwargs),
            prompt,
            kwargs,
        )

    def _build_router(self) -> Router:
        return build_router(
            self.targets,
            instance_of(LLM, _WANTED),
            describe=described,
            name=self.class_name(),
            policy=self.policy,
            strategy=self.strategy,
        )
