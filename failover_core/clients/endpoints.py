"""What a server may offer: vectors, ranks, and its health for free."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from failover_core.clients import answers
from failover_core.clients.base import HttpClient
from failover_core.clients.descriptions import RequestLimits
from failover_core.clients.dialogue import Dialogue, Post
from failover_core.clients.wires import EmbeddingWire, RerankWire
from failover_core.embedding import Kind
from failover_core.embedding.texts import checked_texts
from failover_core.errors import (
    ConfigurationError,
    ErrorClass,
    MalformedResponseError,
    ResponseStatusError,
)
from failover_core.reranking import RankedDocument

_NO_SUCH_PATH = 404


class EmbeddingEndpoint(HttpClient):
    """A client of a server that embeds texts.

    Vectors are asked for in base64 where the protocol has it, a quarter of the bytes and a tenth
    of the time of JSON numbers. A server that ignores the wish, or refuses it and then serves the
    same request without it, is not asked again; until base64 has worked once, such a refusal
    costs one more request.
    """

    embedding_wire: ClassVar[EmbeddingWire]
    """Requests and answers that any server of the kind understands."""

    packed_wire: ClassVar[EmbeddingWire | None] = None
    """The same with vectors in base64; None if the protocol has none."""

    limits: ClassVar[RequestLimits] = RequestLimits()
    """The most that one request for vectors may hold."""

    requests_at_once: ClassVar[int] = 2
    """Requests of one job under way: one that the server computes, and one on its way there."""

    joins_calls: ClassVar[bool] = True
    """Whether texts of several calls may go into one request."""

    # None until the server has shown it. Threads may learn it twice, but only one thing.
    _speaks_base64: bool | None = None

    def embed(self, texts: Sequence[str], kind: Kind) -> NDArray[np.float32]:
        """Return one vector per text, in the order of the texts.

        Args:
            texts: no more than ``limits`` allows. No text needs no request.
            kind: what the texts are for.

        Returns:
            Finite numbers of shape ``(len(texts), dimension)``; ``(0, 0)`` for no text.

        Raises:
            ConfigurationError: ``texts`` is not a list of texts in valid Unicode.
            ResponseStatusError: the server answered with an error.
            MalformedResponseError: its answer cannot be used.
            AttemptTimeoutError: the answer was not complete in time.
            httpx.TransportError: the connection failed.
        """
        return self._run(self._embed(checked_texts(texts), kind))

    async def aembed(self, texts: Sequence[str], kind: Kind) -> NDArray[np.float32]:
        """Do what ``embed`` does."""
        return await self._arun(self._embed(checked_texts(texts), kind))

    def _check_options(self) -> None:
        if lacking := self.embedding_wire.lacks(self._settings):
            message = (
                f"{lacking}: {type(self).__name__} cannot ask its server for that; leave it out"
            )
            raise ConfigurationError(message)

    def _embed(self, texts: list[str], kind: Kind) -> Dialogue[NDArray[np.float32]]:
        if not texts:
            return np.empty((0, 0), np.float32)
        vectors = answers.matrix((yield from self._vectors(texts, kind)))
        wanted = self._settings.output_dimension or vectors.shape[1]
        if vectors.shape[1] != wanted:
            message = f"the answer's vectors have {vectors.shape[1]} numbers, not {wanted}"
            raise MalformedResponseError(message)
        return vectors

    def _vectors(self, texts: list[str], kind: Kind) -> Generator[Post, Any, list[Any]]:
        plain, packed = self.embedding_wire, self.packed_wire
        if packed is None or self._speaks_base64 is False or packed.lacks(self._settings):
            return (yield from self._ask(plain, texts, kind))
        try:
            vectors = yield from self._ask(packed, texts, kind)
        except ResponseStatusError as error:
            is_unknown_path = error.status_code == _NO_SUCH_PATH and packed.path != plain.path
            is_refusal = is_unknown_path or error.error_class is ErrorClass.INVALID_REQUEST
            if self._speaks_base64 or not is_refusal:
                raise
            vectors = yield from self._ask(plain, texts, kind)
        self._speaks_base64 = isinstance(vectors[0], str)
        return vectors

    def _ask(
        self, wire: EmbeddingWire, texts: list[str], kind: Kind
    ) -> Generator[Post, Any, list[Any]]:
        document = yield wire.post(self._settings, texts, kind)
        return wire.read(document, len(texts))


class RerankEndpoint(HttpClient):
    """A client of a server that ranks documents."""

    rerank_wire: ClassVar[RerankWire]
    """Its requests and answers."""

    rerank_limits: ClassVar[RequestLimits] = RequestLimits()
    """The most that one request for ranks may hold."""

    def rerank(
        self, query: str, documents: Sequence[str], top_n: int | None = None
    ) -> list[RankedDocument]:
        """Return the documents that fit a query, the best first.

        Args:
            query: what is asked.
            documents: what may answer it. No document needs no request.
            top_n: how many to return at the most; None for all.

        Raises:
            ConfigurationError: the query or a document is no text in valid Unicode, or ``top_n``
                is below 1.
            ResponseStatusError: the server answered with an error.
            MalformedResponseError: its answer cannot be used.
            AttemptTimeoutError: the answer was not complete in time.
            httpx.TransportError: the connection failed.
        """
        return self._run(self._rerank(query, checked_texts(documents, "documents"), top_n))

    async def arerank(
        self, query: str, documents: Sequence[str], top_n: int | None = None
    ) -> list[RankedDocument]:
        """Do what ``rerank`` does."""
        return await self._arun(self._rerank(query, checked_texts(documents, "documents"), top_n))

    def _rerank(
        self, query: str, documents: list[str], top_n: int | None
    ) -> Dialogue[list[RankedDocument]]:
        if not isinstance(query, str):
            message = f"query is {type(query).__name__}; it must be a string"
            raise ConfigurationError(message)
        wire = self.rerank_wire
        post = wire.post(self._settings, query, documents, top_n)
        if not documents:
            return []
        found = wire.found((yield post))
        return answers.ranking(found, wire.score, len(documents), top_n)


class HealthEndpoint(HttpClient):
    """A client of a server that tells its health for free."""

    health: ClassVar[Post]
    """What to ask for it."""

    def check_health(self) -> None:
        """Ask the server for its health, which costs nothing.

        Raises:
            TargetError: it is not well.
        """
        self._run(self._check_health())

    def _check_health(self) -> Dialogue[None]:
        yield self.health
