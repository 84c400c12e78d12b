"""The clock that never waits, and the client that follows a script."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from failover_core.testing import FakeClock, FaultServer, ScriptedCall, ScriptedClient


async def test_a_fake_clock_moves_by_sleeping_and_by_advancing(fake_clock: FakeClock) -> None:
    now, wall = fake_clock.now(), fake_clock.wall()
    fake_clock.sleep(1.5)
    await fake_clock.asleep(2)
    fake_clock.advance(10)
    assert fake_clock.now() == now + 13.5
    assert fake_clock.wall() == wall + 13.5
    assert fake_clock.sleeps == [1.5, 2]


async def test_a_script_plays_values_errors_and_callables_in_order() -> None:
    async def later(text: str) -> str:
        return text * 2

    client = ScriptedClient("a", [1, OSError("gone"), str.upper, later], default="rest")
    assert client.call() == 1
    with pytest.raises(OSError, match="gone"):
        await client.acall()
    assert client.call("x") == "X"
    assert await client.acall("x") == "xx"
    assert [client.call(), await client.acall()] == ["rest", "rest"]
    assert client.calls[2] == ScriptedCall("call", ("x",), {})


async def test_a_scripted_stream_may_break_where_an_exception_stands() -> None:
    client = ScriptedClient("a", [["x", OSError("gone")], ["y", "z"], OSError("early")])
    stream = client.stream()
    assert next(stream) == "x"
    with pytest.raises(OSError, match="gone"):
        next(stream)
    assert [chunk async for chunk in client.astream(1, key=2)] == ["y", "z"]
    assert client.calls[-1] == ScriptedCall("astream", (1,), {"key": 2})
    with pytest.raises(OSError, match="early"):
        next(client.stream())


def test_a_script_at_its_end_says_whose_it_was() -> None:
    with pytest.raises(AssertionError, match="'backup'"):
        ScriptedClient("backup").call()


def test_many_threads_share_one_script() -> None:
    client = ScriptedClient("a", range(1000))
    with ThreadPoolExecutor(8) as pool:
        played = list(pool.map(lambda _: client.call(), range(1000)))
    assert sorted(played) == list(range(1000))
    assert len(client.calls) == 1000


def test_the_factory_fixture_starts_servers_with_settings(
    fault_servers: Callable[..., list[FaultServer]],
) -> None:
    servers = fault_servers(3, dimension=8)
    assert len({server.port for server in servers}) == 3
