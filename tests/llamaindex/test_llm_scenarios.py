"""What LlamaIndex's own tests ask of an LLM, asked of a healthy pool and of one half dead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, CompletionResponse, LLMMetadata
from llama_index.core.callbacks import CallbackManager
from llama_index.core.llms import MockLLM
from llama_index.core.llms.custom import CustomLLM
from llama_index.core.llms.llm import LLM
from llama_index.core.llms.mock import MockFunctionCallingLLM, MockLLMWithNonyieldingChatStream
from llama_index.core.program.function_program import get_function_tool
from pydantic import BaseModel

from failover_core.testing import FaultServer
from llamaindex_failover import FailoverLLM
from tests.llamaindex.listening import Tally
from tests.llamaindex.tools import Weather

# LlamaIndex uses methods of pydantic that pydantic deprecates.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning"),
]

PROMPT = "test prompt"
HELLO = [ChatMessage("Hello")]


class Dead(CustomLLM):
    """An LLM whose server is down."""

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata()

    def complete(self, prompt: str, formatted: bool = False, **_: Any) -> CompletionResponse:  # noqa: FBT001, FBT002 - LlamaIndex's signature
        raise ConnectionError

    def stream_complete(self, prompt: str, formatted: bool = False, **_: Any) -> Any:  # noqa: FBT001, FBT002 - LlamaIndex's signature
        raise ConnectionError


class DeadCaller(MockFunctionCallingLLM):
    """An LLM with tools whose server is down."""

    def __init__(self) -> None:
        def fail(*_: Any, **__: Any) -> Any:
            raise ConnectionError

        super().__init__(response_generator=fail)


class Person(BaseModel):
    """A person."""

    name: str


Over = Callable[..., FailoverLLM]


@pytest.fixture(params=["healthy", "dead primary"])
def over(request: pytest.FixtureRequest) -> Over:
    """Make a pool over an LLM, before which a dead one stands in half of the tests."""

    def build(child: LLM, **settings: Any) -> FailoverLLM:
        dead = DeadCaller() if isinstance(child, MockFunctionCallingLLM) else Dead()
        before = [dead] if request.param == "dead primary" else []
        return FailoverLLM(targets=[*before, child], **settings)

    return build


def test_a_prompt_is_given_by_place_or_by_name(over: Over) -> None:
    llm = over(MockLLM())

    assert llm.complete(PROMPT).text == llm.complete(prompt=PROMPT).text == PROMPT
    for chunks in (llm.stream_complete(PROMPT), llm.stream_complete(prompt=PROMPT)):
        assert "".join(chunk.delta or "" for chunk in chunks) == PROMPT


def test_a_prompt_is_given_once(over: Over) -> None:
    llm: Any = over(MockLLM())

    for method in (llm.complete, llm.stream_complete):
        with pytest.raises(TypeError):
            method(PROMPT, prompt=PROMPT)


async def test_a_chat_stream_without_a_chunk_is_an_answer(over: Over) -> None:
    llm = over(MockLLMWithNonyieldingChatStream(max_tokens=None))

    assert not [*llm.stream_chat(HELLO)]
    assert not [chunk async for chunk in await llm.astream_chat(HELLO)]


def test_an_llm_of_ones_own_is_completed_and_chatted_with(over: Over) -> None:
    class Own(CustomLLM):
        @property
        def metadata(self) -> LLMMetadata:
            return LLMMetadata()

        def complete(self, prompt: str, formatted: bool = False, **_: Any) -> CompletionResponse:  # noqa: FBT001, FBT002
            return CompletionResponse(text="own", additional_kwargs={"prompt": prompt})

        def stream_complete(self, prompt: str, formatted: bool = False, **_: Any) -> Any:  # noqa: FBT001, FBT002
            yield CompletionResponse(text="own", delta="own", additional_kwargs={"prompt": prompt})

    llm = over(Own())

    assert llm.complete(PROMPT).additional_kwargs["prompt"] == PROMPT
    assert llm.chat(HELLO).message.content == "own"
    assert [chunk.delta for chunk in llm.stream_complete(PROMPT)] == ["own"]
    assert [chunk.delta for chunk in llm.stream_chat(HELLO)] == ["own"]


def test_a_key_of_a_child_is_in_no_event(over: Over) -> None:
    class Keyed(MockLLM):
        api_key: str = "sk-canary"

    class Listening(Tally):
        def on_event_start(self, event_type: Any, payload: Any = None, *_: Any, **__: Any) -> str:
            assert "sk-canary" not in repr(payload)
            return super().on_event_start(event_type)

    tally = Listening()
    over(Keyed(max_tokens=1), callback_manager=CallbackManager([tally])).complete(PROMPT)

    assert tally.ends["llm"] == 1


async def test_a_tool_is_called_without_a_message_of_the_user(over: Over) -> None:
    llm = over(MockFunctionCallingLLM(is_chat_model=True))
    tools: list[Any] = [get_function_tool(Person)]
    history = [ChatMessage("Who?")]

    answers = [
        llm.predict_and_call(tools=tools, chat_history=history),
        await llm.apredict_and_call(tools=tools, chat_history=history),
    ]

    assert all(answer.sources[0].is_error for answer in answers)  # the name is missing


async def test_an_error_of_a_tool_is_raised_if_that_is_asked_for(over: Over) -> None:
    llm = over(MockFunctionCallingLLM())
    tools: list[Any] = [get_function_tool(Person)]

    with pytest.raises(ValueError, match="name"):
        llm.predict_and_call(tools=tools, chat_history=HELLO, error_on_tool_error=True)
    with pytest.raises(ValueError, match="name"):
        await llm.apredict_and_call(tools=tools, chat_history=HELLO, error_on_tool_error=True)


@pytest.mark.usefixtures("memory")
async def test_an_agent_fills_a_schema_in_the_end(
    llm: FailoverLLM, pair: tuple[FaultServer, FaultServer]
) -> None:
    agent = FunctionAgent(tools=[Weather().tool], llm=llm, output_cls=Person)

    output: Any = await agent.run("What is the weather in Oslo?")

    assert Person.model_validate(output.structured_response).name
