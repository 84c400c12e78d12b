"""One object to be predicted, as several LLMs may be asked for it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import aclosing, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from llama_index.core.base.llms.types import ChatMessage
from pydantic import BaseModel, ValidationError

from failover_core.classify import is_neutral
from failover_core.engine.attempt import Attempt
from failover_core.engine.call import Call
from failover_core.errors import BrokenStreamError, UnsupportedError
from failover_core.finishing import UNFINISHED
from llamaindex_failover.overhearing import Heard, aoverheard, charging, hearing, overheard
from llamaindex_failover.streaming import has_finish

if TYPE_CHECKING:
    from llama_index.core.prompts import PromptTemplate

M = TypeVar("M", bound=BaseModel)

_READERS = (
    "llama_index.core.program.",
    "llama_index.core.output_parsers.",
    "llama_index.core.llms.llm",
    "llama_index.core.llms.function_calling",
    "llama_index.program.",
)
"""Modules that make objects out of answers."""

_FINDS_CALLS = "get_tool_calls_from_response"


@dataclass(slots=True)
class Prediction(Generic[M]):
    """What is asked of each target, and what is left of answers that are no such object.

    Attributes:
        output_cls: class of the object.
        prompt: for it.
        llm_kwargs: arguments of the LLM.
        prompt_args: variables of the prompt.
        is_checked: whether an answer that is no such object counts as none.
        answer: the object.
        has_shown: whether the caller has been given any object of a stream.
        misfit: error of the first answer that is no such object.
        remnant: the last object of the first stream that ended without such an object.
    """

    output_cls: type[M]
    prompt: PromptTemplate
    llm_kwargs: dict[str, Any]
    prompt_args: dict[str, Any]
    is_checked: bool
    answer: M | None = field(default=None, init=False)
    has_shown: bool = field(default=False, init=False)
    misfit: Exception | None = field(default=None, init=False)
    remnant: BaseModel | None = field(default=None, init=False)

    @property
    def messages(self) -> Callable[[], Sequence[ChatMessage]]:
        """Makes the messages of the request."""
        return partial(self.prompt.format_messages, **self.prompt_args)

    def predict(self, call: Call, attempt: Attempt) -> M | None:
        """Return the object as the target of an attempt predicts it, None if it is none."""
        with self._judging(), charging(call, attempt) as heard, hearing(heard):
            predicted: M = self._ask(attempt.client.structured_predict)
            return predicted
        return None

    async def apredict(self, call: Call, attempt: Attempt) -> M | None:
        """Do what ``predict`` does."""
        with self._judging(), charging(call, attempt) as heard, hearing(heard):
            predicted: M = await self._ask(attempt.client.astructured_predict)
            return predicted
        return None

    def stream(self, call: Call, attempt: Attempt) -> Iterator[BaseModel]:
        """Yield ever more complete objects of a target."""
        latest = None
        objects: Generator[BaseModel] = self._ask(attempt.client.stream_structured_predict)
        with charging(call, attempt) as heard, closing(objects):
            for latest in overheard(objects, heard):
                yield latest
        self._check_end(attempt.client, latest, heard)

    async def astream(self, call: Call, attempt: Attempt) -> AsyncGenerator[BaseModel]:
        """Do what ``stream`` does."""
        latest = None
        with charging(call, attempt) as heard:
            with hearing(heard):
                opening = await self._ask(attempt.client.astream_structured_predict)
            objects: AsyncGenerator[BaseModel] = opening
            async with aclosing(objects):
                async for latest in aoverheard(objects, heard):
                    yield latest
        self._check_end(attempt.client, latest, heard)

    @contextmanager
    def settling(self) -> Iterator[None]:
        """Leave out the error of a call if an answer that is no such object is handed on."""
        try:
            yield
        except Exception as error:
            is_refused = isinstance(error, UnsupportedError) or not self.has_shown
            if self.misfit is None or not is_refused or is_neutral(error):
                raise

    def result(self) -> M:
        """Return the object.

        Raises:
            Exception: there is none; what a single LLM would have raised.
        """
        if self.answer is None and self.misfit is not None:
            raise self.misfit
        return self.answer  # type: ignore[return-value]

    def shown(self, item: BaseModel) -> Any:
        """Return an object that goes to the caller of a stream."""
        self.has_shown = True
        return item

    def remnants(self) -> Iterator[Any]:
        """Yield what a single LLM's stream would have yielded, if no other one had an object."""
        if self.remnant is not None and not self.has_shown:
            yield self.remnant

    def _ask(self, method: Callable[..., Any]) -> Any:
        # LLMs write into the arguments they are given.
        arguments = dict(self.llm_kwargs)
        return method(self.output_cls, self.prompt, llm_kwargs=arguments, **self.prompt_args)

    @contextmanager
    def _judging(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not self._is_about_the_answer(error):
                raise
            self.misfit = self.misfit or error
            if self.is_checked:
                message = f"the answer does not keep to its schema ({type(error).__name__})"
                raise UnsupportedError(message) from error

    def _is_about_the_answer(self, error: Exception) -> bool:
        """Return whether it was raised while an object was made out of an answer."""
        # By its place: by its words nothing could be told, for they quote the model.
        if isinstance(error, ValidationError):
            titles = (self.output_cls.__name__, self.output_cls.model_config.get("title"))
            return error.title in titles
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        frame = trace and trace.tb_frame
        if frame is None:
            return False
        module = str(frame.f_globals.get("__name__"))
        return module.startswith(_READERS) or frame.f_code.co_name == _FINDS_CALLS

    def _check_end(self, client: Any, latest: BaseModel | None, heard: Heard) -> None:
        if has_finish(client) and heard.is_heard and not heard.is_finished:
            raise BrokenStreamError(UNFINISHED)
        if not self.is_checked or self._is_whole(latest):
            return
        message = "the stream ended without an object that keeps to its schema"
        refusal = UnsupportedError(message)
        self.misfit = self.misfit or refusal
        self.remnant = self.remnant or latest
        raise refusal

    def _is_whole(self, item: BaseModel | None) -> bool:
        if item is None or isinstance(item, self.output_cls):
            return item is not None
        if not says_something(item):
            return False
        try:
            self.output_cls.model_validate(item.model_dump())
        except ValidationError:
            return False
        return True


def says_something(item: BaseModel) -> bool:
    """Return whether a partial object holds a value; the first ones are often blank."""
    return any(value is not None for value in item.model_dump().values())
