"""``FailoverEmbedding``: one embedding for LlamaIndex out of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from pydantic import PrivateAttr, computed_field

from failover_core import Router, Strategy
from failover_core.children import UnfitError, check_one_model
from failover_core.config import embedding_arguments, with_url_clients
from failover_core.embedding import Embedder, EmbeddingClient, Kind
from failover_core.targets import model_of
from llamaindex_failover.components import FailoverComponent, Policy, build_router, child_of

_WANTED = (
    "give an embedding of LlamaIndex (a subclass of BaseEmbedding), a client of this library "
    "such as InfinityClient, or a URL"
)
_UNKNOWN = "unknown"
_DEFAULT_BATCH_SIZE = 256
_SHAPES_VECTORS = (
    "dimensions",
    "embed_dim",
    "mode",
    "normalize",
    "pooling",
    "query_instruction",
    "text_instruction",
)


class FailoverEmbedding(FailoverComponent, BaseEmbedding):
    """An embedding that asks the first of several embeddings that can answer.

    ``pip install "rag-failover[llamaindex]"``

    Example:
        >>> Settings.embed_model = FailoverEmbedding.from_urls(
        ...     "http://a:7997,http://b:7997", model="BAAI/bge-m3"
        ... )

    All targets must embed into one vector space: with the same model, which is compared where
    the targets name it, and the same dimension. Each batch fails over by itself. Events are
    emitted once, by this embedding; a wrapped embedding's rate limiter is asked, its
    ``embeddings_cache`` is not: give the cache to this one.

    Attributes:
        targets: embeddings, clients of this library, URLs (which need ``model_name``), or a
            ``Target`` of one of the first two.
        model_name: the model, whatever the targets call it. Default: what they say.
        dimension: of the vectors. Default: that of the first answer.
        embed_batch_size: texts per request. Default: the smallest of the wrapped embeddings',
            or 256.

    Raises:
        ConfigurationError: a target is no embedding, or the targets name different models.
    """

    dimension: int | None = None
    """Length of each vector; an answer with another one is an error of its target."""

    _embedder: Embedder = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Build the router, and take over what the targets say of themselves."""
        super().model_post_init(context)
        children = [child_of(target) for target in self.router.targets]
        self._fill_in("model_name", model_of(children[0]) or _UNKNOWN)
        sizes = [getattr(child, "embed_batch_size", _DEFAULT_BATCH_SIZE) for child in children]
        self._fill_in("embed_batch_size", min(sizes))
        self._embedder = Embedder(
            self.router.begin, dimension=self.dimension, batch_size=self.embed_batch_size
        )

    @classmethod
    def class_name(cls) -> str:
        """Return the name of the class in dumps."""
        return "FailoverEmbedding"

    @classmethod
    def from_urls(
        cls,
        urls: str | Sequence[str],
        *,
        model: str,
        provider: str = "infinity",
        api_key: str | Sequence[str] | None = None,
        dimension: int | None = None,
        embed_batch_size: int = _DEFAULT_BATCH_SIZE,
        policy: Policy = None,
        strategy: str | Strategy = "priority",
        **client_options: Any,
    ) -> Self:
        """Return an embedding over servers.

        Args:
            urls: base URLs, in a list or in one text with commas.
            model: the model, the same on every server.
            provider: whose protocol they speak: ``"infinity"`` or ``"openai"``.
            api_key: one key, or several paired with the URLs, the last one also for the rest;
                ``"${NAME}"`` reads it from an environment variable.
            dimension: of the vectors, if it is known beforehand.
            embed_batch_size: texts per request.
            policy: a FailoverPolicy or a dict of its settings.
            strategy: in which order targets are considered.
            **client_options: such as ``timeout`` in seconds; see ``ClientSettings``.

        Raises:
            ConfigurationError: a URL, key or option cannot be used.
        """
        return cls(
            targets=with_url_clients(
                urls, model=model, provider=provider, api_key=api_key, **client_options
            ),
            model_name=model,
            dimension=dimension,
            embed_batch_size=embed_batch_size,
            policy=policy,
            strategy=strategy,
        )

    @classmethod
    def from_env(cls, **settings: Any) -> Self:
        """Return an embedding over what the environment names.

        ``EMBEDDING_PROVIDER``, ``EMBEDDING_MODEL``, ``EMBEDDING_DIMENSION``, and the provider's
        own variables, such as ``INFINITY_BASE_URL`` (commas between several).

        Args:
            **settings: arguments of ``from_urls`` that come before the environment.

        Raises:
            ConfigurationError: a variable is missing or cannot be used.
        """
        return cls.from_urls(**(embedding_arguments() | settings))

    @computed_field(repr=False)  # type: ignore[prop-decorator]
    @property
    def space(self) -> str:
        """What the vectors depend on: model, dimension and the first target's ways, no secret.

        LlamaIndex's ingestion cache takes it out of the dump: an embedding into another space
        must not get the vectors of this one, and one on other servers should.
        """
        child = child_of(self.router.targets[0])
        kind = type(child).__name__ if self.model_name == _UNKNOWN else None
        ways = {name: getattr(child, name, None) for name in _SHAPES_VECTORS}
        known = {"model": self.model_name, "class": kind, "dimension": self.dimension, **ways}
        return "; ".join(f"{name}={value}" for name, value in known.items() if value is not None)

    def _get_query_embedding(self, query: str) -> Embedding:
        return self._embed([query], Kind.QUERY)[0]

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return (await self._aembed([query], Kind.QUERY))[0]

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._embed([text], Kind.PASSAGE)[0]

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return (await self._aembed([text], Kind.PASSAGE))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return self._embed(texts, Kind.PASSAGE)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return await self._aembed(texts, Kind.PASSAGE)

    def _embed(self, texts: list[str], kind: Kind) -> list[Embedding]:
        vectors: list[Embedding] = self._embedder.embed(texts, kind).tolist()
        return vectors

    async def _aembed(self, texts: list[str], kind: Kind) -> list[Embedding]:
        vectors: list[Embedding] = (await self._embedder.aembed(texts, kind)).tolist()
        return vectors

    def _build_router(self) -> Router:
        declared = self.model_name if "model_name" in self.model_fields_set else None
        router = build_router(
            with_url_clients(self.targets, model=declared, provider="infinity", api_key=None),
            _adapted,
            name=self.class_name(),
            policy=self.policy,
            strategy=self.strategy,
        )
        check_one_model(router.targets, pool=router.name, declared=declared)
        return router


