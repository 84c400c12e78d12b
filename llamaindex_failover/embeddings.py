"""``FailoverEmbedding``: one embedding for LlamaIndex out of several."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self

from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from pydantic import Field, PlainValidator, PrivateAttr, SkipValidation, computed_field

from failover_core import Router, Strategy
from failover_core.children import check_one_model
from failover_core.config import embedding_arguments
from failover_core.embedding import (
    TOLERANCE,
    Embedder,
    EmbeddingSpace,
    Kind,
    Vectors,
    Verify,
)
from failover_core.embedding.cache import Cache, cache_of
from failover_core.embedding.progress import arunning, running
from failover_core.targets import model_of
from failover_core.url_targets import limited, with_url_clients
from llamaindex_failover.child_embedding import adapted
from llamaindex_failover.choices import preferred
from llamaindex_failover.components import FailoverComponent, Policy, build_router, child_of
from llamaindex_failover.embedding_doors import EmbeddingDoors, among_batches
from llamaindex_failover.embedding_outcomes import one_batch
from llamaindex_failover.embedding_space import check_one_space, space_id
from llamaindex_failover.embeddings_cache import SpaceCache
from llamaindex_failover.instrumentation import traced_by_child

_REQUEST_SIZE = 256
"""Texts of one request at the most, where a target does not say."""

_LARGEST_BATCH = 2048
"""Of LlamaIndex."""


class FailoverEmbedding(FailoverComponent, EmbeddingDoors, BaseEmbedding):
    """An embedding that asks the first of several embeddings that can answer.

    ``pip install "rag-failover[llamaindex]"``

    Example:
        >>> Settings.embed_model = FailoverEmbedding.from_urls(
        ...     "http://a:7997,http://b:7997", model="BAAI/bge-m3"
        ... )

    All targets must embed into one vector space: with the same model, which is compared where
    the targets name it, and alike in what else they say of their vectors (dimension, prefixes,
    pooling). Each batch fails over by itself. Events are emitted once, by this embedding; a
    wrapped embedding's rate limiter is asked, its ``embeddings_cache`` is not: give the cache to
    this one, and what was embedded before all targets failed need not be sent again.

    Attributes:
        targets: embeddings, clients of this library, URLs (which need ``model_name``), or a
            ``Target`` of one of the first two.
        model_name: the model, whatever the targets call it. Default: what they say.
        dimension: of the vectors. Default: that of the first answer.
        embed_batch_size: texts that LlamaIndex asks for at once. They go out in requests of 256 at
            the most (of wrapped embeddings: of the smallest of theirs), which are spread over the
            targets. Default: 2048, or the smallest of the wrapped embeddings'.
        num_workers: batches of an async call that are under way at once. Default: as the first
            target says; None: all of them.
        embeddings_cache: a key-value store of LlamaIndex. Each vector space has collections of
            its own in it, one for queries and one for texts.
        space: a saved vector space, or the path of its file. Default: that of the first answer.
        verify: how targets are verified; see ``failover_core.embedding.Verify``.
        tolerance: how far the canary's vector may be from the reference; 0.02 admits quantised
            replicas.
        cache: this library's own cache, which unlike ``embeddings_cache`` knows spaces by what
            the servers answer: True for one in memory, a path for one on disk, or a
            ``failover_core.embedding.VectorCache``.

    Raises:
        ConfigurationError: a target is no embedding, or the targets embed into different spaces.
    """

    dimension: int | None = None
    """Length of each vector; an answer with another one is an error of its target."""

    embeddings_cache: Any = Field(default=None, exclude=True, repr=False)
    """Where vectors are kept. It is in no dump: a store may know the key of its database."""

    space: Annotated[EmbeddingSpace | str | Path | None, SkipValidation] = Field(
        default=None, exclude=True, repr=False, frozen=True
    )
    """The vector space that answers must be of; None takes that of the first one."""

    verify: Verify = Field(default="canary", exclude=True, repr=False, frozen=True)
    """How targets are verified."""

    tolerance: float = Field(default=TOLERANCE, exclude=True, repr=False, frozen=True)
    """How far the canary's vector may be from the reference."""

    cache: Annotated[Cache, PlainValidator(cache_of)] = Field(
        default=None, exclude=True, repr=False, frozen=True
    )
    """Where vectors are kept, apart by space, kind and text; once set, a ``VectorCache``."""

    _embedder: Embedder = PrivateAttr()
    _request_size: int = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Build the router, and take over what the targets say of themselves."""
        super().model_post_init(context)
        children = [child_of(target) for target in self.router.targets]
        self._take_from_first("num_workers")
        if model := model_of(children[0]):
            self._fill_in("model_name", model)
        sizes = [child.embed_batch_size for child in children if isinstance(child, BaseEmbedding)]
        self._request_size = min(sizes, default=_REQUEST_SIZE)
        self._fill_in("embed_batch_size", min(sizes, default=_LARGEST_BATCH))
        self._embedder = self._build_embedder()
        self.embeddings_cache = self.__dict__["embeddings_cache"]

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "embeddings_cache" and value is not None:
            value = SpaceCache(value, self.space_id)
        super().__setattr__(name, value)
        if name == "embed_batch_size":
            self._embedder.resize(min(value, self._request_size))

    @classmethod
    def class_name(cls) -> str:
        """Return the name of the class in dumps."""
        return "FailoverEmbedding"

    @classmethod
    def from_urls(
        cls,
        urls: str | Sequence[str] | None,
        *,
        model: str,
        provider: str = "infinity",
        api_key: str | Sequence[str] | None = None,
        dimension: int | None = None,
        policy: Policy = None,
        strategy: str | Strategy = "priority",
        **options: Any,
    ) -> Self:
        """Return an embedding over servers.

        Args:
            urls: base URLs, in a list or in one text with commas. None is the vendor's own
                service, once for each key.
            model: the model, the same on every server.
            provider: whose protocol they speak: ``"infinity"``, ``"openai"`` or another one of
                ``failover_core.clients``.
            api_key: one key, or several paired with the URLs, the last one also for the rest;
                ``"${NAME}"`` reads it from an environment variable.
            dimension: of the vectors, if it is known beforehand.
            policy: a FailoverPolicy or a dict of its settings.
            strategy: in which order targets are considered.
            **options: further fields of this class, such as ``space`` or ``embed_batch_size``,
                options of the clients, such as ``timeout`` in seconds (see ``ClientSettings``),
                and limits of each server, such as ``requests_per_minute`` (see ``Target``).

        Raises:
            ConfigurationError: a URL, key or option cannot be used.
        """
        own = {name: options.pop(name) for name in cls.model_fields.keys() & options.keys()}
        return cls(
            targets=limited(
                with_url_clients, urls, model=model, provider=provider, api_key=api_key, **options
            ),
            model_name=model,
            dimension=dimension,
            policy=policy,
            strategy=strategy,
            **own,
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

    def iter_embed(self, texts: Iterable[str], *, show_progress: bool = False) -> Iterator[Vectors]:
        """Yield the vectors of ever so many texts, in order and some thousands at a time.

        Of the texts and of the vectors no more are held than one array has. The arrays are of
        float32 and have the shape ``(n, dimension)``, with any ``n``.

        Args:
            texts: of any number.
            show_progress: whether to show a bar of tqdm, in notebooks too.

        Raises:
            PartialEmbeddingError: some of the next texts could not be embedded; the indices in
                it count from the first text of all.
            AllTargetsFailedError: no target could embed any of the next texts.
        """
        arrays = self._embedder.iter_embed(texts, Kind.PASSAGE)
        return running(arrays, is_wanted=show_progress)

    def aiter_embed(
        self, texts: Iterable[str], *, show_progress: bool = False
    ) -> AsyncIterator[Vectors]:
        """Yield what ``iter_embed`` yields."""
        arrays = self._embedder.aiter_embed(texts, Kind.PASSAGE)
        return arunning(arrays, is_wanted=show_progress)

    @computed_field(repr=False)  # type: ignore[prop-decorator]
    @property
    def space_id(self) -> str:
        """What the vectors depend on: model, dimension and the first target's ways, no secret.

        LlamaIndex's ingestion cache takes it out of the dump: an embedding into another space
        must not get the vectors of this one, and one on other servers should.
        """
        child = child_of(self.router.targets[0])
        return space_id(child, model=model_of(self), dimension=self.dimension)

    @traced_by_child
    def _get_query_embedding(self, query: str) -> Embedding:
        return self._embed([query], Kind.QUERY)[0]

    @traced_by_child
    async def _aget_query_embedding(self, query: str) -> Embedding:
        return (await self._aembed([query], Kind.QUERY))[0]

    @traced_by_child
    def _get_text_embedding(self, text: str) -> Embedding:
        return self._embed([text], Kind.PASSAGE)[0]

    @traced_by_child
    async def _aget_text_embedding(self, text: str) -> Embedding:
        return (await self._aembed([text], Kind.PASSAGE))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        with one_batch(self, texts) as keep:
            return keep(self._embed(texts, Kind.PASSAGE))

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        with among_batches(self), one_batch(self, texts) as keep:
            return keep(await self._aembed(texts, Kind.PASSAGE))

    def _embed(self, texts: list[str], kind: Kind) -> list[Embedding]:
        return self._embedder.embed_lists(texts, kind)

    async def _aembed(self, texts: list[str], kind: Kind) -> list[Embedding]:
        return await self._embedder.aembed_lists(texts, kind)

    def _build_router(self) -> Router:
        declared = self.model_name if "model_name" in self.model_fields_set else None
        router = build_router(
            with_url_clients(self.targets, model=declared, provider="infinity", api_key=None),
            adapted,
            name=self.class_name(),
            policy=self.policy,
            strategy=self.strategy,
        )
        if self.verify != "off":
            check_one_model(router.targets, pool=router.name, declared=declared)
            check_one_space(router.targets, pool=router.name, dimension=self.dimension)
        return router

    def _build_embedder(self) -> Embedder:
        return Embedder(
            self.router.begin,
            self.router.targets,
            space=self.space,
            dimension=self.dimension,
            verify=self.verify,
            tolerance=self.tolerance,
            batch_size=min(self.embed_batch_size, self._request_size),
            cache=self.cache,
            preferred=partial(preferred, self.router),
        )

    def _settings(self) -> dict[str, Any]:
        settings = super()._settings()
        if cache := settings.get("embeddings_cache"):
            settings["embeddings_cache"] = cache.store
        # Or the copy could take its reference from a target that this one knows to be wrong.
        settings["space"] = self._embedder.verification.space
        return settings
