"""Structured prediction: an answer that is no such object is no answer, and nobody's fault."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.llms import MockLLM
from llama_index.core.llms.llm import LLM
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.prompts import PromptTemplate
from pydantic import BaseModel, Field, ValidationError

from failover_core import AllTargetsFailedError, BrokenStreamError, Target
from failover_core.testing import FaultServer
from failover_core.testing.faults import Status, StreamEnd
from llamaindex_failover import FailoverLLM
from tests.llamaindex.doors import PREDICTION_STREAMS, PREDICTIONS

# LlamaIndex uses methods of pydantic that pydantic deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")

# It names the class, so that a server of the testing kit calls it as a tool in each case.
PROMPT = PromptTemplate("Describe a City of {topic}")

Door = Callable[..., Any]

each_door = pytest.mark.parametrize("door", PREDICTIONS.values(), ids=PREDICTIONS)
each_stream = pytest.mark.parametrize("door", PREDICTION_STREAMS.values(), ids=PREDICTION_STREAMS)


class City(BaseModel):
    """A city."""

    name: str
    inhabitants: int = Field(gt=0)


ROME = City(name="Rome", inhabitants=2_750_000)


class Native(MockLLM):
    """An LLM with a way of its own to make objects."""

    says: str = ""

    def __init__(self, says: str) -> None:
        super().__init__()
        self.says = says

    def structured_predict(self, output_cls: Any, *_: Any, **__: Any) -> Any:
        return output_cls.model_validate_json(self.says)

    async def astructured_predict(self, output_cls: Any, *_: Any, **__: Any) -> Any:
        return output_cls.model_validate_json(self.says)


def calling(*calls: dict[str, Any]) -> LLM:
    """Return an LLM that calls the class as a tool, as often as it is told."""
    said = ChatMessage("No tools today: 429 rate limit reached", role="assistant")
    if calls:
        said.blocks = [ToolCallBlock(tool_name="City", tool_kwargs=one) for one in calls]
    return MockFunctionCallingLLM(response_generator=lambda *_, **__: said)


def telling(text: str) -> LLM:
    """Return an LLM that cannot call tools, and answers with a text."""

    class Telling(MockLLM):
        def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002
            return super().complete(text)

    return Telling(max_tokens=None)


GOOD: dict[str, LLM] = {
    "tools": calling(ROME.model_dump()),
    "text": telling(ROME.model_dump_json()),
    "native": Native(ROME.model_dump_json()),
}
BAD: dict[str, LLM] = {
    "no tool call": calling(),
    "a bad tool call": calling({"name": "Rome", "inhabitants": -1}),
    "a tool call with nothing in it": calling({}),
    "two tool calls": calling(ROME.model_dump(), ROME.model_dump()),
    "no JSON": telling("Error 503: I am overloaded"),
    "other JSON": telling('{"name": "Rome"}'),
    "a bad object": Native('{"name": "Rome", "inhabitants": -1}'),
    "no object": Native("Rome"),
}
each_misfit = pytest.mark.parametrize("bad", BAD.values(), ids=BAD)


class Broken(MockFunctionCallingLLM):
    """An LLM whose server is down."""

    def __init__(self) -> None:
        def fail(*_: Any, **__: Any) -> Any:
            raise ConnectionError("down")  # noqa: EM101 - as in an SDK

        super().__init__(response_generator=fail)


def pool(*children: LLM, **policy: Any) -> FailoverLLM:
    """Return a pool of LLMs named a, b, …"""
    targets = [Target(child, name=name) for child, name in zip(children, "abc", strict=False)]
    return FailoverLLM(targets=targets, policy=policy)


def failures(llm: FailoverLLM) -> list[int]:
    """Return the failures of each target."""
    return [target.failures for target in llm.router.status().targets]


async def error_of(door: Door, llm: LLM) -> Exception:
    """Return the error with which a prediction ends."""
    with pytest.raises(Exception) as raised:  # noqa: PT011 - whichever it is
        await door(llm, City, PROMPT, topic="Italy")
    return raised.value


@each_door
@each_misfit
@pytest.mark.parametrize("good", GOOD.values(), ids=GOOD)
async def test_the_next_target_is_asked_when_an_answer_is_no_such_object(
    door: Door, bad: LLM, good: LLM
) -> None:
    llm = pool(bad, good)

    for _ in range(10):
        assert await door(llm, City, PROMPT, topic="Italy") == ROME

    assert failures(llm) == [0, 0]
    assert {(event.kind, event.error_class) for event in llm.router.events} == {
        ("attempt_failed", "unsupported"),
        ("failed_over", "unsupported"),
    }


@each_door
@each_misfit
async def test_if_no_target_makes_the_object_the_error_is_that_of_the_first_child(
    door: Door, bad: LLM
) -> None:
    expected = await error_of(door, bad)
    for llm in (pool(bad, calling()), pool(Broken(), bad), pool(bad, Broken())):
        error = await error_of(door, llm)

        assert type(error) is type(expected)
        assert str(error) == str(expected)
        assert type(error.__cause__) is type(expected.__cause__)


@each_door
@each_misfit
async def test_a_pool_may_leave_such_answers_to_their_reader(door: Door, bad: LLM) -> None:
    expected = await error_of(door, bad)
    llm = pool(bad, GOOD["tools"], on_invalid_output="raise")

    error = await error_of(door, llm)

    assert (type(error), str(error)) == (type(expected), str(expected))
    assert failures(llm) == [0, 0]
    assert not llm.router.status()["b"].requests


@each_door
async def test_a_dead_target_counts_as_ever(door: Door) -> None:
    llm = pool(Broken(), BAD["no JSON"], GOOD["tools"])

    assert await door(llm, City, PROMPT, topic="Italy") == ROME
    assert failures(llm) == [1, 0, 0]


@each_door
async def test_if_all_are_dead_the_error_holds_each_of_theirs(door: Door) -> None:
    assert isinstance(await error_of(door, pool(Broken(), Broken())), AllTargetsFailedError)


@each_door
async def test_an_invalid_object_of_another_class_is_not_taken_for_the_answer(door: Door) -> None:
    class Wire(BaseModel):
        status: int

    class Odd(Native):
        def __init__(self) -> None:
            super().__init__("")

        def structured_predict(self, *_: Any, **__: Any) -> Any:
            return Wire.model_validate_json("{}")

        async def astructured_predict(self, *_: Any, **__: Any) -> Any:
            return Wire.model_validate_json("{}")

    llm = pool(Odd(), GOOD["tools"])

    assert await door(llm, City, PROMPT, topic="Italy") == ROME
    assert failures(llm) == [1, 0]


@each_door
async def test_a_token_budget_is_not_hidden_behind_an_earlier_answer(door: Door) -> None:
    llm = pool(BAD["no JSON"], GOOD["tools"])
    handler = TokenCountingHandler(tokenizer=str.split, token_budget=1)
    llm.router.targets[1].client.callback_manager = CallbackManager([handler])

    error = await error_of(door, llm)

    assert "budget exceeded" in str(error)
    assert failures(llm) == [0, 0]


@each_door
async def test_the_answers_words_are_in_no_event(door: Door) -> None:
    llm = pool(calling(), telling("I am a secret"), GOOD["native"])

    await door(llm, City, PROMPT, topic="Italy")

    assert "secret" not in repr([*llm.router.events])
    assert "429" not in repr([*llm.router.events])


# Streams


class Streaming(MockFunctionCallingLLM):
    """An LLM whose tool call grows from chunk to chunk, and may break off."""

    def __init__(self, *parts: str, breaks: bool = False) -> None:
        def chunks(*_: Any, **__: Any) -> Iterator[ChatMessage]:
            for part in parts:
                block = ToolCallBlock(tool_name="City", tool_kwargs=part)
                yield ChatMessage(
                    role="assistant",
                    blocks=[block],
                    additional_kwargs={"tool_calls": [_selection(self, block)]},
                )
            if breaks:
                raise ConnectionError

        async def achunks(*_: Any, **__: Any) -> Any:
            for chunk in chunks():
                yield chunk

        super().__init__()
        self._sync, self._async = chunks, achunks

    _sync: Any = None
    _async: Any = None

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        self.response_generator = self._sync
        return super().stream_chat(messages, **kwargs)

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        self.response_generator = self._async
        return await super().astream_chat(messages, **kwargs)


def _selection(llm: MockFunctionCallingLLM, block: ToolCallBlock) -> Any:
    from llama_index.core.base.llms.types import ChatResponse  # noqa: PLC0415

    response = ChatResponse(message=ChatMessage(role="assistant", blocks=[block]))
    return MockFunctionCallingLLM.get_tool_calls_from_response(llm, response)[0]


WHOLE = ("{}", '{"name": "Ro', '{"name": "Rome", "inhabitants": 2750000}')
PART = ("{}", '{"name": "Ro', '{"name": "Rome"')


@each_stream
async def test_a_stream_ends_with_the_object(door: Door) -> None:
    assert await door(pool(Streaming(*WHOLE)), City, PROMPT, topic="Italy") == ROME


@each_stream
async def test_a_stream_that_says_nothing_of_the_object_moves_on(door: Door) -> None:
    llm = pool(Streaming("{}", "{}"), Streaming(*WHOLE))

    assert await door(llm, City, PROMPT, topic="Italy") == ROME
    assert failures(llm) == [0, 0]


@each_stream
@pytest.mark.parametrize("other", [Broken(), Streaming("{}")], ids=["dead", "the same"])
async def test_if_none_says_anything_the_stream_is_that_of_the_first_child(
    door: Door, other: LLM
) -> None:
    bare = await door(Streaming("{}"), City, PROMPT, topic="Italy")

    last = await door(pool(Streaming("{}"), other), City, PROMPT, topic="Italy")

    assert last.model_dump() == bare.model_dump() == {"name": None, "inhabitants": None}


@each_stream
async def test_a_stream_that_breaks_in_the_midst_is_raised(door: Door) -> None:
    llm = pool(Streaming(*PART, breaks=True), Streaming(*WHOLE))

    assert isinstance(await error_of(door, llm), ConnectionError)
    assert failures(llm) == [1, 0]


@each_stream
async def test_a_stream_that_breaks_in_the_midst_is_resumed_by_whole_objects(door: Door) -> None:
    llm = pool(Streaming(*PART, breaks=True), Streaming(*WHOLE), on_broken_stream="resume")

    assert await door(llm, City, PROMPT, topic="Italy") == ROME
    assert failures(llm) == [1, 0]


@each_stream
async def test_a_stream_that_ends_without_the_object_is_resumed_too(door: Door) -> None:
    llm = pool(Streaming(*PART), Streaming(*WHOLE), on_broken_stream="resume")

    assert await door(llm, City, PROMPT, topic="Italy") == ROME
    assert failures(llm) == [0, 0]


@each_stream
@pytest.mark.parametrize(
    "policy", [{}, {"on_broken_stream": "resume"}, {"on_invalid_output": "raise"}], ids=str
)
async def test_else_it_ends_as_the_bare_childs(door: Door, policy: dict[str, Any]) -> None:
    bare = await door(Streaming(*PART), City, PROMPT, topic="Italy")

    last = await door(pool(Streaming(*PART), Broken(), **policy), City, PROMPT, topic="Italy")

    assert last.model_dump() == bare.model_dump()
    with pytest.raises(ValidationError):
        City.model_validate(last.model_dump())


@each_stream
async def test_a_break_is_not_hidden_behind_another_targets_part_of_an_object(door: Door) -> None:
    llm = pool(Streaming(*PART, breaks=True), Streaming(*PART), Broken(), on_broken_stream="resume")

    assert isinstance(await error_of(door, llm), ConnectionError)


async def test_a_stream_that_the_caller_closes_is_no_failure() -> None:
    llm = pool(Streaming(*WHOLE))
    objects = llm.stream_structured_predict(City, PROMPT, topic="Italy")
    next(objects)
    objects.close()
    aobjects = await llm.astream_structured_predict(City, PROMPT, topic="Italy")
    await anext(aobjects)
    await aobjects.aclose()

    status = llm.router.status()["a"]
    assert (status.failures, status.in_flight) == (0, 0)


@pytest.mark.parametrize("door", (PREDICTIONS | PREDICTION_STREAMS).values())
async def test_a_server_that_does_not_keep_to_the_schema_is_passed_over(
    servers: tuple[FaultServer, FaultServer], llm_over: Callable[..., FailoverLLM], door: Door
) -> None:
    able = llm_over(servers[1:], is_function_calling_model=True).router.targets[0].client
    talker = llm_over(servers[:1], should_use_structured_outputs=False).router.targets[0].client
    llm = pool(talker, able)

    city = await door(llm, City, PROMPT, topic="Italy")

    assert City.model_validate(city.model_dump()).inhabitants > 0
    assert [len(server.requests) for server in servers] == [1, 1]
    assert failures(llm) == [0, 0]
    servers[1].fault = Status(500)
    if door in PREDICTIONS.values():
        assert "json" in str(await error_of(door, llm))


@pytest.mark.parametrize("door", PREDICTION_STREAMS.values(), ids=PREDICTION_STREAMS)
@pytest.mark.parametrize("own_way", [True, False], ids=["response_format", "tools"])
@pytest.mark.parametrize("policy", [{}, {"on_broken_stream": "resume"}], ids=["raise", "resume"])
async def test_a_servers_stream_of_objects_that_is_cut_off_in_order_is_no_answer(
    servers: tuple[FaultServer, FaultServer],
    llm_over: Callable[..., FailoverLLM],
    door: Door,
    own_way: bool,  # noqa: FBT001 - a parameter of the test
    policy: dict[str, Any],
) -> None:
    servers[0].fault = StreamEnd(1)
    options = {"is_function_calling_model": True, "should_use_structured_outputs": own_way}
    llm = llm_over(servers, policy=policy, **options)

    if policy:
        city = await door(llm, City, PROMPT, topic="Italy")
        assert City.model_validate(city.model_dump()).inhabitants > 0
    else:
        assert isinstance(await error_of(door, llm), BrokenStreamError)
    assert failures(llm) == [1, 0]
