"""What a process pays before its first answer: time to import, memory, the first call."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from benchmarks.harness.comparing import figure
from benchmarks.harness.processes import printed
from benchmarks.harness.records import (
    NOT_INSTALLED,
    Effort,
    Goal,
    Plot,
    Row,
    Section,
    Series,
    Shape,
    Table,
)
from benchmarks.servers import server

TEXT = """
Every line is an interpreter of its own, in which what the application has anyway was imported
first; all take turns. Memory is what is resident in addition. The first call embeds one text
through a local server: the import, the object, the connection and the answer.
"""

_LANGCHAIN = """
from langchain_core.documents import BaseDocumentCompressor
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.retrievers import BaseRetriever
"""
_LLAMAINDEX = "import llama_index.core"
_MEASURED = """
import os, sys, time
URL = sys.argv[3]
def held():
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:  # only Linux has it; others say the peak
        import resource
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
exec(sys.argv[1])
before, started = held(), time.perf_counter()
exec(sys.argv[2])
print(time.perf_counter() - started, held() - before)
"""


@dataclass(frozen=True, slots=True)
class Start:
    """Code that is timed, after code that is not.

    Attributes:
        name: of the row.
        code: what is timed.
        base: what is run before.
        other: a folder of distributions that must not meet us.
        goal: of the seconds.
    """

    name: str
    code: str
    base: str = ""
    other: str = ""
    goal: Goal | None = None


_IMPORTS = (
    Start(
        "failover_core, over httpx and pydantic",
        "import failover_core; failover_core.Router",
        "import httpx; from pydantic import BaseModel",
        goal=Goal(
            at_most=0.060,
            why="pydantic's own modules, asyncio and some forty dataclasses",
        ),
    ),
    Start("httpx and pydantic", "import httpx; from pydantic import BaseModel"),
    Start(
        "langchain_failover, over langchain-core",
        "from langchain_failover import FailoverChatModel, FailoverEmbeddings, FailoverReranker",
        _LANGCHAIN,
    ),
    Start(
        "langchain-openai, over langchain-core",
        "from langchain_openai import ChatOpenAI, OpenAIEmbeddings",
        _LANGCHAIN,
    ),
    Start(
        "langchain-litellm, over langchain-core",
        "from langchain_litellm import ChatLiteLLMRouter",
        _LANGCHAIN,
    ),
    Start(
        "langchain-failover of PyPI, over langchain-core",
        "from langchain_failover import FailoverChatModel",
        _LANGCHAIN,
        other="langchain-failover",
    ),
    Start("langchain-core", _LANGCHAIN),
    Start(
        "llamaindex_failover, over llama-index-core",
        "from llamaindex_failover import FailoverEmbedding, FailoverLLM, FailoverRerank",
        _LLAMAINDEX,
    ),
    Start(
        "llama-index OpenAI, over llama-index-core",
        "from llama_index.embeddings.openai import OpenAIEmbedding\n"
        "from llama_index.llms.openai_like import OpenAILike",
        _LLAMAINDEX,
    ),
    Start("llama-index-core", _LLAMAINDEX),
    Start("litellm", "import litellm"),
    Start("tenacity", "import tenacity"),
    Start("stamina", "import stamina"),
    Start("pybreaker", "import pybreaker"),
    Start("purgatory", "import purgatory"),
)

_CALLS = (
    Start(
        "FailoverEmbeddings (LangChain)",
        "from langchain_failover import FailoverEmbeddings\n"
        "FailoverEmbeddings.from_urls(URL, model='m').embed_query('hello')",
    ),
    Start(
        "FailoverEmbedding (LlamaIndex)",
        "from llamaindex_failover import FailoverEmbedding\n"
        "FailoverEmbedding.from_urls(URL, model='m').get_query_embedding('hello')",
    ),
    Start(
        "langchain-openai",
        "from langchain_openai import OpenAIEmbeddings\n"
        "OpenAIEmbeddings(model='m', base_url=URL, api_key='none', "
        "check_embedding_ctx_length=False).embed_query('hello')",
    ),
    Start(
        "llama-index OpenAI",
        "from llama_index.embeddings.openai import OpenAIEmbedding\n"
        "OpenAIEmbedding(model_name='m', api_base=URL, api_key='none').get_query_embedding('hi')",
    ),
    Start(
        "litellm",
        "import litellm\n"
        "litellm.embedding(model='openai/m', api_base=URL, api_key='none', input=['hello'])",
    ),
    Start(
        "httpx",
        "import httpx\n"
        "httpx.post(URL + '/embeddings', json={'model': 'm', 'input': ['hello']}).json()",
    ),
)


def measure(effort: Effort) -> Section:
    """Import everything, and make first calls."""
    firsts = _CALLS if effort is Effort.FULL else _CALLS[:3]
    with server() as running:
        imports = _measured(_IMPORTS, running.url, effort.of(9, quick=1))
        calls = _measured(firsts, running.url, effort.of(5, quick=1))
    tables = (
        Table("Import", ("", "time", "memory"), tuple(_rows(_IMPORTS, imports))),
        Table("Import and first call", ("", "time", "memory"), tuple(_rows(firsts, calls))),
    )
    return Section("Import, memory, the first call", TEXT, tables, (_plot(imports),))


Measured = dict[str, list[tuple[float, float]]]


def _measured(starts: Iterable[Start], url: str, rounds: int) -> Measured:
    """Return seconds and MiB of each round; nothing of what is not installed."""
    found: Measured = {}
    missing = set()
    warming = rounds > 1
    for number in range(rounds + warming):
        for one in starts:
            if one.name in missing:
                continue
            try:
                shown = printed(_MEASURED, one.base, one.code, url, other=one.other)
            except ImportError:
                missing.add(one.name)
                continue
            if number >= warming:  # the first round warms the file system's cache
                seconds, grown = map(float, shown.split())
                found.setdefault(one.name, []).append((seconds, grown))
    return found


def _rows(starts: Iterable[Start], found: Measured) -> Iterable[Row]:
    for one in starts:
        if one.name not in found:
            yield Row(one.name, (NOT_INSTALLED, ""))
            continue
        seconds, grown = zip(*found[one.name], strict=True)
        yield Row(one.name, (figure(seconds, "s", one.goal), figure(grown, "MiB")))


def _plot(found: Measured) -> Plot:
    seconds = tuple(median(one for one, _ in rounds) * 1e3 for rounds in found.values())
    series = (Series("import", seconds, tuple(found), is_ours=True),)
    return Plot("imports", "Time to import", "", "ms", series, Shape.BARS)
