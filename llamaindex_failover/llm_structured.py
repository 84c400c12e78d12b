"""Structured prediction by the LLM that answers, in the way that is native to it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, closing
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import BaseModel

from failover_core.engine.call import Call
from failover_core.engine.drivers import arun, astream, run, stream
from failover_core.resuming import WHOLE
from failover_core.targets import Capability
from llamaindex_failover.instrumentation import traced_by_child
from llamaindex_failover.llm_calls import LLMCalls
from llamaindex_failover.predictions import Prediction, says_something

if TYPE_CHECKING:
    from llama_index.core.program.utils import FlexibleModel
    from llama_index.core.prompts import PromptTemplate

M = TypeVar("M", bound=BaseModel)

LLMOptions = dict[str, Any] | None

_NEEDED = (Capability.STRUCTURED_OUTPUT,)


class StructuredPrediction(LLMCalls):
    """Asks the targets for an object of a class.

    An answer that is no such object counts as none, and leaves no mark: the next target is
    asked, unless ``policy.on_invalid_output`` says otherwise. If no target makes the object, the
    caller gets what the first such answer leads to without a pool: its error, or its stream.

    ``preferred_target`` is among the ``llm_kwargs``, where a structured LLM puts what it is
    called with, or an argument of its own: no variable of the prompt has that name.
    """

    @traced_by_child
    def structured_predict(
        self,
        output_cls: type[M],
        prompt: PromptTemplate,
        llm_kwargs: LLMOptions = None,
        **prompt_args: Any,
    ) -> M:
        """Return an object of ``output_cls``."""
        prediction = self._prediction(output_cls, prompt, llm_kwargs, prompt_args)
        call = self._begin(prediction.messages, prediction.llm_kwargs, _NEEDED)
        with prediction.settling():
            prediction.answer = run(call, partial(prediction.predict, call))
        return prediction.result()

    @traced_by_child
    async def astructured_predict(
        self,
        output_cls: type[M],
        prompt: PromptTemplate,
        llm_kwargs: LLMOptions = None,
        **prompt_args: Any,
    ) -> M:
        """Return an object of ``output_cls``."""
        prediction = self._prediction(output_cls, prompt, llm_kwargs, prompt_args)
        call = await self._abegin(prediction.messages, prediction.llm_kwargs, _NEEDED)
        with prediction.settling():
            prediction.answer = await arun(call, partial(prediction.apredict, call))
        return prediction.result()

    @traced_by_child
    def stream_structured_predict(
        self,
        output_cls: type[M],
        prompt: PromptTemplate,
        llm_kwargs: LLMOptions = None,
        **prompt_args: Any,
    ) -> Generator[M | FlexibleModel]:
        """Return a generator of ever more complete objects of ``output_cls``."""
        prediction = self._prediction(output_cls, prompt, llm_kwargs, prompt_args)
        call = self._begin(prediction.messages, prediction.llm_kwargs, _NEEDED)
        return _objects(prediction, call)

    @traced_by_child
    async def astream_structured_predict(
        self,
        output_cls: type[M],
        prompt: PromptTemplate,
        llm_kwargs: LLMOptions = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[M | FlexibleModel]:
        """Return an async generator of ever more complete objects of ``output_cls``."""
        prediction = self._prediction(output_cls, prompt, llm_kwargs, prompt_args)
        call = await self._abegin(prediction.messages, prediction.llm_kwargs, _NEEDED)
        return _aobjects(prediction, call)

    def _prediction(
        self,
        output_cls: type[M],
        prompt: PromptTemplate,
        llm_kwargs: LLMOptions,
        prompt_args: dict[str, Any],
    ) -> Prediction[M]:
        options = dict(llm_kwargs or {})
        if "preferred_target" in prompt_args:
            options["preferred_target"] = prompt_args.pop("preferred_target")
        is_checked = self.router.policy.on_invalid_output == "failover"
        return Prediction(output_cls, prompt, options, prompt_args, is_checked)


def _objects(prediction: Prediction[M], call: Call) -> Generator[M | FlexibleModel]:
    chunks = stream(call, partial(prediction.stream, call), says_something, WHOLE)
    with prediction.settling(), closing(cast("Generator[BaseModel]", chunks)) as objects:
        for item in objects:
            yield prediction.shown(item)
    yield from prediction.remnants()


async def _aobjects(prediction: Prediction[M], call: Call) -> AsyncGenerator[M | FlexibleModel]:
    chunks = astream(call, partial(prediction.astream, call), says_something, WHOLE)
    with prediction.settling():
        async with aclosing(cast("AsyncGenerator[BaseModel]", chunks)) as objects:
            async for item in objects:
                yield prediction.shown(item)
    for item in prediction.remnants():
        yield item
