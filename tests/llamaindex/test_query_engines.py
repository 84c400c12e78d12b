"""Engines over pools: answers, events and token counts are those of the bare objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from llama_index.core.chat_engine import (
    CondensePlusContextChatEngine,
    CondenseQuestionChatEngine,
    ContextChatEngine,
)
from llama_index.core.query_engine import (
    RetrieverQueryEngine,
    RouterQueryEngine,
    SubQuestionQueryEngine,
)
from llama_index.core.question_gen.types import BaseQuestionGenerator, SubQuestion
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.retrievers import QueryFusionRetriever, RouterRetriever
from llama_index.core.retrievers.fusion_retriever import FUSION_MODES
from llama_index.core.schema import QueryBundle
from llama_index.core.selectors import EmbeddingSingleSelector, PydanticSingleSelector
from llama_index.core.tools import QueryEngineTool, RetrieverTool, ToolMetadata

from failover_core.testing import FaultServer
from tests.llamaindex.stacks import FACTS, Observed, Stack, Stacks, observed

# LlamaIndex's memory of a conversation leaves its database open.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    # The database of LlamaIndex's chat memory may answer when the loop of its test is closed.
    pytest.mark.filterwarnings(
        "ignore:.*_connection_worker_thread:pytest.PytestUnhandledThreadExceptionWarning"
    ),
]

Servers = tuple[FaultServer, FaultServer]
Application = Callable[[Stack], Awaitable[list[Any]]]

NET, BREAD = "Who mends the net?", "Who bakes bread?"
FOUND = {NET: FACTS[1], BREAD: FACTS[2]}


class BothQuestions(BaseQuestionGenerator):
    """Asks the same two sub-questions of one engine, whatever is asked."""

    def generate(self, tools: Any, query: QueryBundle) -> list[SubQuestion]:
        return [SubQuestion(sub_question=one, tool_name="facts") for one in FOUND]

    async def agenerate(self, tools: Any, query: QueryBundle) -> list[SubQuestion]:
        return self.generate(tools, query)

    def _get_prompts(self) -> dict[str, Any]:
        return {}

    def _update_prompts(self, prompts: Any) -> None:
        pass


def engine_over(stack: Stack, retriever: Any = None, **options: Any) -> RetrieverQueryEngine:
    return RetrieverQueryEngine.from_args(
        retriever or stack.retriever,
        llm=stack.llm,
        node_postprocessors=[stack.rerank],
        callback_manager=stack.manager,
        **options,
    )


def told(response: Any) -> Any:
    """Return a response's text and its sources, without the report of who ranked them."""
    sources = [(node.node_id, node.get_content(), node.score) for node in response.source_nodes]
    return str(response), sources


async def query(stack: Stack) -> list[Any]:
    engine = engine_over(stack)
    return [told(engine.query(question)) for question in FOUND]


async def aquery(stack: Stack) -> list[Any]:
    engine = engine_over(stack)
    return [told(await engine.aquery(question)) for question in FOUND]


async def stream(stack: Stack) -> list[Any]:
    engine = engine_over(stack, streaming=True)
    responses: list[Any] = [engine.query(question) for question in FOUND]
    return [list(response.response_gen) for response in responses]


async def astream(stack: Stack) -> list[Any]:
    engine, tokens = engine_over(stack, streaming=True), []
    for question in FOUND:
        response: Any = await engine.aquery(question)
        tokens.append([token async for token in response.async_response_gen()])
    return tokens


async def refine(stack: Stack) -> list[Any]:
    engine = engine_over(stack, response_mode="refine")
    return [told(engine.query(NET)), told(await engine.aquery(NET))]


async def condense_question(stack: Stack) -> list[Any]:
    chat = CondenseQuestionChatEngine.from_defaults(
        query_engine=engine_over(stack, streaming=True), llm=stack.llm
    )
    answers = [str(chat.chat(NET)), str(await chat.achat(BREAD))]
    answers.append("".join(chat.stream_chat(NET).response_gen))
    return [*answers, [message.content for message in chat.chat_history]]


async def context_chat(stack: Stack) -> list[Any]:
    chat = ContextChatEngine.from_defaults(
        retriever=stack.retriever, llm=stack.llm, node_postprocessors=[stack.rerank]
    )
    answers = [str(chat.chat(NET)), str(await chat.achat(BREAD))]
    response = await chat.astream_chat(NET)
    answers.append("".join([token async for token in response.async_response_gen()]))
    return [*answers, [message.content for message in chat.chat_history]]


async def condense_plus_context(stack: Stack) -> list[Any]:
    chat = CondensePlusContextChatEngine.from_defaults(
        retriever=stack.retriever, llm=stack.llm, node_postprocessors=[stack.rerank]
    )
    return [str(chat.chat(NET)), str(await chat.achat(BREAD))]


