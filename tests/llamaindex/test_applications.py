"""Whole applications of LlamaIndex: they answer the same with a healthy and with a dead primary."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.chat_engine import CondenseQuestionChatEngine
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import MetadataMode

from failover_core.testing import FaultServer
from llamaindex_failover import FailoverEmbedding, FailoverLLM, FailoverRerank, FailoverRetriever

Servers = tuple[FaultServer, FaultServer]

FACTS = [
    "The lighthouse keeper lights the lamp at dusk.",
    "The fisherman mends his net in the harbour.",
    "The baker bakes bread before the sun rises.",
    "The gardener plants roses along the wall.",
]
QUESTIONS = {
    "Who mends the net?": FACTS[1],
    "Who bakes bread?": FACTS[2],
    "Who plants roses?": FACTS[3],
}


@pytest.fixture
def embedding(urls: list[str]) -> Iterator[FailoverEmbedding]:
    embedding = FailoverEmbedding.from_urls(urls, model="m")
    yield embedding
    embedding.router.close()


@pytest.fixture
def rerank(urls: list[str]) -> Iterator[FailoverRerank]:
    rerank = FailoverRerank.from_urls(urls, model="m", top_n=1)
    yield rerank
    rerank.router.close()


@pytest.fixture
def index(embedding: FailoverEmbedding) -> VectorStoreIndex:
    return VectorStoreIndex.from_documents(
        [Document(text=fact) for fact in FACTS], embed_model=embedding
    )


@pytest.fixture
def engine(
    index: VectorStoreIndex, rerank: FailoverRerank, llm: FailoverLLM
) -> RetrieverQueryEngine:
    retriever = FailoverRetriever([index.as_retriever(similarity_top_k=3)])
    return RetrieverQueryEngine.from_args(retriever, llm=llm, node_postprocessors=[rerank])


@pytest.fixture
def streaming_engine(
    index: VectorStoreIndex, rerank: FailoverRerank, llm: FailoverLLM
) -> RetrieverQueryEngine:
    return RetrieverQueryEngine.from_args(
        index.as_retriever(), llm=llm, node_postprocessors=[rerank], streaming=True
    )


async def test_a_query_engine_answers(engine: RetrieverQueryEngine) -> None:
    for question, fact in QUESTIONS.items():
        assert str(engine.query(question)) == fact
        assert str(await engine.aquery(question)) == fact


async def test_a_query_engine_streams(streaming_engine: RetrieverQueryEngine) -> None:
    for question, fact in QUESTIONS.items():
        assert str(streaming_engine.query(question)) == fact
        response = await streaming_engine.aquery(question)
        tokens = [token async for token in response.async_response_gen()]  # type: ignore[union-attr]
        assert "".join(tokens) == fact


@pytest.mark.usefixtures("memory")
async def test_a_chat_engine_condenses_and_answers(
    engine: RetrieverQueryEngine, llm: FailoverLLM
) -> None:
    chat = CondenseQuestionChatEngine.from_defaults(query_engine=engine, llm=llm)

    assert str(chat.chat("Who mends the net?"))
    assert str(await chat.achat("Who bakes bread?"))
    assert "".join(chat.stream_chat("Who plants roses?").response_gen)
    assert len(chat.chat_history) == 6


async def test_an_ingestion_pipeline_embeds_every_node(
    embedding: FailoverEmbedding, pair: Servers
) -> None:
    documents = [Document(text=fact) for fact in FACTS]
    splitter = SentenceSplitter(chunk_size=64, chunk_overlap=0)

    nodes = IngestionPipeline(transformations=[splitter, embedding]).run(documents=documents)
    later = await IngestionPipeline(transformations=[splitter, embedding]).arun(documents=documents)

    assert [node.get_content() for node in nodes] == FACTS
    assert [node.embedding for node in nodes] == [node.embedding for node in later]
    bare = FailoverEmbedding.from_urls(pair[1].url, model="m")
    assert nodes[0].embedding == bare.get_text_embedding(FACTS[0])
    bare.router.close()


def test_a_server_that_dies_at_work_costs_no_answer(
    servers: Servers, engine: RetrieverQueryEngine
) -> None:
    questions = list(QUESTIONS.items()) * 6

    for number, (question, fact) in enumerate(questions):
        if number == 5:
            servers[0].stop()
        if number == 12:
            servers[0].start()
            servers[1].stop()
        assert str(engine.query(question)) == fact


async def test_concurrent_questions_survive_a_server_that_dies(
    servers: Servers, engine: RetrieverQueryEngine
) -> None:
    asked = [asyncio.create_task(engine.aquery(question)) for question in [*QUESTIONS] * 8]
    await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    servers[0].stop()

    answers = [str(await task) for task in asked]

    assert answers == [*QUESTIONS.values()] * 8


def test_the_answer_names_the_reranker_and_prompts_do_not(
    engine: RetrieverQueryEngine, pair: Servers
) -> None:
    response = engine.query("Who mends the net?")

    (source,) = response.source_nodes
    assert source.metadata["failover"]["model"] == "m"
    assert "failover" not in source.get_content(metadata_mode=MetadataMode.LLM)
    prompts = [r for r in pair[1].requests if r.path.endswith("/chat/completions")]
    assert all("attempts" not in str(prompt.body) for prompt in prompts)
