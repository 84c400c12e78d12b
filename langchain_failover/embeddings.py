"""Embeddings that move on to another server or model object when one fails."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, cast

from langchain_core.embeddings import Embeddings
from pydantic import Field, field_validator

from failover_core.children import UnfitError, check_one_model
from failover_core.clients import Keys, clients_from_urls
from failover_core.config import embedding_arguments
from failover_core.embedding import (
    TOLERANCE,
    Embedder,
    EmbeddingClient,
    EmbeddingSpace,
    Kind,
    VectorCache,
    Vectors,
    Verify,
)
from failover_core.embedding.cache import Cache, cache_of
from failover_core.embedding.progress import arunning, bar, running
from failover_core.embedding.texts import checked_texts
from failover_core.engine.strategies import Strategy
from failover_core.errors import ConfigurationError
from failover_core.policy import FailoverPolicy
from failover_core.targets import Target
from failover_core.url_targets import limited
from langchain_failover.child_embeddings import ChildEmbeddings
from langchain_failover.embedding_pool import OF_EMBEDDER, EmbeddingPool
from langchain_failover.pool import Pool, UrlPooled

_OWN = (*OF_EMBEDDER, "show_progress")


class FailoverEmbeddings(UrlPooled, Embeddings):
    """Embeddings over several targets of one model: one answers while any can.

    All targets must serve the same model, or their vectors could not share an index. Targets
    that name different models are refused, and so is an answer of another dimension.

    Example:
        >>> embeddings = FailoverEmbeddings.from_urls(
        ...     "http://a:7997,http://b:7997", model="BAAI/bge-small-en-v1.5"
        ... )

    Args:
        targets: ``Embeddings`` objects, clients of ``failover_core.clients``, or URLs.
        model: name of the one model; needed for URLs, and where the targets name it differently.
            Left out, it becomes the name that the targets agree on.
        dimension: of the vectors; None takes that of the first answer.
        batch_size: texts of one request at the most; a failed batch alone moves on.
        provider: protocol of URLs, a name in ``failover_core.clients.PROVIDERS``.
        api_key: key of URLs; several as a list or a text with commas.
        policy: see ``FailoverPolicy``.
        strategy: see ``failover_core.Router``.

    Raises:
        ConfigurationError: a target or a setting cannot be used.
    """

    pool_class: ClassVar[type[Pool]] = EmbeddingPool

    dimension: int | None = None
    """Numbers in a vector; None takes that of the first answer."""

    space: EmbeddingSpace | str | Path | None = None
    """A saved vector space, or the path of its file; None takes that of the first answer."""

    verify: Verify = "canary"
    """How targets are verified; see ``failover_core.embedding.Verify``."""

    tolerance: float = TOLERANCE
    """How far the canary's vector may be from the reference; 0.02 admits quantised replicas."""

    batch_size: int = 256
    """Texts of one request at the most."""

    spread: bool = True
    """Whether the requests of one call go to all targets at once."""

    cache: Cache = Field(default=None, exclude=True)
    """Keeps vectors, apart by space, kind and text: True for one in memory, a path for one on
    disk, or a ``VectorCache``, which several pools may share. Once set, it is a ``VectorCache``
    (``embeddings.cache.statistics``) or None."""

    show_progress: bool = False
    """Whether ``embed_documents`` and ``iter_embed`` show a bar of tqdm, in notebooks too:
    ``pip install "rag-failover[progress]"``."""

    @field_validator("cache", mode="plain")
    @classmethod
    def _open_cache(cls, given: Any) -> VectorCache | None:
        return cache_of(given)

    @classmethod
    def from_urls(
        cls,
        urls: str | Sequence[str] | None,
        *,
        model: str,
        provider: str = "infinity",
        api_key: Keys = None,
        policy: FailoverPolicy | dict[str, Any] | None = None,
        strategy: str | Strategy = "priority",
        **options: Any,
    ) -> Self:
        """Build it over servers.

        Args:
            urls: a list, or one text with commas; spaces and a trailing comma are forgiven. None
                is the vendor's own service, once for each key.
            model: name of the model, the same on every server.
            provider: their protocol: a name in ``failover_core.clients.PROVIDERS``.
            api_key: one for all, or several (a list, or a text with commas) paired with the URLs.
            policy: see ``FailoverPolicy``.
            strategy: see ``failover_core.Router``.
            **options: further fields of this class (``dimension``, ``space``, ``verify``,
                ``tolerance``, ``batch_size``, ``spread``, ``cache``, ``show_progress``), and
                options of the clients, such as ``timeout`` (see
                ``failover_core.clients.ClientOptions``), and limits of each server, such as
                ``requests_per_minute`` (see ``Target``).

        Raises:
            ConfigurationError: a URL, a key or a setting cannot be used.
        """
        own = {name: options.pop(name) for name in _OWN if name in options}
        clients = limited(
            clients_from_urls, urls, model=model, provider=provider, api_key=api_key, **options
        )
        return cls(
            targets=clients,
            model=model,
            provider=provider,
            policy=policy,
            strategy=strategy,
            **own,
        )

    @classmethod
    def from_env(cls, **overrides: Any) -> Self:
        """Build it from the environment, such as ``INFINITY_BASE_URL`` and ``EMBEDDING_MODEL``.

        Args:
            **overrides: arguments of ``from_urls`` that go before the environment's.

        Raises:
            ConfigurationError: a variable is missing or cannot be read; the message names it.
        """
        return cls.from_urls(**{**embedding_arguments(), **overrides})

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return one vector per text, in the order of the texts; no text sends no request.

        Raises:
            PartialEmbeddingError: some texts could not be embedded; it holds the other vectors.
            AllTargetsFailedError: no target could embed any of them.
        """
        listed = checked_texts(texts)
        with bar(len(listed), is_wanted=self.show_progress) as count:
            return self._embedder.embed_lists(listed, Kind.PASSAGE, count)

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return what ``embed_documents`` returns."""
        listed = checked_texts(texts)
        with bar(len(listed), is_wanted=self.show_progress) as count:
            return await self._embedder.aembed_lists(listed, Kind.PASSAGE, count)

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a query.

        Raises:
            AllTargetsFailedError: no target could embed it.
        """
        return self._embedder.embed_lists([text], Kind.QUERY)[0]

    async def aembed_query(self, text: str) -> list[float]:
        """Return what ``embed_query`` returns."""
        return (await self._embedder.aembed_lists([text], Kind.QUERY))[0]

    def iter_embed(self, texts: Iterable[str]) -> Iterator[Vectors]:
        """Yield the vectors of ever so many texts, in order and some thousands at a time.

        Of the texts and of the vectors no more are held than one array has. The arrays are of
        float32 and have the shape ``(n, dimension)``, with any ``n``.

        Raises:
            PartialEmbeddingError: some of the next texts could not be embedded; the indices in
                it count from the first text of all.
            AllTargetsFailedError: no target could embed any of the next texts.
        """
        arrays = self._embedder.iter_embed(texts, Kind.PASSAGE)
        return running(arrays, is_wanted=self.show_progress)

    def aiter_embed(self, texts: Iterable[str]) -> AsyncIterator[Vectors]:
        """Yield what ``iter_embed`` yields."""
        arrays = self._embedder.aiter_embed(texts, Kind.PASSAGE)
        return arunning(arrays, is_wanted=self.show_progress)

    def embedding_space(self) -> EmbeddingSpace:
        """Return the pool's vector space, to be saved beside an index and given back as ``space``.

        A process that starts while the first target is down then verifies the others against it.
        What is not known of it yet is asked of a target.

        Raises:
            AllTargetsFailedError: no target could answer.
        """
        return self._embedder.space()

    async def aembedding_space(self) -> EmbeddingSpace:
        """Return what ``embedding_space`` returns."""
        return await self._embedder.aspace()

    @property
    def cache_namespace(self) -> str:
        """Name of the vector space, for caches that outlive the process or serve several models.

        It is the same whichever target answers, and another one for another model or dimension.
        Its characters suit file names. Queries need a store of their own, because many models
        embed a query otherwise than a passage of the same text::

            CacheBackedEmbeddings.from_bytes_store(
                embeddings, store, namespace=embeddings.cache_namespace, key_encoder="sha256",
                query_embedding_cache=store_of_queries,  # not True, which would mix the two
            )

        Raises:
            ConfigurationError: the model or the dimension was not declared, so that nothing
                would tell this space from another.
        """
        for name, value in (("model", self.model), ("dimension", self.dimension)):
            if value is None:
                message = (
                    f"{type(self).__name__}: cache_namespace needs {name}=…; declare it, or "
                    "vectors of another model could be taken for this one's"
                )
                raise ConfigurationError(message)
        digest = hashlib.sha256(str(self.model).encode()).hexdigest()[:8]
        readable = re.sub(r"[^A-Za-z0-9.]+", "-", str(self.model))
        return f"{readable}-{self.dimension}-{digest}-"

    @property
    def _embedder(self) -> Embedder:
        return self._pool().embedder

    def _pool(self) -> EmbeddingPool:
        before, pool = self.targets, cast("EmbeddingPool", super()._pool())
        if pool is not before and isinstance(before, EmbeddingPool):  # of what was copied
            fields = ("space", "dimension")
            if all(before.settings[name] == pool.settings[name] for name in fields):
                pool.space = before.space
        return pool

    def _pool_settings(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in OF_EMBEDDER}
        return super()._pool_settings() | own

    def _wrapped(self, targets: Sequence[Any]) -> list[Target]:
        wrapped = super()._wrapped(targets)
        declared = self.model if "model" in self.model_fields_set else None
        if self.verify != "off":
            check_one_model(wrapped, pool=type(self).__name__, declared=declared)
        if declared is None:
            self.model = next((target.model for target in wrapped if target.model), None)
            # A copy with other targets is to adopt theirs.
            self.model_fields_set.discard("model")
        return wrapped

    def _adapted(self, child: Any) -> Any:
        if isinstance(child, Embeddings):
            return ChildEmbeddings(child)
        if isinstance(child, EmbeddingClient):
            return child
        remedy = "pass an Embeddings object, a client of failover_core.clients, or a URL"
        raise UnfitError(remedy)
