"""What failover adds to a batch of embeddings: ``python -m benchmarks.llamaindex_embedding``.

``get_text_embedding_batch`` and its async form of 10,000 texts: the bare LlamaIndex embedding
beside a pool of two such. Once they do nothing but hand out vectors that are ready, which is the
dearest comparison there is, and once they are a vendor's own over HTTP, with a server that costs
next to nothing. Bare and pool take turns in every round; each cell is the median over the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.embeddings.openai_like import OpenAILikeEmbedding  # type: ignore[import-untyped]
from pydantic import PrivateAttr

from benchmarks.servers import server, texts
from llamaindex_failover import FailoverEmbedding

COUNT = 10_000
DIMENSIONS = (8, 384)
BATCHES = (100, 2048)
TEXTS = texts(COUNT)
LOOP = asyncio.Runner()
"""One for all calls: a vendor's async client belongs to the first loop that it is used in."""


class Ready(BaseEmbedding):
    """An embedding whose vectors are there already, and equal, as the canary may be any of them."""

    dimension: int
    _vectors: list[list[float]] = PrivateAttr(default_factory=list)

    def model_post_init(self, context: Any, /) -> None:
        """Make the vectors."""
        super().model_post_init(context)
        self._vectors = [[0.1] * self.dimension for _ in range(COUNT)]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._vectors[: len(texts)]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._vectors[: len(texts)]


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    logging.disable()
    print(f"| {COUNT} texts | bare, ms | pool, ms | times | CPU, times |")
    print("| --- | --- | --- | --- | --- |")
    for name, build in contestants():
        for door in (_batch, _abatch):
            print(f"| {name}, {door.__name__[1:]} | {' | '.join(measured(door, build, rounds))} |")


def contestants() -> Iterator[tuple[str, Callable[[], BaseEmbedding]]]:
    """Yield what is measured, while its server runs."""
    for dimension in DIMENSIONS:
        yield (
            f"ready vectors of {dimension}",
            lambda: Ready(dimension=dimension, embed_batch_size=BATCHES[-1]),  # noqa: B023 - called before the next one
        )
    with server(dimension=DIMENSIONS[-1]) as served:
        for size in BATCHES:
            yield (
                f"HTTP, {size} texts of {DIMENSIONS[-1]} a request",
                lambda: OpenAILikeEmbedding(
                    model_name="m",
                    api_base=served.url,
                    api_key="none",
                    max_retries=0,
                    embed_batch_size=size,  # noqa: B023 - called before the next one
                ),
            )


def measured(
    door: Callable[[BaseEmbedding], None], build: Callable[[], BaseEmbedding], rounds: int
) -> list[str]:
    """Return the cells of a row."""
    models = build(), FailoverEmbedding(targets=[build(), build()])
    wall, cpu = [], []
    for number in range(rounds + 1):
        spent = [_spent(door, model) for model in models]
        if number:  # the first round warms up
            wall.append([seconds for seconds, _ in spent])
            cpu.append([seconds for _, seconds in spent])
    bare, pool = (median(column) * 1e3 for column in zip(*wall, strict=True))
    ratios = (median(pool / bare for bare, pool in rows) for rows in (wall, cpu))
    return [f"{bare:.1f}", f"{pool:.1f}", *(f"{ratio:.2f}×" for ratio in ratios)]


def _spent(door: Callable[[BaseEmbedding], None], model: BaseEmbedding) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    door(model)
    return time.perf_counter() - wall, time.process_time() - cpu


def _batch(model: BaseEmbedding) -> None:
    model.get_text_embedding_batch(TEXTS)


def _abatch(model: BaseEmbedding) -> None:
    LOOP.run(model.aget_text_embedding_batch(TEXTS))


if __name__ == "__main__":
    main()
