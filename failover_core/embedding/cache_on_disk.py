"""Entries of a cache in a file, through SQLite: for any number of threads and processes.

The caches that others have made for it were looked at: diskcache unpickles what it finds and has
had no release since 2023, LMDB ends the process where its file is damaged. SQLite does neither,
and comes with Python.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from failover_core.embedding.cache_in_memory import checked_size
from failover_core.errors import ConfigurationError

_APPLICATION = 0x52616746
"""Tells our files from other programs' databases: one of those is not written to."""

_LOCK_SECONDS = 1.0
"""Longest wait for another process that writes."""


class DiskStore:
    """Keeps entries in a file; those written first give way.

    Args:
        path: of the file; its folder is made if there is none.
        max_bytes: that the entries take at the most, but for those written last.

    Raises:
        ConfigurationError: there is a directory at the path, or ``max_bytes`` is below 1.
    """

    may_block = True

    def __init__(self, path: str | Path, max_bytes: int) -> None:
        self._path = Path(path).absolute()
        self._max_bytes = checked_size(max_bytes)
        self._file: _File | None = None
        if self._path.is_dir():
            message = f"{path} is a directory; the path of a cache is that of a file"
            raise ConfigurationError(message)

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the entries that there are.

        Raises:
            sqlite3.Error: the file cannot be used.
            OSError: its folder cannot be made.
        """
        file = self._open()
        # One by one, so that no other thread waits for all of them.
        found = ((key, file.entry(key)) for key in keys)
        return {key: entry for key, entry in found if entry is not None}

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Keep entries, in place of those under the same keys.

        Raises:
            sqlite3.Error: the file cannot be used, or the disk is full.
            OSError: its folder cannot be made.
        """
        with self._open().writing() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO vectors (key, entry) VALUES (?, ?)", entries.items()
            )
            if _size(connection) > self._max_bytes:
                # Twice as many as came: a file that was far too large shrinks bit by bit.
                connection.execute(
                    "DELETE FROM vectors WHERE rowid IN "
                    "(SELECT rowid FROM vectors ORDER BY rowid LIMIT ?)",
                    (2 * len(entries),),
                )

    def clear(self) -> None:
        """Forget all entries.

        Raises:
            sqlite3.Error: the file cannot be used.
        """
        with self._open().writing() as connection:
            connection.execute("DELETE FROM vectors")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._path, self._max_bytes)

    def _open(self) -> _File:
        file = self._file
        # A connection must not go through a fork, not even to be closed on the other side.
        if file is None or file.process != os.getpid():
            _INHERITED.extend([] if file is None else [file])
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = self._file = _File(self._path)
        return file


class _File:
    """An open file, for one thread at a time.

    Attributes:
        process: that opened it.
    """

    def __init__(self, path: Path) -> None:
        self.process = os.getpid()
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(
            path, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False
        )
        weakref.finalize(self, _close, self._connection, self.process)
        with self.writing() as connection:
            _claim(connection)
        with suppress(sqlite3.OperationalError):  # another process is just doing it
            self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")

    def entry(self, key: bytes) -> bytes | None:
        with self._lock:
            found = self._connection.execute("SELECT entry FROM vectors WHERE key = ?", (key,))
            row = found.fetchone()
        return row and row[0]  # type: ignore[no-any-return]

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            with self._connection:  # ends the transaction, one way or the other
                yield self._connection


_INHERITED: list[_File] = []


def _claim(connection: sqlite3.Connection) -> None:
    application = _number(connection, "PRAGMA application_id")
    tables = _number(connection, "SELECT count(*) FROM sqlite_master")
    if application != _APPLICATION and (application or tables):
        message = "it is a database of another program"
        raise sqlite3.DatabaseError(message)
    connection.execute(f"PRAGMA application_id = {_APPLICATION}")
    connection.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, entry BLOB)")


def _size(connection: sqlite3.Connection) -> int:
    pages, free, size = (
        _number(connection, f"PRAGMA {name}")
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


def _number(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])


def _close(connection: sqlite3.Connection, process: int) -> None:
    if process == os.getpid():
        connection.close()
