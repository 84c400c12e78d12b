"""Vectors that need not be asked for again, kept apart by space, kind and text.

Whose vectors may be given out is told by the canary alone: the pool's own is compared with those
under which vectors were kept, as a target's is. So a cache may outlive the process and serve pools
of any models, and nothing is read before the first canary, or a saved space, is there.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import numpy as np

from failover_core.embedding.cache_entries import Shelf, opened, sealed
from failover_core.embedding.cache_in_memory import MemoryStore, renew_after_fork
from failover_core.embedding.protocol import Kind
from failover_core.embedding.rows import Rows
from failover_core.embedding.space import CANARY
from failover_core.embedding.verification import Vectors, Verification
from failover_core.errors import ConfigurationError

T = TypeVar("T")

logger = logging.getLogger("failover_core")

MEMORY_BYTES = 256 * 2**20
DISK_BYTES = 4 * 2**30

_REST = 10.0
"""Seconds that a store which failed is left alone: a broken disk is not to slow every request."""


class Store(Protocol):
    """Where a cache keeps its entries; any thread may call it, and it may raise what it likes."""

    may_block: bool
    """Whether a call may take so long that an event loop must not wait for it."""

    def get(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """Return the entries that there are."""
        ...

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Keep entries, in place of those under the same keys."""
        ...

    def clear(self) -> None:
        """Forget all entries."""
        ...


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """What a cache was good for in this process.

    Attributes:
        hits: texts whose vectors came out of it.
        misses: texts that a target has embedded.
    """

    hits: int = 0
    misses: int = 0


