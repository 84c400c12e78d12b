"""Whatever a server says, a client answers rightly or raises an error of its contract.

Each seed is one answer; a failing one is printed. ``FAILOVER_SEED=123`` replays it alone.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from functools import partial
from typing import Any

import httpx
import numpy as np
import pytest
from multidict import CIMultiDict

from failover_core.classify import classify
from failover_core.clients import (
    PROVIDERS,
    EmbeddingEndpoint,
    HttpClient,
    RerankEndpoint,
    TEIClient,
)
from failover_core.clients.exchange import Request, Response
from failover_core.errors import ErrorClass, TargetError
from failover_core.reranking.protocol import RankedDocument
from tests.clients import fuzzing
from tests.clients.servers import KEY, Door, read_request
from tests.figures import Figure, size

REPLAYED = os.environ.get("FAILOVER_SEED")
PARTS = 4

Serve = Callable[[HttpClient, random.Random, Any], None]

Ask = Callable[[Door, Any, random.Random], None]


def parts(*, ci: int, full: int) -> list[Sequence[int]]:
    if REPLAYED is not None:
        return [[int(REPLAYED)]]
    step = size(ci=ci, full=full) // PARTS
    return [range(start, start + step) for start in range(0, step * PARTS, step)]


def seeds_of(part: Sequence[int]) -> str:
    return f"seeds-{part[0]}-to-{part[-1]}"


def embed(door: Door, client: EmbeddingEndpoint, dice: random.Random) -> None:
    found = door.embed(client, fuzzing.TEXTS)
    assert found.dtype == np.float32
    assert len(found) == len(fuzzing.TEXTS)
    assert found.shape[1:] > (0,)
    assert np.isfinite(found).all()


def rerank(door: Door, client: RerankEndpoint, dice: random.Random) -> None:
    top_n = dice.choice((None, 1, 2, 3, 9))
    found = door.rerank(client, fuzzing.TEXTS, top_n)
    assert len(found) == min(top_n or 3, 3)
    assert all(isinstance(document, RankedDocument) for document in found)
    scores = [document.score for document in found]
    assert scores == sorted(scores, reverse=True)
    assert all(map(np.isfinite, scores))
    indices = [document.index for document in found]
    assert len(set(indices)) == len(indices)
    assert set(indices) <= {0, 1, 2}


ASKS: dict[str, Ask] = {"embed": embed, "rerank": rerank}


class Account:
    """Asks every client of a server, sync and async, and keeps account of what came of it."""

    def __init__(self, url: str) -> None:
        settings: dict[str, Any] = {"model": "m", "api_key": KEY, "timeout": 5}
        self._clients = {name: kind(url, **settings) for name, kind in PROVIDERS.items()}
        self._clients["tei with a prompt"] = TEIClient(url, **settings, passage_task="passage")
        self._runner = asyncio.Runner()
        self._doors = [Door(), Door(self._runner)]
        self.ends: Counter[str] = Counter()
        self.outside: dict[int, str] = {}

    def ask(self, seed: int, serve: Serve) -> None:
        """Let one answer, whose bytes ``serve`` decides, be asked for."""
        dice = random.Random(seed)
        (name, task, healthy), door = dice.choice(fuzzing.ANSWERS), dice.choice(self._doors)
        client, ask = self._clients[name], ASKS[task]
        serve(client, dice, healthy)
        try:
            ask(door, client, dice)
        except (TargetError, httpx.TransportError) as error:
            told = "".join(traceback.format_exception(error))
            found = classify(error, wall=0.0)
            if KEY in told or found.error_class is ErrorClass.NEUTRAL:
                self.outside[seed] = f"{found}: {told}"
            self.ends[found.error_class] += 1
        except Exception:  # noqa: BLE001 - the test is that there is none
            self.outside[seed] = traceback.format_exc(limit=-3)
        else:
            self.ends["answered"] += 1

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        self._runner.close()

    def check(self, figure: Figure, row: str, number: int) -> None:
        figure(row, answers=number, exceptions_outside_our_tree=len(self.outside))
        for seed, told in self.outside.items():
            pytest.fail(f"seed {seed}: {told}")
        if REPLAYED is None:
            assert set(self.ends) > {"answered", "malformed", "server_error"}
            assert number / 50 < self.ends["answered"] < number / 2


class Mutating:
    """Stands where the client's transport is, and answers without a socket."""

    def __init__(self, dice: random.Random, healthy: Any) -> None:
        self._dice = dice
        self._healthy = healthy

    def send(self, request: Request) -> Response:
        dice = self._dice
        content = fuzzing.body(dice, self._healthy)
        return Response(fuzzing.status(dice), CIMultiDict(fuzzing.headers(dice)), content)

    async def asend(self, request: Request) -> Response:
        return self.send(request)

    def close(self) -> None:
        pass


@pytest.mark.parametrize("seeds", parts(ci=5_000, full=100_000), ids=seeds_of)
def test_any_answer_is_right_or_an_error_of_the_contract(
    seeds: Sequence[int], figure: Figure
) -> None:
    def serve(client: HttpClient, dice: random.Random, healthy: Any) -> None:
        client._transport = Mutating(dice, healthy)  # type: ignore[assignment]

    with closing(Account("http://127.0.0.1:9")) as account:
        for seed in seeds:
            account.ask(seed, serve)
    account.check(figure, "fuzzed answers, below the client", len(seeds))


class Wire:
    """Answers one connection after the other with what ``reply`` returns, and closes each."""

    def __init__(self) -> None:
        self.reply: Callable[[], bytes] = bytes
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, suppress(OSError):
                    read_request(connection)
                    connection.sendall(self.reply())


@pytest.mark.parametrize("seeds", parts(ci=1_000, full=20_000), ids=seeds_of)
def test_any_bytes_on_the_wire_are_an_answer_or_an_error_of_the_contract(
    seeds: Sequence[int], figure: Figure
) -> None:
    with closing(Wire()) as wire, closing(Account(wire.url)) as account:

        def serve(_: HttpClient, dice: random.Random, healthy: Any) -> None:
            wire.reply = partial(fuzzing.response, dice, healthy)

        for seed in seeds:
            account.ask(seed, serve)
    account.check(figure, "fuzzed answers, on the wire", len(seeds))
