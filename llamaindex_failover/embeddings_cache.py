"""The key-value store that a LlamaIndex embedding keeps vectors in, without mix-ups."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from llama_index.core.storage.kvstore.types import DEFAULT_COLLECTION, BaseKVStore

from failover_core import ConfigurationError
from failover_core.embedding import Kind

_kind: ContextVar[Kind] = ContextVar("failover_kind", default=Kind.PASSAGE)


@contextmanager
def asking_for(kind: Kind) -> Iterator[None]:
    """Look within the ``with`` block for vectors of this kind."""
    token = _kind.set(kind)
    try:
        yield
    finally:
        _kind.reset(token)


class SpaceCache(BaseKVStore):
    """A store in which each vector space, and each kind of text, has collections of its own.

    ``BaseEmbedding`` keeps a vector under nothing but its text, so that one model would be given
    the vectors of another, and a query those of a passage.

    Args:
        store: the user's own.
        space: names the vector space.

    Raises:
        ConfigurationError: it is no store.
    """

    def __init__(self, store: Any, space: str) -> None:
        if not isinstance(store, BaseKVStore):
            message = (
                f"FailoverEmbedding: embeddings_cache is {type(store).__name__}; give a key-value "
                "store of LlamaIndex, such as SimpleKVStore()"
            )
            raise ConfigurationError(message)
        self.store = store
        self._space = hashlib.sha256(space.encode()).hexdigest()[:16]

    def put(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        """Put a value into the store."""
        self.store.put(key, val, self._own(collection))

    async def aput(
        self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION
    ) -> None:
        """Put a value into the store."""
        await self.store.aput(key, val, self._own(collection))

    def get(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """Return a value, or None."""
        return self.store.get(key, self._own(collection))

    async def aget(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """Return a value, or None."""
        return await self.store.aget(key, self._own(collection))

    def get_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """Return all values."""
        return self.store.get_all(self._own(collection))

    async def aget_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """Return all values."""
        return await self.store.aget_all(self._own(collection))

    def delete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Delete a value."""
        return self.store.delete(key, self._own(collection))

    async def adelete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Delete a value."""
        return await self.store.adelete(key, self._own(collection))

    def _own(self, collection: str) -> str:
        return f"{collection}-{_kind.get()}-{self._space}"
