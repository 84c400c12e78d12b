"""A server that speaks the real protocols on loopback and misbehaves when told to."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
import time
import weakref
from asyncio import StreamReader, StreamWriter
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Self

from failover_core.errors import ConfigurationError
from failover_core.testing.control import CONTROL_PATH, Order
from failover_core.testing.exchange import Exchange
from failover_core.testing.faults import Fault, Refuse, TlsFailure
from failover_core.testing.framing import Reply, Request, read_request
from failover_core.testing.listener import ListenerThread, Port
from failover_core.testing.plan import FaultPlan
from failover_core.testing.protocols import Service

_KEPT_REQUESTS = 10_000
_HEALTHY = Fault()
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


class FaultServer:
    """An HTTP server in a thread of its own, for tests, demos and benchmarks.

    It answers ``/embeddings``, ``/rerank``, ``/chat/completions``, ``/models`` and ``/health``,
    each with and without ``/v1``, with lexical stand-ins for models that really retrieve, rank
    and answer. Faults are set from any thread while it runs::

        with FaultServer() as server:
            server.fault = Status(503)
            with server.failing(Hang(), path="/embeddings"):
                ...
            server.script([Reset(), None, RetryAfter(2)])

    Args:
        port: 0 chooses a free one; it stays the same over ``stop`` and ``start``.
        models: names that are served, all for everything, or the capabilities (``embed``,
            ``rerank``, ``chat``) of each; None accepts any name for anything.
        dimension: of the vectors.
        api_key: the bearer token that requests must carry; None asks for none.
        latency: the time that every request takes, in seconds; may be set while it runs.
        chunk_latency: the time before each chunk of a stream, in seconds; may be set likewise.
        max_concurrency: requests served at once, while others wait; None is unlimited.
        offers_base64: whether vectors come in base64 if asked for.
        certificate: file (PEM) with a certificate and its key, to speak HTTPS; None is HTTP.
        provider: whose protocol it speaks: ``"infinity"`` or ``"openai"``, which are one here;
            ``"tei"``, ``"cohere"``, ``"jina"``, ``"voyage"`` or ``"ollama"``, each with its own
            paths, answers, errors and limits.

    Raises:
        ConfigurationError: the port is taken, the certificate cannot be used, or the provider is
            unknown.
    """

    def __init__(  # noqa: PLR0913 - independent settings, each by its name
        self,
        *,
        port: int = 0,
        models: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
        dimension: int = 384,
        api_key: str | None = None,
        latency: float = 0.0,
        chunk_latency: float = 0.0,
        max_concurrency: int | None = None,
        offers_base64: bool = True,
        certificate: str | Path | None = None,
        provider: str = "infinity",
    ) -> None:
        self.latency = latency
        self.chunk_latency = chunk_latency
        self._service = Service.of(
            models,
            dimension=dimension,
            api_key=api_key,
            offers_base64=offers_base64,
            provider=provider,
        )
        self._places = max_concurrency
        self._gate: asyncio.Semaphore | nullcontext[None] = nullcontext()
        self._plan = FaultPlan()
        self._requests: deque[Request] = deque(maxlen=_KEPT_REQUESTS)
        self._received = self._served = 0
        self._lock = threading.Lock()
        # Held while another thread waits for the loop, so the loop itself must never take it.
        self._lifecycle = threading.Lock()
        self._tls = None if certificate is None else _tls_context(certificate)
        self._port = Port(port)
        self._thread: ListenerThread | None = None
        self._expiries: dict[str | None, asyncio.TimerHandle] = {}
        weakref.finalize(self, self._port.release)

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1, from construction on."""
        return self._port.number

    @property
    def url(self) -> str:
        """The base URL, without ``/v1`` and without a trailing slash."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Start the server, if it does not run; connections are accepted on return."""
        with self._lifecycle:
            if self._thread is None:
                if self._places is not None:
                    self._gate = asyncio.Semaphore(self._places)
                self._thread = ListenerThread(
                    self._port,
                    self._serve,
                    tls=self._tls_now(),
                    listening=not isinstance(self.fault, Refuse),
                )
        return self

    def stop(self) -> None:
        """Die as if killed: reset live connections, refuse new ones. Keeps the port reserved."""
        with self._lifecycle:
            thread, self._thread = self._thread, None
            if thread is not None:
                thread.stop()

    def close(self) -> None:
        """Stop, and give the port back to the system."""
        self.stop()
        self._port.release()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def requests(self) -> list[Request]:
        """The last 10,000 requests, oldest first, those to the control endpoint left out."""
        with self._lock:
            return list(self._requests)

    @property
    def served(self) -> int:
        """The number of requests that met no fault, each counted as its answer is sent."""
        return self._served

    def clear(self) -> None:
        """Forget the requests received so far, and count anew."""
        with self._lock:
            self._requests.clear()
            self._received = self._served = 0

    @property
    def fault(self) -> Fault | None:
        """How the whole server misbehaves; None is health. In force when the setter returns."""
        return self._plan.get()

    @fault.setter
    def fault(self, fault: Fault | None) -> None:
        self.set_fault(fault)

    def set_fault(self, fault: Fault | None, *, path: str | None = None) -> None:
        """Set the fault of one path, such as ``/embeddings``, or of the whole server."""
        self._check(fault)
        with self._lifecycle:
            if self._thread is None:
                self._plan.set(fault, path)
            else:
                self._thread.run(partial(self._apply, self._thread, Order(fault, path)))

    @contextlib.contextmanager
    def failing(self, fault: Fault, *, path: str | None = None) -> Iterator[Self]:
        """Misbehave within a ``with`` block, and then as before it."""
        before = self._plan.get(path)
        self.set_fault(fault, path=path)
        try:
            yield self
        finally:
            self.set_fault(before, path=path)

    def script(self, faults: Iterable[Fault | None], *, path: str | None = None) -> None:
        """Let each of the next requests (to ``path``) meet one fault, None being health.

        A script goes before the other faults while it lasts, and replaces an earlier one.
        """
        self._plan.script(faults, path)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        while not writer.is_closing():
            request = await read_request(reader)
            exchange = Exchange(
                request,
                reader,
                writer,
                answer=self._service.answer,
                chunk_latency=self.chunk_latency,
            )
            await (self._control if request.path == CONTROL_PATH else self._meet)(exchange)
            if not request.keep_alive:
                break

    async def _meet(self, exchange: Exchange) -> None:
        with self._lock:
            self._requests.append(exchange.request)
            self._received += 1
        planned = self._plan.next(exchange.request.path)
        exchange.fault_age = time.monotonic() - planned.since
        async with self._gate:
            if self.latency:
                await asyncio.sleep(self.latency)
            if planned.fault is None:
                with self._lock:
                    self._served += 1
            await (planned.fault or _HEALTHY).play(exchange)

    async def _control(self, exchange: Exchange) -> None:
        if exchange.request.method == "GET":
            await exchange.send(Reply(payload=self._account()))
            return
        try:
            order = Order.read(exchange.request.body)
            self._check(order.fault)
        except ConfigurationError as error:
            await exchange.send(Reply(400, {"detail": str(error)}))
            return
        # Nothing runs between the answer's write and the order's effect, so the sender of the
        # order sees it in force, and still gets its answer if the order is to refuse.
        await exchange.send(Reply(payload={"fault": order.fault and order.fault.name()}))
        if self._thread is not None:
            self._apply(self._thread, order)

    def _account(self) -> dict[str, Any]:
        """Return what another process may want to know."""
        fault = self.fault
        counts = {"received": self._received, "served": self._served}
        return {"fault": fault and fault.name(), **counts}

    def _apply(self, thread: ListenerThread, order: Order) -> None:
        if expiry := self._expiries.pop(order.path, None):
            expiry.cancel()
        self._plan.set(order.fault, order.path)
        if isinstance(self._plan.get(), Refuse):
            thread.shut()
        else:
            thread.open(self._tls_now())
        if order.lasting is not None:
            health = Order(None, order.path)
            self._expiries[order.path] = asyncio.get_running_loop().call_later(
                order.lasting, self._apply, thread, health
            )

    def _check(self, fault: Fault | None) -> None:
        if isinstance(fault, TlsFailure) and self._tls is None:
            message = "fault tls_failure: needs a server with TLS; give it a certificate"
            raise ConfigurationError(message)

    def _tls_now(self) -> ssl.SSLContext | None:
        """Return what secures connections; without a certificate no client agrees to it."""
        return _NO_TLS if isinstance(self.fault, TlsFailure) else self._tls


def _tls_context(certificate: str | Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate)
    except OSError as error:
        message = f"certificate: {certificate} cannot be used ({error}); name a PEM file with a key"
        raise ConfigurationError(message) from error
    return context
