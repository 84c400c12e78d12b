"""A port on loopback, and a thread whose event loop serves its connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from asyncio import StreamReader, StreamReaderProtocol, StreamWriter
from collections.abc import Awaitable, Callable, Iterator

from failover_core.errors import ConfigurationError
from failover_core.testing.exchange import abort

_BACKLOG = 1024
_READ_LIMIT = 1 << 20

Serve = Callable[[StreamReader, StreamWriter], Awaitable[None]]


class Port:
    """A port of 127.0.0.1 that stays reserved while nobody listens on it.

    A socket that is bound but does not listen refuses connections as a free port does, yet the
    kernel gives the port to nobody else, and no client in search of a dead server can connect
    to itself.
    """

    def __init__(self, number: int) -> None:
        self._socket = _bind(number)
        self.number: int = self._socket.getsockname()[1]

    def listen(self) -> socket.socket:
        """Open the port and return the listening socket, which stays this object's to close."""
        if self._socket.fileno() < 0:
            self._socket = _bind(self.number)
        with _explained(self.number):
            self._socket.listen(_BACKLOG)
        return self._socket

    def shut(self) -> None:
        """Refuse new connections, and drop those that nobody has accepted."""
        self._socket.close()
        self._socket = _bind(self.number)

    def release(self) -> None:
        """Give the port back to the system."""
        self._socket.close()


class ListenerThread:
    """A daemon thread with an event loop, which may listen and not listen in turns.

    Args:
        port: where to listen.
        serve: serves one connection.
        tls: what connections are secured with; None is not at all.
        listening: whether it listens from the start.
    """

    def __init__(
        self, port: Port, serve: Serve, *, tls: ssl.SSLContext | None, listening: bool
    ) -> None:
        self._port = port
        self._serve = serve
        self._tls = tls
        self._listening: socket.socket | None = port.listen() if listening else None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[StreamWriter] = set()
        self._loop: asyncio.AbstractEventLoop
        self._stopping: asyncio.Event
        ready = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._main(ready)),
            name=f"fault-server-{port.number}",
            daemon=True,
        )
        self._thread.start()
        ready.wait()

    def run(self, action: Callable[[], None]) -> None:
        """Call a function in the loop, from another thread, and wait for it."""

        async def act() -> None:
            action()

        asyncio.run_coroutine_threadsafe(act(), self._loop).result()

    def open(self, tls: ssl.SSLContext | None) -> None:
        """Accept connections, if it does not yet. To be called in the loop."""
        if tls is not self._tls:
            self._tls = tls
            self._reset()
        if self._listening is None:
            self._listening = self._port.listen()
            self._loop.add_reader(self._listening, self._accept, self._listening)

    def shut(self) -> None:
        """Refuse connections and reset live ones. To be called in the loop."""
        if self._listening is not None:
            self._loop.remove_reader(self._listening)
            self._listening = None
            self._port.shut()
        self._reset()

    def _reset(self) -> None:
        for writer in self._writers:
            abort(writer)

    def stop(self) -> None:
        """Shut the port and end the thread."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    async def _main(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        if self._listening is not None:
            self._loop.add_reader(self._listening, self._accept, self._listening)
        ready.set()
        await self._stopping.wait()
        self.shut()
        # A task that is cancelled before its first step never closes the socket it was given.
        await asyncio.sleep(0)

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):  # nobody is left, or a client has gone again
            while True:
                connection, _ = listening.accept()
                task = self._loop.create_task(self._connected(connection))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _connected(self, connection: socket.socket) -> None:
        connection.setblocking(False)  # noqa: FBT003 - the socket's own signature
        try:
            reader, writer = await self._streams(connection)
        except OSError:
            return  # they could not agree on TLS, or the client has gone
        self._writers.add(writer)
        try:
            if self._listening is None:
                abort(writer)
            else:
                await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has gone, or the server is shut
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _streams(self, connection: socket.socket) -> tuple[StreamReader, StreamWriter]:
        reader = StreamReader(_READ_LIMIT)
        protocol = StreamReaderProtocol(reader)
        transport, _ = await self._loop.connect_accepted_socket(
            lambda: protocol, connection, ssl=self._tls
        )
        return reader, StreamWriter(transport, protocol, reader, self._loop)


def _bind(number: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setblocking(False)  # noqa: FBT003 - the socket's own signature
    try:
        with _explained(number):
            bound.bind(("127.0.0.1", number))
    except ConfigurationError:
        bound.close()
        raise
    return bound


@contextlib.contextmanager
def _explained(number: int) -> Iterator[None]:
    try:
        yield
    except (OSError, OverflowError) as error:
        message = f"port: {number} cannot be used ({error}); stop what holds it, or pass 0"
        raise ConfigurationError(message) from error