def sub_questions_over(stack: Stack) -> SubQuestionQueryEngine:
    facts = ToolMetadata(name="facts", description="facts about a harbour")
    return SubQuestionQueryEngine(
        question_gen=BothQuestions(),
        response_synthesizer=get_response_synthesizer(
            llm=stack.llm, callback_manager=stack.manager
        ),
        query_engine_tools=[QueryEngineTool(engine_over(stack), metadata=facts)],
        callback_manager=stack.manager,
        verbose=False,
        use_async=False,
    )


async def sub_question(stack: Stack) -> list[Any]:
    return [str(sub_questions_over(stack).query("Who mends, and who bakes?"))]


async def asub_question(stack: Stack) -> list[Any]:
    return [str(await sub_questions_over(stack).aquery("Who mends, and who bakes?"))]


async def fusion(stack: Stack) -> list[Any]:
    # Not the sync door: there, bare retrievers hand their query vector on to the next one.
    fused = QueryFusionRetriever(
        [stack.retriever, stack.retriever],
        llm=stack.llm,
        num_queries=2,
        mode=FUSION_MODES.RECIPROCAL_RANK,
        callback_manager=stack.manager,
    )
    return [told(await engine_over(stack, fused).aquery(NET))]


async def router(stack: Stack) -> list[Any]:
    llm: Any = stack.llm
    tools = [
        QueryEngineTool.from_defaults(engine_over(stack), description=f"about {about}")
        for about in ("bakers and their bread", "fishermen and their net")
    ]
    answers = []
    for selector in (
        EmbeddingSingleSelector.from_defaults(embed_model=stack.embedding),
        PydanticSingleSelector.from_defaults(llm=llm),
    ):
        routed = RouterQueryEngine.from_defaults(tools, llm=stack.llm, selector=selector)
        answers += [told(routed.query(NET)), told(await routed.aquery(NET))]
    return answers


async def router_retriever(stack: Stack) -> list[Any]:
    tools = [
        RetrieverTool.from_defaults(stack.retriever, description=f"about {about}")
        for about in ("bakers and their bread", "fishermen and their net")
    ]
    selector = EmbeddingSingleSelector.from_defaults(embed_model=stack.embedding)
    routed = RouterRetriever.from_defaults(tools, llm=stack.llm, selector=selector)
    return [told(engine_over(stack, routed).query(NET))]


APPLICATIONS: list[Application] = [
    query,
    aquery,
    stream,
    astream,
    refine,
    condense_question,
    context_chat,
    condense_plus_context,
    sub_question,
    asub_question,
    fusion,
    router,
    router_retriever,
]
CHATS = {condense_question, context_chat, condense_plus_context}
STREAMS = {stream, astream, condense_question, context_chat}
UNORDERED = {asub_question, fusion} | STREAMS
"""Their events come in any order: some are concurrent, and a stream of an older LlamaIndex begins
before it is read."""


async def seen(application: Application, stack: Stack) -> Observed:
    seen = await observed(application, stack)
    if application in UNORDERED:
        seen.events.sort()
    return seen


@pytest.fixture
def stacks(servers: Servers) -> Iterator[Stacks]:
    stacks = Stacks(servers)
    yield stacks
    stacks.close()


@pytest.fixture(params=APPLICATIONS, ids=lambda application: application.__name__)
def application(request: pytest.FixtureRequest) -> Application:
    chosen: Application = request.param
    if chosen in CHATS:
        request.getfixturevalue("memory")
    return chosen


@pytest.mark.parametrize("over", ["objects", "URLs"])
async def test_over_healthy_pools_all_is_as_over_the_bare_objects(
    stacks: Stacks, application: Application, over: str
) -> None:
    bare = await seen(application, stacks.bare())

    pooled = await seen(application, stacks.pooled(over=over))

    assert pooled == bare


@pytest.mark.parametrize("over", ["objects", "URLs"])
async def test_over_an_ejected_primary_all_is_as_over_the_bare_objects(
    servers: Servers, stacks: Stacks, application: Application, over: str
) -> None:
    bare = await seen(application, stacks.bare())
    stack = stacks.pooled(over=over)
    servers[0].stop()
    await application(stack)

    pooled = await seen(application, stack)

    assert pooled == bare


async def test_while_the_primary_dies_answers_and_costs_are_those_of_the_bare_objects(
    servers: Servers, stacks: Stacks, application: Application
) -> None:
    bare = await seen(application, stacks.bare())
    servers[0].stop()

    pooled = await seen(application, stacks.pooled())

    assert pooled.answers == bare.answers
    assert pooled.tokens == bare.tokens
    ends = [name for name in bare.events if name.endswith("EndEvent")]
    assert [name for name in pooled.events if name.endswith("EndEvent")] == ends
    left_open = Counter(pooled.events) - Counter(bare.events)
    assert left_open
    assert all(name in {"ExceptionEvent", "SpanDropEvent"} or "Start" in name for name in left_open)


async def test_the_answers_are_the_facts(stacks: Stacks) -> None:
    answers = await query(stacks.pooled())

    assert [answer for answer, _ in answers] == list(FOUND.values())
