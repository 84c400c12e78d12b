"""One client object in many threads, event loops and processes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from failover_core.clients import InfinityClient
from failover_core.embedding.protocol import Kind
from failover_core.testing import FaultServer
from tests.figures import Figure

ROW = "loops and forks, HTTP clients"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def client(server: FaultServer) -> InfinityClient:
    return InfinityClient(server.url, model="m")


def test_a_hundred_loops_one_after_the_other(client: InfinityClient, figure: Figure) -> None:
    found = [len(asyncio.run(client.aembed(["a"], Kind.QUERY))) for _ in range(100)]
    client.close()
    figure(ROW, loops=100, errors=100 - found.count(1))
    assert found == [1] * 100


_UNREAD = """
import asyncio, gc, socket, sys, time
from failover_core.clients import InfinityClient
from failover_core.embedding.protocol import Kind
from failover_core.errors import AttemptTimeoutError

listener = socket.create_server(("127.0.0.1", 0))
client = InfinityClient(f"http://127.0.0.1:{listener.getsockname()[1]}", model="m", timeout=0.3)
started = time.monotonic()
try:
    asyncio.run(client.aembed(["x" * (64 << 20)], Kind.QUERY))
except AttemptTimeoutError:
    pass
assert time.monotonic() - started < 2
client.close()
gc.collect()
listener.close()
"""


def test_a_request_that_nobody_reads_leaves_no_connection() -> None:
    assert _run(_UNREAD) == (0, "")


_BARE_LOOPS = """
import asyncio, gc, sys
from failover_core.clients import InfinityClient
from failover_core.embedding.protocol import Kind

client = InfinityClient(sys.argv[1], model="m")
for _ in range(5):
    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(client.aembed(["a"], Kind.QUERY)).shape == (1, 384)
    loop.close()
    gc.collect()
"""


def _run(program: str, *arguments: str) -> tuple[int, str]:
    """Run a program with warnings as errors; return its exit status and what it complained of."""
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-W", "error", "-c", program, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


_DROPPED = """
import asyncio, gc, sys
from failover_core.clients import InfinityClient
from failover_core.embedding.protocol import Kind

async def awaited(client):
    await client.aembed(["a"], Kind.QUERY)

client = InfinityClient(sys.argv[1], model="m")
if sys.argv[2] == "sync":
    client.embed(["a"], Kind.QUERY)
else:
    asyncio.run(awaited(client))
del client
gc.collect()
"""

_DROPPED_IN_A_LOOP = """
import asyncio, gc, sys
from failover_core.clients import InfinityClient
from failover_core.embedding.protocol import Kind

async def main():
    client = InfinityClient(sys.argv[1], model="m")
    await client.aembed(["a"], Kind.QUERY)
    del client
    gc.collect()
    await asyncio.sleep(0.05)

asyncio.run(main())
"""


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_client_that_is_dropped_unclosed_leaves_nothing(server: FaultServer, way: str) -> None:
    assert _run(_DROPPED, server.url, way) == (0, "")


def test_a_client_that_is_dropped_within_its_loop_leaves_nothing(server: FaultServer) -> None:
    assert _run(_DROPPED_IN_A_LOOP, server.url) == (0, "")


def test_loops_that_are_closed_without_a_farewell_leave_nothing(server: FaultServer) -> None:
    """LlamaIndex's ``asyncio_run`` closes its loops so."""
    assert _run(_BARE_LOOPS, server.url) == (0, "")


def test_two_threads_with_two_loops_each(client: InfinityClient, figure: Figure) -> None:
    async def many() -> int:
        found = await asyncio.gather(*(client.aembed(["a"], Kind.QUERY) for _ in range(25)))
        return len(found)

    def two_loops(_: int) -> int:
        return asyncio.run(many()) + asyncio.run(many())

    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(two_loops, range(2)))
    client.close()
    figure(ROW, loops=4, errors=100 - sum(found))
    assert found == [50, 50]


def test_threads_and_a_running_loop_at_once(client: InfinityClient) -> None:
    async def both() -> None:
        blocking = [asyncio.to_thread(client.embed, ["a"], Kind.QUERY) for _ in range(20)]
        waiting = [client.aembed(["a"], Kind.QUERY) for _ in range(20)]
        assert len(await asyncio.gather(*blocking, *waiting)) == 40

    asyncio.run(both(), debug=True)
    client.close()


def test_a_call_within_a_running_loop_of_another_thread(client: InfinityClient) -> None:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        future = asyncio.run_coroutine_threadsafe(client.aembed(["a"], Kind.QUERY), loop)
        assert len(future.result(5)) == 1
        assert len(client.embed(["a"], Kind.QUERY)) == 1
    finally:
        asyncio.run_coroutine_threadsafe(loop.shutdown_asyncgens(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        client.close()


_FORKS = """
import asyncio, os, sys
from failover_core.clients import InfinityClient, io_thread
from failover_core.embedding.protocol import Kind

client = InfinityClient(sys.argv[1], model="m")

def work():
    for _ in range(50):
        assert client.embed(["a"], Kind.QUERY).shape == (1, 384)
        assert asyncio.run(client.aembed(["a"], Kind.QUERY)).shape == (1, 384)

work()
lock = io_thread._lock
if sys.argv[2] == "locked":
    lock.acquire()
children = []
for _ in range(8):
    child = os.fork()
    if not child:
        work()
        os._exit(0)
    children.append(child)
if sys.argv[2] == "locked":
    lock.release()
work()
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 8
client.close()
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="fork is a Unix matter")
@pytest.mark.parametrize("lock", ["free", "locked"])
def test_eight_forks_of_a_warm_client(
    fault_servers: Callable[..., list[FaultServer]], lock: str, figure: Figure
) -> None:
    (server,) = fault_servers()
    result = _run(_FORKS, server.url, lock)
    figure(ROW, forks=8, errors=100 * 10 - len(server.requests))
    assert result == (0, "")
    assert len(server.requests) == 100 * 10
