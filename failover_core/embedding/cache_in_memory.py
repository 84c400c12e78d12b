"""Entries of a cache in memory."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from failover_core.errors import ConfigurationError

_OVERHEAD = 200
"""Bytes that Python takes for an entry beside its content, more or less."""


class MemoryStore:
    """Keeps entries in this process; those unused for longest give way.

    Args:
        max_bytes: that all entries take at the most.

    Raises:
        ConfigurationError: ``max_bytes`` is below 1.
    """

    may_block = False

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = checked_size(max_bytes)
        self._entries: OrderedDict[bytes, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        renew_after_fork(self)

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the entries that there are."""
        found = {}
        with self._lock:
            for key in keys:
                if (entry := self._entries.get(key)) is not None:
                    self._entries.move_to_end(key)
                    found[key] = entry
        return found

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Keep entries, in place of those under the same keys."""
        with self._lock:
            for key, entry in entries.items():
                before = self._entries.pop(key, None)
                self._bytes += _size(entry) - (0 if before is None else _size(before))
                self._entries[key] = entry
            while self._bytes > self._max_bytes:
                _, oldest = self._entries.popitem(last=False)
                self._bytes -= _size(oldest)

    def clear(self) -> None:
        """Forget all entries."""
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._max_bytes,)

    def renew(self) -> None:
        """Begin anew in a forked process: another thread may have been at work in the parent."""
        self._lock = threading.Lock()
        self._entries, self._bytes = OrderedDict(), 0


def checked_size(max_bytes: Any) -> int:
    """Return a size if it is one.

    Raises:
        ConfigurationError: it is no whole number of 1 or more.
    """
    if isinstance(max_bytes, int) and not isinstance(max_bytes, bool) and max_bytes >= 1:
        return max_bytes
    message = f"max_bytes is {max_bytes!r}; it must be a whole number of 1 or more"
    raise ConfigurationError(message)


def _size(entry: bytes) -> int:
    return len(entry) + _OVERHEAD


class Renewable(Protocol):
    """What has locks, which a forked process cannot open where another thread held them."""

    def renew(self) -> None:
        """Begin anew."""
        ...


_RENEWABLE: weakref.WeakSet[Renewable] = weakref.WeakSet()


def renew_after_fork(one: Renewable) -> None:
    """Let something begin anew in every process that is forked from this one."""
    _RENEWABLE.add(one)


def _renew_all() -> None:
    for one in _RENEWABLE:
        one.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
