"""What people put before two servers so that one may die. Nothing of ours is imported here.

Each asks the first server first, if it has an order. Retries beyond the other server are switched
off where that is possible: they would only prolong the wait for a dead one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Any

from benchmarks.harness.turns import Call
from benchmarks.peers.chat import HELLO, LANGCHAIN_LITELLM, LITELLM, PYPI
from benchmarks.peers.routers import MODEL, in_a_group, in_order

Build = Callable[[Sequence[str], float], Call]
"""Of the servers' URLs and the seconds of an attempt."""

_MESSAGES = [{"role": "user", "content": HELLO}]
_FAILURES = 5
"""In a row, after which breakers open: ours, and what theirs are told."""


def chat_models(urls: Sequence[str], seconds: float) -> list[Any]:
    """Return langchain-openai's models of the servers."""
    build = import_module("langchain_openai").ChatOpenAI
    shared = {"model": MODEL, "api_key": "none", "timeout": seconds, "max_retries": 0}
    return [build(base_url=url, **shared) for url in urls]


def embeddings(urls: Sequence[str], seconds: float) -> list[Any]:
    """Return langchain-openai's embeddings of the servers."""
    build = import_module("langchain_openai").OpenAIEmbeddings
    shared = {"model": MODEL, "api_key": "none", "timeout": seconds, "max_retries": 0}
    # With the check it would split texts by a tokeniser that it downloads.
    shared["check_embedding_ctx_length"] = False
    return [build(base_url=url, **shared) for url in urls]


def _with_fallbacks(urls: Sequence[str], seconds: float) -> Call:
    first, *others = chat_models(urls, seconds)
    chain = first.with_fallbacks(others)
    return lambda: chain.invoke(HELLO)


def _middleware(urls: Sequence[str], seconds: float) -> Call:
    first, *others = chat_models(urls, seconds)
    fallback = import_module("langchain.agents.middleware").ModelFallbackMiddleware(*others)
    agent = import_module("langchain.agents").create_agent(first, middleware=[fallback])
    return lambda: agent.invoke({"messages": _MESSAGES})


def _pypi(urls: Sequence[str], seconds: float) -> Call:
    first, second = chat_models(urls, seconds)
    one = import_module("langchain_failover").FailoverChatModel(primary=first, secondary=second)
    return lambda: one.invoke(HELLO)


def _litellm(urls: Sequence[str], seconds: float) -> Call:
    router = in_a_group(urls, seconds)
    return lambda: router.completion(MODEL, _MESSAGES)


def _litellm_fallbacks(urls: Sequence[str], seconds: float) -> Call:
    router = in_order(urls, seconds)
    return lambda: router.completion(MODEL, _MESSAGES)


def _langchain_litellm(urls: Sequence[str], seconds: float) -> Call:
    build = import_module("langchain_litellm").ChatLiteLLMRouter
    one = build(router=in_a_group(urls, seconds), model_name=MODEL)
    return lambda: one.invoke(HELLO)


def _one_after_the_other(urls: Sequence[str], seconds: float) -> Call:
    children = embeddings(urls, seconds)

    def embed() -> object:
        for child in children[:-1]:
            with suppress(Exception):
                return child.embed_query(HELLO)
        return children[-1].embed_query(HELLO)

    return embed


def _litellm_embeddings(urls: Sequence[str], seconds: float) -> Call:
    router = in_a_group(urls, seconds)
    return lambda: router.embedding(MODEL, [HELLO])


def _langchain_litellm_embeddings(urls: Sequence[str], seconds: float) -> Call:
    build = import_module("langchain_litellm").LiteLLMEmbeddingsRouter
    one = build(router=in_a_group(urls, seconds))
    return lambda: one.embed_query(HELLO)


def _posts(urls: Sequence[str], seconds: float) -> list[Call]:
    """Return what asks each server for an answer, through a client of its own."""
    httpx = import_module("httpx")

    def post(client: Any) -> object:
        asked = {"model": MODEL, "messages": _MESSAGES}
        return client.post("/chat/completions", json=asked).raise_for_status().json()

    return [partial(post, httpx.Client(base_url=url, timeout=seconds)) for url in urls]


def _tenacity(urls: Sequence[str], seconds: float) -> Call:
    tenacity = import_module("tenacity")
    posts = _posts(urls, seconds)
    ask = tenacity.retry(stop=tenacity.stop_after_attempt(len(posts)), reraise=True)(_next)
    return lambda: ask(posts[:])


def _stamina(urls: Sequence[str], seconds: float) -> Call:
    stamina, failed = import_module("stamina"), import_module("httpx").HTTPError
    posts = _posts(urls, seconds)
    ask = stamina.retry(on=failed, attempts=len(posts), wait_initial=0, wait_jitter=0)(_next)
    return lambda: ask(posts[:])


def _next(left: list[Call]) -> object:
    return left.pop(0)()


def _pybreaker(urls: Sequence[str], seconds: float) -> Call:
    breaker = import_module("pybreaker").CircuitBreaker(fail_max=_FAILURES)
    first, second = _posts(urls, seconds)

    def ask() -> object:
        with suppress(Exception):
            return breaker.call(first)
        return second()

    return ask


def _purgatory(urls: Sequence[str], seconds: float) -> Call:
    factory = import_module("purgatory").SyncCircuitBreakerFactory(default_threshold=_FAILURES)
    first, second = _posts(urls, seconds)

    def ask() -> object:
        with suppress(Exception), factory.get_breaker("first"):
            return first()
        return second()

    return ask


PAIRS: dict[str, Build] = {
    "chat: .with_fallbacks()": _with_fallbacks,
    "chat: ModelFallbackMiddleware, in an agent": _middleware,
    f"chat: {PYPI}": _pypi,
    f"chat: {LITELLM}, one group": _litellm,
    f"chat: {LITELLM}, fallbacks": _litellm_fallbacks,
    f"chat: {LANGCHAIN_LITELLM}": _langchain_litellm,
    "chat: httpx, tenacity": _tenacity,
    "chat: httpx, stamina": _stamina,
    "chat: httpx, pybreaker": _pybreaker,
    "chat: httpx, purgatory": _purgatory,
    "embed: langchain-openai, one after the other": _one_after_the_other,
    f"embed: {LITELLM}": _litellm_embeddings,
    f"embed: {LANGCHAIN_LITELLM}": _langchain_litellm_embeddings,
}
