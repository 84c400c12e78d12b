"""What a cache of vectors keeps, as bytes: entries that prove themselves, under keys of a space."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from failover_core.embedding.protocol import Kind
from failover_core.embedding.space import distance
from failover_core.embedding.verification import Vectors, Verification

_NUMBER = np.dtype("<f4")
_CHECKSUM_BYTES = 4
_KEY_BYTES = 20


@dataclass(frozen=True, slots=True, eq=False)
class Shelf:
    """Where the vectors of a model, a dimension and a kind of text are kept.

    The same model answers the canary a little differently on another machine, so that a digest of
    the answer would find nothing there. The canaries under which vectors were kept are kept too,
    and the first one near enough stands for the space.

    Attributes:
        key: of the entry with the canaries.
        canary: the pool's own.
        canaries: those that are kept, ``(n, dimension)``.
        tolerance: the largest distance between two canaries of one space.
    """

    key: bytes
    canary: Vectors
    canaries: Vectors
    tolerance: float

    @classmethod
    def of(
        cls, verification: Verification, kind: Kind, read: Callable[[bytes], object]
    ) -> Shelf | None:
        """Return the shelf of a pool's space; None while its canary is unknown.

        Args:
            verification: of the pool's targets.
            kind: of the texts.
            read: returns the entry under a key, if there is one.
        """
        space, tolerance = verification.space, verification.tolerance
        canary = space.fingerprint.get(kind)
        if canary is None:
            return None
        dimension = len(canary)
        # A stricter pool is not given what a more tolerant one has let pass.
        said = f"{kind} {dimension} {tolerance!r} {space.model}"
        key = hashlib.blake2b(said.encode(), digest_size=_KEY_BYTES).digest()
        return cls(key, canary, opened(key, read(key), dimension), tolerance)

    def name(self) -> Vectors | None:
        """Return the canary under which vectors of the space are kept, if there are any."""
        near = (one for one in self.canaries if distance(one, self.canary) <= self.tolerance)
        return next(near, None)

    def entry_with_own(self) -> bytes:
        """Return the entry under ``key`` in which the pool's own canary is one of those kept."""
        return sealed(self.key, np.vstack([self.canaries, self.canary]))

    def keys(self, name: Vectors) -> Callable[[str], bytes]:
        """Return the function from texts to the keys of their vectors."""
        begun = hashlib.blake2b(self.key + _bytes(name), digest_size=_KEY_BYTES)

        def key_of(text: str) -> bytes:
            digest = begun.copy()
            digest.update(text.encode("utf-8", "surrogatepass"))
            return digest.digest()

        return key_of


def sealed(key: bytes, vectors: Vectors) -> bytes:
    """Return the entry of vectors: their bytes, behind a checksum of the key and of them."""
    content = _bytes(vectors)
    return _checksum(key, content) + content


def opened(key: bytes, entry: object, dimension: int) -> Vectors:
    """Return the vectors of an entry, ``(n, dimension)``; none if it is not what was sealed."""
    content = entry[_CHECKSUM_BYTES:] if isinstance(entry, bytes) else b""
    if entry != _checksum(key, content) + content or len(content) % (_NUMBER.itemsize * dimension):
        return np.empty((0, dimension), np.float32)
    return np.frombuffer(content, _NUMBER).astype(np.float32, copy=False).reshape(-1, dimension)


def _bytes(vectors: Vectors) -> bytes:
    return vectors.astype(_NUMBER, copy=False).tobytes()


def _checksum(key: bytes, content: bytes) -> bytes:
    return zlib.crc32(content, zlib.crc32(key)).to_bytes(_CHECKSUM_BYTES, "big")
