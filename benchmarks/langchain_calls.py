"""What failover adds to a call under LangChain: ``python -m benchmarks.langchain_calls``.

The chat model does nothing, and nobody listens, so that all the time is LangChain's and ours. The
contestants take turns in every round. Each cell is the median over the
rounds: microseconds a call, and times the bare model in the same round. Only the latter means
something on another machine.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from statistics import median
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from typing_extensions import override

from langchain_failover import FailoverChatModel

CALLS = 100
"""Calls of a contestant in a row."""

CHUNKS = 20
TOOL = {"name": "look_up", "description": "Looks up a word.", "parameters": {}}

Model = Runnable[LanguageModelInput, AIMessage]
Door = Callable[[Model], Awaitable[None]]


class Idle(BaseChatModel):
    """A chat model that answers at once, or is down."""

    model_name: str = "idle"
    is_down: bool = False

    @property
    def _llm_type(self) -> str:
        return "idle"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model_name}

    @override
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self._fail_if_down()
        return ChatResult(generations=[ChatGeneration(message=AIMessage("fine"))])

    @override
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._generate(messages)

    @override
    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        self._fail_if_down()
        for number in range(1, CHUNKS + 1):
            position: Any = "last" if number == CHUNKS else None
            message = AIMessageChunk(content="fine", chunk_position=position)
            yield ChatGenerationChunk(message=message)

    @override
    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._stream(messages):
            yield chunk

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Model:
        """Bind tools as they are given."""
        return self.bind(tools=tools, **kwargs)

    def _fail_if_down(self) -> None:
        if self.is_down:
            message = "down"
            raise ConnectionError(message)


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    arguments = parser.parse_args()
    groups = [contestants(), contestants(lambda model: model.bind_tools([TOOL]))]
    print(f"| no handlers | {' | '.join(DOORS)} |")
    print("| --- |" + " --- |" * len(DOORS))
    for group, suffix in zip(groups, ("", ", bind_tools"), strict=True):
        columns = [asyncio.run(measure(door, group, arguments.rounds)) for door in DOORS.values()]
        for name in group:
            cells = " | ".join(cell(column[name], column["bare model"]) for column in columns)
            print(f"| {name}{suffix} | {cells} |")


def contestants(prepare: Callable[[Any], Model] = lambda model: model) -> dict[str, Model]:
    """Return who is measured, each prepared (with tools bound) before its first call."""
    breaker = {"consecutive_failures": 1, "cooldown": 3600, "max_cooldown": 3600}
    ejected = FailoverChatModel(targets=[Idle(is_down=True), Idle()], policy={"breaker": breaker})
    ejected.invoke("this ejects the first one")
    return {
        "bare model": prepare(Idle()),
        "FailoverChatModel": prepare(FailoverChatModel(targets=[Idle(), Idle()])),
        "FailoverChatModel, first ejected": prepare(ejected),
        "with_fallbacks": prepare(Idle().with_fallbacks([Idle()])),
        "with_fallbacks, first down": prepare(Idle(is_down=True).with_fallbacks([Idle()])),
    }


async def measure(door: Door, models: dict[str, Model], rounds: int) -> dict[str, list[float]]:
    """Return the seconds a call of each model, round by round."""
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for number in range(rounds + 1):
        for name, model in models.items():
            started = time.perf_counter()
            for _ in range(CALLS):
                await door(model)
            if number:  # the first round warms up
                seconds[name].append((time.perf_counter() - started) / CALLS)
    return seconds


def cell(seconds: list[float], bare: list[float]) -> str:
    """Return microseconds, and times the bare model."""
    ratio = median(own / its for own, its in zip(seconds, bare, strict=True))
    return f"{median(seconds) * 1e6:.0f} µs, {ratio:.2f}×"


async def _invoke(model: Model) -> None:
    model.invoke("hello")


async def _ainvoke(model: Model) -> None:
    await model.ainvoke("hello")


async def _stream(model: Model) -> None:
    for _ in model.stream("hello"):
        pass


async def _astream(model: Model) -> None:
    async for _ in model.astream("hello"):
        pass


DOORS: dict[str, Door] = {
    "invoke": _invoke,
    "ainvoke": _ainvoke,
    f"stream, {CHUNKS} chunks": _stream,
    f"astream, {CHUNKS} chunks": _astream,
}


if __name__ == "__main__":
    main()
