"""Servers, one of them dead if the test asks for it, and what listens to LlamaIndex's events."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import llama_index.core
import pytest

# Without it, tokenizers and splitters look on the network for what the package carries.
os.environ.setdefault(
    "TIKTOKEN_CACHE_DIR", str(Path(llama_index.core.__file__).parent / "_static/tiktoken_cache")
)

from failover_core.testing import FaultServer
from llamaindex_failover import FailoverLLM
from tests.llamaindex.listening import Heard, listening


@pytest.fixture
def servers() -> Iterator[tuple[FaultServer, FaultServer]]:
    """Two servers, healthy until told otherwise."""
    with ExitStack() as stack:
        yield stack.enter_context(FaultServer()), stack.enter_context(FaultServer())


@pytest.fixture(params=["healthy", "dead primary"])
def pair(
    request: pytest.FixtureRequest, servers: tuple[FaultServer, FaultServer]
) -> tuple[FaultServer, FaultServer]:
    """Two servers, the first of which is dead in half of the tests."""
    if request.param == "dead primary":
        servers[0].stop()
    return servers


@pytest.fixture
def urls(pair: tuple[FaultServer, FaultServer]) -> list[str]:
    """The base URLs of the pair."""
    return [server.url for server in pair]


@pytest.fixture
def llm_over() -> Iterator[Callable[..., FailoverLLM]]:
    """Make LLMs over servers, or their URLs, whose connections are closed after the test."""
    with ExitStack() as stack:

        def build(servers: Sequence[FaultServer | str], **options: Any) -> FailoverLLM:
            urls = [one if isinstance(one, str) else one.url for one in servers]
            llm = FailoverLLM.from_urls(urls, **({"model": "m"} | options))
            stack.callback(llm.router.close)
            return llm

        yield build


@pytest.fixture
def llm(urls: list[str], llm_over: Callable[..., FailoverLLM]) -> FailoverLLM:
    """An LLM over the pair that can call tools."""
    return llm_over(urls, is_function_calling_model=True)


@pytest.fixture
def heard() -> Iterator[Heard]:
    """The events that LlamaIndex's dispatcher emits during the test."""
    with listening() as heard:
        yield heard


@pytest.fixture
def memory() -> Iterator[None]:
    """Clear away the database that LlamaIndex's memory of a conversation leaves open."""
    yield
    _clear_away()


@pytest.fixture(scope="module")
def memories() -> Iterator[None]:
    """Do what ``memory`` does, after all tests of a module that ignore ResourceWarnings."""
    yield
    _clear_away()


def _clear_away() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