class ChildEmbedding:
    """A LlamaIndex embedding as a client of a pool.

    It uses the methods behind the public ones, which would emit the events a second time.
    """

    def __init__(self, child: BaseEmbedding) -> None:
        self.child = child
        model = model_of(child)
        self.model = None if model == _UNKNOWN else model
        self.name = self.model or type(child).__name__

    def embed(self, texts: Sequence[str], kind: Kind) -> list[Embedding]:
        """Return one vector per text."""
        child = self.child
        if child.rate_limiter is not None:
            child.rate_limiter.acquire()
        if kind is Kind.QUERY:
            return [child._get_query_embedding(text) for text in texts]
        return child._get_text_embeddings(list(texts))

    async def aembed(self, texts: Sequence[str], kind: Kind) -> list[Embedding]:
        """Return one vector per text."""
        child = self.child
        if child.rate_limiter is not None:
            await child.rate_limiter.async_acquire()
        if kind is Kind.QUERY:
            return [await child._aget_query_embedding(text) for text in texts]
        return await child._aget_text_embeddings(list(texts))


def _adapted(child: Any) -> Any:
    if isinstance(child, BaseEmbedding):
        return ChildEmbedding(child)
    if isinstance(child, EmbeddingClient):
        return child
    raise UnfitError(_WANTED)