class VectorCache:
    """A cache of vectors, for any number of pools at once, in any threads.

    An entry that is damaged or not of this library is not there, and a store that fails costs a
    line in the log and nothing else.

    Args:
        store: of its entries, if it is your own; see ``in_memory`` and ``on_disk``.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._statistics = CacheStatistics()
        self._lock = threading.Lock()
        self._rests_until = 0.0
        renew_after_fork(self)

    @classmethod
    def in_memory(cls, *, max_bytes: int = MEMORY_BYTES) -> Self:
        """Return a cache for this process.

        Args:
            max_bytes: of the entries; those unused for longest give way.

        Raises:
            ConfigurationError: ``max_bytes`` is out of range.
        """
        return cls(MemoryStore(max_bytes))

    @classmethod
    def on_disk(cls, path: str | Path, *, max_bytes: int = DISK_BYTES) -> Self:
        """Return a cache that outlives the process, and that several may use at once.

        Args:
            path: of its file, which is made if there is none. On a local disk: SQLite's locks do
                not hold on most network shares.
            max_bytes: of the file; the oldest entries give way.

        Raises:
            ConfigurationError: ``max_bytes`` is out of range, or there is a directory at the path.
        """
        # Here, because a Python may have been built without SQLite.
        from failover_core.embedding.cache_on_disk import DiskStore  # noqa: PLC0415

        return cls(DiskStore(path, max_bytes))

    @property
    def statistics(self) -> CacheStatistics:
        """How often it helped, since it was made."""
        return self._statistics

    def clear(self) -> None:
        """Forget every vector, of all spaces.

        Raises:
            Exception: what the store raises, if it cannot.
        """
        self.store.clear()

    def known(
        self, verification: Verification, kind: Kind, texts: Iterable[str]
    ) -> dict[str, Vectors]:
        """Return the vectors that are there, by their texts; none before the space is known."""
        # The canary asks what a server is today, also where a pool is a target of another pool.
        wanted = [text for text in texts if text != CANARY]
        found = self._try(self._read, verification, kind, wanted) or {}
        self._count(hits=len(found))
        return found

    async def aknown(
        self, verification: Verification, kind: Kind, texts: Iterable[str]
    ) -> dict[str, Vectors]:
        """Return what ``known`` returns."""
        return await self._beside(self.known, verification, kind, texts)

    def keep(
        self, verification: Verification, kind: Kind, texts: Sequence[str], vectors: Rows
    ) -> None:
        """Keep the vectors of texts, as a target of the space has answered them."""
        answered = zip(texts, np.asarray(vectors, np.float32), strict=True)
        new = {text: one for text, one in answered if text != CANARY}
        self._try(self._write, verification, kind, new)
        self._count(misses=len(new))

    async def akeep(
        self, verification: Verification, kind: Kind, texts: Sequence[str], vectors: Rows
    ) -> None:
        """Do what ``keep`` does."""
        await self._beside(self.keep, verification, kind, texts, vectors)

    def renew(self) -> None:
        """Begin anew in a forked process, whose parent may have been counting."""
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.store,)

    async def _beside(self, work: Callable[..., T], *arguments: Any) -> T:
        """Return what work returns; the event loop does not wait for a disk."""
        if self.store.may_block:
            return await asyncio.to_thread(work, *arguments)
        return work(*arguments)

    def _try(self, work: Callable[..., T], *arguments: Any) -> T | None:
        if time.monotonic() < self._rests_until:
            return None
        try:
            return work(*arguments)
        except Exception as error:  # noqa: BLE001 - a foreign store may raise anything
            self._rests_until = time.monotonic() + _REST
            logger.warning(
                "the cache of vectors fails and is left alone for %g s: %r", _REST, error
            )
            return None

    def _count(self, *, hits: int = 0, misses: int = 0) -> None:
        with self._lock:
            before = self._statistics
            self._statistics = CacheStatistics(before.hits + hits, before.misses + misses)

    def _read(self, of: Verification, kind: Kind, texts: Sequence[str]) -> dict[str, Vectors]:
        shelf = Shelf.of(of, kind, self._entry)
        name = None if shelf is None else shelf.name()
        if shelf is None or name is None:
            return {}
        texts_of = dict(zip(map(shelf.keys(name), texts), texts, strict=True))
        entries = self.store.get(list(texts_of))
        vectors = {texts_of[key]: opened(key, entry, len(name)) for key, entry in entries.items()}
        return {text: one[0] for text, one in vectors.items() if len(one) == 1}

    def _write(self, of: Verification, kind: Kind, vectors: Mapping[str, Vectors]) -> None:
        shelf = Shelf.of(of, kind, self._entry)
        if shelf is None:
            return
        name, entries = shelf.name(), {}
        if name is None:
            name, entries = shelf.canary, {shelf.key: shelf.entry_with_own()}
        keyed = zip(map(shelf.keys(name), vectors), vectors.values(), strict=True)
        self.store.put(entries | {key: sealed(key, one) for key, one in keyed})

    def _entry(self, key: bytes) -> bytes | None:
        return self.store.get([key]).get(key)


Cache = VectorCache | str | Path | bool | None
"""A cache as users name one: True is in memory, a path is on disk, None and False are none."""


def cache_of(given: Any) -> VectorCache | None:
    """Return the cache that a user's setting means.

    Raises:
        ConfigurationError: it is something else than a ``Cache``.
    """
    match given:
        case None | False:
            return None
        case True:
            return VectorCache.in_memory()
        case str() | Path():
            return VectorCache.on_disk(given)
        case VectorCache():
            return given
    message = (
        f"cache is {type(given).__name__}; give True for one in memory, a path for one on disk, "
        "or a VectorCache"
    )
    raise ConfigurationError(message)


def cache_for(verification: Verification, given: Any) -> VectorCache | None:
    """Return the cache of a pool.

    Raises:
        ConfigurationError: it is no cache, or nothing would tell whose vectors are in it.
    """
    cache = cache_of(given)
    if cache is not None and verification.verify not in ("canary", "always"):
        message = (
            f"cache is set and verify is {verification.verify!r}; a cache needs verify='canary', "
            "for only the canary tells the vectors of one model from those of another"
        )
        raise ConfigurationError(message)
    return cache
