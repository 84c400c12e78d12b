"""Events of LangChain's three ways to stream them, made comparable."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk

from failover_core.testing import faults
from tests.langchain.agents import UNTOLD

Events = list[dict[str, Any]]

QUESTION = "one two three four five"
ANSWER = f"You said: {QUESTION}"
V3_IS_BETA = [
    pytest.mark.filterwarnings("ignore:The (function|method) `.*_v3` is in beta"),
    pytest.mark.filterwarnings("ignore:The v3 streaming protocol"),
]

PRIMARY: dict[str, Any] = {
    "healthy": None,
    "dead": faults.Refuse(),
    "breaks at once": faults.StreamReset(after_chunks=0),
    "breaks later": faults.StreamError(after_chunks=3),
}
"""How the first of two targets fares; None is well."""

primaries = pytest.mark.parametrize("fault", PRIMARY.values(), ids=PRIMARY)

ADDED = {"failover", "chunk_position"}
"""What a pool adds to the last chunk, and with it to the message that LangChain adds up."""

ROLE = AIMessageChunk(content="", response_metadata={"model_provider": "openai"})


async def v2(model: Any, given: Any) -> Events:
    events = [dict(event) async for event in model.astream_events(given, version="v2")]
    return [event for event in events if not _is_role(event["data"].get("chunk"))]


def _is_role(chunk: Any) -> bool:
    """Return whether it is the empty chunk that every stream begins with, a resumed one anew."""
    return bool(chunk == "" or plain(chunk) == plain(ROLE))


async def v3(model: Any, given: Any) -> Events:
    return list(model.stream_events(given, version="v3"))


async def av3(model: Any, given: Any) -> Events:
    return [event async for event in await model.astream_events(given, version="v3")]


def reports_in(value: Any) -> Iterator[Any]:
    """Yield every report of a pool, wherever it stands in events."""
    if isinstance(value, dict):
        if "failover" in value:
            yield value["failover"]
        for one in value.values():
            yield from reports_in(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from reports_in(one)
    elif hasattr(value, "response_metadata"):
        yield from reports_in(value.response_metadata)


def plain(value: Any) -> Any:
    """Return events without reports, ids and what else differs between two calls."""
    if isinstance(value, dict):
        left_out = {*UNTOLD, *ADDED, "lc_versions", "parent_ids", "name", "tool_call_id"}
        return {key: plain(one) for key, one in value.items() if key not in left_out}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return plain(value.model_dump()) if hasattr(value, "model_dump") else value


def tree(events: Events) -> list[tuple[str, int]]:
    """Return what began, and under how many others."""
    return [
        (event["event"], len(event["parent_ids"]))
        for event in events
        if event["event"].endswith("start")
    ]
