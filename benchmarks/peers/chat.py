"""Chat models that people use otherwise. Nothing of ours is imported here: one has our name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from benchmarks.harness.turns import AsyncCall, Call, Turn
from benchmarks.peers.idle import Idle
from benchmarks.peers.jobs import Job, async_turn, sync_turn

OPENAI = "langchain-openai"
LITELLM = "litellm Router"
LANGCHAIN_LITELLM = "langchain-litellm's router"
PYPI = "langchain-failover of PyPI"

HELLO = "hello"
_SECONDS = 30
_NOBODY = "http://127.0.0.1:9"
_MESSAGES = [{"role": "user", "content": HELLO}]


@dataclass(frozen=True, slots=True)
class Chat:
    """How a contestant chats; streams are read to their end."""

    invoke: Call
    ainvoke: AsyncCall
    stream: Call
    astream: AsyncCall


def model(url: str, chunks: int, *, is_down: bool = False) -> Any:
    """Return a LangChain model: of the server at a URL, an idle one without."""
    if not url:
        return Idle(chunks=chunks, is_down=is_down)
    return import_module("langchain_openai").ChatOpenAI(
        model="m",
        base_url=_NOBODY if is_down else url,
        api_key="none",
        max_tokens=chunks,
        max_retries=0,
        timeout=_SECONDS,
    )


def chat_turn(chat: Chat, job: Job) -> Turn:
    """Return a contestant's turn of a job."""
    call = getattr(chat, job.door)
    return async_turn(call, job) if job.is_async else sync_turn(call, job)


def peer_turn(name: str, url: str, job: Job) -> Turn:
    """Return a peer's turn; a worker calls this."""
    return chat_turn(_BUILD[name](url, job.size), job)


def of_langchain(one: Any) -> Chat:
    """Return the doors of a LangChain model."""
    return Chat(
        lambda: one.invoke(HELLO),
        lambda: one.ainvoke(HELLO),
        lambda: _read(one.stream(HELLO)),
        lambda: _aread(one.astream(HELLO)),
    )


def of_agent(one: Any) -> Chat:
    """Return the doors of a LangChain agent."""
    state = {"messages": _MESSAGES}
    return Chat(
        lambda: one.invoke(state),
        lambda: one.ainvoke(state),
        lambda: _read(one.stream(state)),
        lambda: _aread(one.astream(state)),
    )


def _read(chunks: Iterable[object]) -> None:
    for _ in chunks:
        pass


async def _aread(chunks: AsyncIterator[object]) -> None:
    async for _ in chunks:
        pass


def _router(url: str, chunks: int) -> Any:
    parameters = {
        "model": "openai/m",
        "api_base": url,
        "api_key": "none",
        "max_tokens": chunks,
        "timeout": _SECONDS,
    }
    two = [{"model_name": "m", "litellm_params": dict(parameters)} for _ in range(2)]
    return import_module("litellm").Router(model_list=two)


def _litellm(url: str, chunks: int) -> Chat:
    router = _router(url, chunks)
    asked: dict[str, Any] = {"model": "m", "messages": _MESSAGES}

    async def astream() -> None:
        await _aread(await router.acompletion(stream=True, **asked))

    return Chat(
        lambda: router.completion(**asked),
        lambda: router.acompletion(**asked),
        lambda: _read(router.completion(stream=True, **asked)),
        astream,
    )


def _langchain_litellm(url: str, chunks: int) -> Chat:
    build = import_module("langchain_litellm").ChatLiteLLMRouter
    return of_langchain(build(router=_router(url, chunks), model_name="m"))


def _pypi(url: str, chunks: int) -> Chat:
    build = import_module("langchain_failover").FailoverChatModel
    return of_langchain(build(primary=model(url, chunks), secondary=model(url, chunks)))


_BUILD: dict[str, Callable[[str, int], Chat]] = {
    LITELLM: _litellm,
    LANGCHAIN_LITELLM: _langchain_litellm,
    PYPI: _pypi,
}
